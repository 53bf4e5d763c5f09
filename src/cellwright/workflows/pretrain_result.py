"""What a finished pretraining run leaves in its folder: measures, examples, figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from cellwright.report.canvas import save_figure
from cellwright.report.curves import (
    learned,
    loss_curve,
    masked_accuracy_curve,
    perplexity_curve,
    places_curve,
    training_curves,
    zero_nonzero_curve,
)
from cellwright.training.hardware import peak_memory_bytes
from cellwright.training.loop import Fitted
from cellwright.training.run_folder import RunFolder
from cellwright.training.settings import PretrainSettings
from cellwright.workflows.pretrain_task import PretrainTask
from cellwright.workflows.pretrain_verdict import (
    perplexity_by_unit,
    perplexity_scores,
    sentences,
    still_falling,
)
from cellwright.workflows.provenance import provenance

SCHEMA = "cellwright.pretrain/1"


def judged(
    task: PretrainTask, model: Any, settings: PretrainSettings, fitted: Fitted
) -> dict[str, Any]:
    """``metrics.json``: on test cells where there are any, else on validation cells, said so."""
    part = "test" if task.counts["test"] else "val"
    found = task.scored(model, part)
    at_best = fitted.history[fitted.best_epoch - 1]
    units_m, unit = task.units(part), task.chosen.by or "cells"
    scores = perplexity_scores(
        found.networks_n["model"],
        found.references_n,
        found.best,
        units_m,
        unit,
        split=part,
        seed=settings.seed,
        task=task.name,
        others_n={name: nll for name, nll in found.networks_n.items() if name != "model"},
        weight_n=found.weight_n,
    )
    values = {score.rep: score.value for score in scores}
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "task": task.name,
        "scored_on": part,
        "cells": task.counts,
        "perplexity": {"model": values["model"], **{n: values[n] for n in found.references_n}},
        "best_reference": found.best,
        "masked_accuracy": found.accuracy,
        "bits_per_gene": found.bits_per_gene,
        **found.more,
        "seconds": fitted.seconds,
        "peak_memory_bytes": peak_memory_bytes(),
        "cells_per_second": fitted.cells_per_second,
        "epochs": len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "stopped_early": fitted.stopped_early,
        "gap": {"train": at_best["train_loss"], "val": at_best["val_loss"]},
        "still_falling": still_falling([row["val_loss"] for row in fitted.history]),
        "rule": task.rule,
        "parameters": sum(p.numel() for p in model.parameters()),
        "scores": [score.to_dict() for score in scores],
        "by_unit": perplexity_by_unit(
            found.networks_n["model"],
            found.references_n[found.best],
            units_m,
            unit,
            weight_n=found.weight_n,
        ),
        "checks": [check.to_dict() for check in task.checks],
    }
    result["sentences"] = sentences(result)
    return result


def write_result(
    folder: RunFolder,
    task: PretrainTask,
    model: Any,
    settings: PretrainSettings,
    fitted: Fitted,
    result: dict[str, Any],
) -> None:
    """Weights, examples, figures and, last, ``metrics.json``, which makes it a finished run."""
    folder.write_weights("last.safetensors", task.weights(fitted.last))
    folder.write_weights("model.safetensors", task.weights(fitted.best))
    folder.write_json(
        "provenance.json",
        {
            **provenance(settings.seed, task.facts),
            "seconds": fitted.seconds,
            "peak_memory_bytes": peak_memory_bytes(),
        },
    )
    folder.write_json("examples.json", task.examples(model))
    draw(folder, pd.DataFrame(fitted.history), result)
    folder.write_json("metrics.json", result)


def draw(folder: RunFolder, history: pd.DataFrame, metrics: Mapping[str, Any]) -> None:
    """The figures of a run, under ``figures/``."""
    figures = folder.path / "figures"
    figures.mkdir(exist_ok=True)
    rule = f"{metrics['rule'].get('bins') or metrics['rule']['tokens']}; {metrics['rule']['mask']}"
    best = min(
        (c for c in history.columns if c.startswith("ref_") and c != "ref_majority_accuracy"),
        key=lambda c: float(history[c].to_numpy()[0]),
    ).removeprefix("ref_")
    save_figure(loss_curve(history), figures / "loss.png")
    save_figure(perplexity_curve(history, best=best, rule=rule), figures / "perplexity.png")
    save_figure(masked_accuracy_curve(history), figures / "masked_accuracy.png")
    if learned(history) == "genes":
        save_figure(places_curve(history), figures / "places.png")
    else:
        save_figure(zero_nonzero_curve(history), figures / "zero_nonzero.png")
    save_figure(training_curves(history, best=best, rule=rule), figures / "training.png")
