"""What a finished reverse run leaves in its folder: weights, scores, figures and, last, metrics.json."""

from __future__ import annotations

from typing import Any

import pandas as pd

from cellwright.report.canvas import save_figure
from cellwright.report.reverse_train_figures import (
    naming_curves,
    pathway_figure,
    reliability_figure,
)
from cellwright.training.hardware import peak_memory_bytes
from cellwright.training.run_folder import RunFolder
from cellwright.workflows.plain_files import plain, write_tsv
from cellwright.workflows.provenance import provenance
from cellwright.workflows.reverse_networks import FittedNetwork
from cellwright.workflows.reverse_run import SCHEMA
from cellwright.workflows.reverse_score_figures import score_figures
from cellwright.workflows.reverse_train_cells import TrainTask
from cellwright.workflows.reverse_train_judged import TestFindings, Told
from cellwright.workflows.reverse_train_settings import ReverseTrainSettings

CAVEAT = (
    "What was learned in one screen need not hold in another cell line, state or technique: take "
    "the ranking as a list to test, not as a finding."
)


def write_reverse(
    folder: RunFolder,
    task: TrainTask,
    settings: ReverseTrainSettings,
    network: FittedNetwork,
    told: Told,
    found: TestFindings | None,
    trials: pd.DataFrame | None,
) -> None:
    """Weights, tables, figures and, last, ``metrics.json``, which makes it a finished run."""
    folder.write_weights("model.safetensors", network.model.state_dict())
    figures = folder.path / "figures"
    figures.mkdir(exist_ok=True)
    history = pd.DataFrame(network.history)
    best = network.best_epoch if task.sides.val else None
    save_figure(naming_curves(history, best_epoch=best), figures / "curves.png")
    kind = settings.kind
    metrics: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": kind,
        "parameters": sum(p.numel() for p in network.model.parameters()),
        "epochs": len(network.history),
        "best_epoch": network.best_epoch,
        "seconds": network.seconds,
        "peak_memory_bytes": peak_memory_bytes(),
        "cells": task.facts["cells"],
        "conditions": task.facts["conditions"],
        "candidates": len(task.screen.candidates),
        "genes": task.cells.genes,
        "hidden_genes": int((~task.view.kept_g).sum()),
        "calibration": told.calibration.to_dict(),
        "number_of_genes": told.sizes.to_dict(),
        "scores": [],
        "checks": [],
    }
    sentences = [*task.notes]
    checks = [
        {
            "name": "own_transcripts",
            "severity": "note" if settings.own_genes == "hidden" else "warning",
            "sentence": task.audit.sentence
            if settings.own_genes == "hidden"
            else "Candidates' own transcripts may be looked at: a score may come from them alone.",
            "remedy": "" if settings.own_genes == "hidden" else "train with --own-genes hidden",
        },
        task.dependence.to_dict(),
        *([] if task.seen is None else [task.seen.to_dict()]),
    ]
    if found is None:
        sentences.append("No perturbation was held out: how well unseen ones are found is unknown.")
    else:
        judged = found.judged
        write_tsv(judged.table, folder.path / "scores.tsv")
        title = f"Which gene was perturbed: {task.sides.name}"
        drawn = score_figures(judged.table, k=judged.headline[1], title=title)
        for name, draw in drawn.items():
            save_figure(draw(), figures / f"{name}.png")
        save_figure(
            reliability_figure(found.reliability.table, calibrated=told.calibration.calibrated),
            figures / "reliability.png",
        )
        sentences += [*judged.sentences, *_own_sentences(found)]
        checks += [check.to_dict() for check in judged.checks]
        metrics |= {
            "scores": list(judged.scores),
            "random_groups": judged.random.to_dict("records"),
            "reliability": found.reliability.to_dict(),
            "number_right": {"share": found.number, "always": found.number_always},
        }
        if found.pathways is not None:
            metrics["pathways"] = found.pathways.to_dict()
            axes = pathway_figure(found.pathways.weight_kk, found.pathways.pathways)
            save_figure(axes, figures / "pathways.png")
    if trials is not None:
        write_tsv(trials, folder.path / "search" / "trials.tsv")
        metrics["search"] = _search_facts(trials)
        sentences.append(_search_sentence(metrics["search"]))
    metrics["sentences"] = [*sentences, told.calibration.sentence, told.sizes.sentence, CAVEAT]
    metrics["checks"] = checks
    facts = {"seconds": network.seconds, "peak_memory_bytes": metrics["peak_memory_bytes"]}
    folder.write_json("provenance.json", {**provenance(settings.seed, task.facts), **facts})
    folder.write_json("metrics.json", plain(metrics))
    folder.log(" ".join(metrics["sentences"]))


def _own_sentences(found: TestFindings) -> list[str]:
    usual = (
        "all test perturbations have the same number, so that saying it of all would always be right"
        if found.number_always == 1
        else f"one number for all: {100 * found.number_always:.0f} %"
    )
    said = [
        f"On test perturbations probabilities are off by {found.reliability.error:.3f} on average, "
        f"and the number of genes is right for {100 * found.number:.0f} % of queries ({usual})."
    ]
    paths = found.pathways
    if paths is not None and paths.alike is not None and paths.interval is not None:
        said.append(
            f"Of the genes that were missed, {100 * paths.alike:.0f} % "
            f"[{100 * paths.interval.low:.0f}, {100 * paths.interval.high:.0f}] were replaced by one "
            f"that shares a pathway with them, {100 * (paths.chance or 0):.0f} % would be by chance."
        )
    return said


def _search_facts(trials: pd.DataFrame) -> dict[str, Any]:
    done = trials[trials.state == "complete"]
    return {
        "trials": len(trials),
        "pruned": int((trials.state == "pruned").sum()),
        "failed": int((trials.state == "fail").sum()),
        "asked": float(trials.val_loss.iloc[0]),
        "best": float(done.val_loss.min()),
    }


def _search_sentence(facts: dict[str, Any]) -> str:
    return (
        f"{facts['trials']} settings were tried on validation perturbations ({facts['pruned']} "
        f"pruned): the loss went from {facts['asked']:.3f}, as asked, to {facts['best']:.3f}. A "
        "loss that is the lowest of many looks better than it is; the scores are of test "
        "perturbations, which the search did not see."
    )
