"""What a finished pretraining run leaves in its folder: measures, examples, figures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

from cellwright.report.canvas import save_figure
from cellwright.report.curves import (
    loss_curve,
    masked_accuracy_curve,
    perplexity_curve,
    training_curves,
    zero_nonzero_curve,
)
from cellwright.training.batches import VALIDATION_EPOCH, validation_batches
from cellwright.training.hardware import peak_memory_bytes
from cellwright.training.loop import Fitted
from cellwright.training.masked_bins import example, measure
from cellwright.training.references import References
from cellwright.training.run_folder import RunFolder
from cellwright.training.settings import PretrainSettings
from cellwright.workflows.pretrain_cells import RunCells, references_on
from cellwright.workflows.pretrain_verdict import (
    perplexity_by_unit,
    perplexity_scores,
    sentences,
    still_falling,
)
from cellwright.workflows.provenance import provenance

SCHEMA = "cellwright.pretrain/1"


def judged(
    model: Any,
    cells: RunCells,
    settings: PretrainSettings,
    fitted: Fitted,
    val_references: References,
) -> dict[str, Any]:
    """``metrics.json``: on test cells where there are any, else on validation cells, said so."""
    part = "test" if len(cells.parts["test"]) else "val"
    batches = validation_batches(
        cells.parts[part],
        settings.mask_rule,
        batch_size=settings.val_batch_size,
        seed=settings.seed,
    )
    held = measure(model, batches, torch.device("cpu"))
    beside = references_on(cells, part, settings) if part == "test" else val_references
    at_best = fitted.history[fitted.best_epoch - 1]
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "scored_on": part,
        "cells": {name: len(of) for name, of in cells.parts.items()},
        "perplexity": {"model": held.perplexity, **beside.perplexity},
        "best_reference": beside.best,
        "masked_accuracy": {
            "model": held.accuracy,
            "zero": _number(held.zero_accuracy),
            "nonzero": _number(held.nonzero_accuracy),
            **beside.accuracy,
        },
        "bits_per_gene": held.bits_per_gene,
        "seconds": fitted.seconds,
        "peak_memory_bytes": peak_memory_bytes(),
        "cells_per_second": fitted.cells_per_second,
        "epochs": len(fitted.history),
        "best_epoch": fitted.best_epoch,
        "stopped_early": fitted.stopped_early,
        "gap": {"train": at_best["train_loss"], "val": at_best["val_loss"]},
        "still_falling": still_falling([row["val_loss"] for row in fitted.history]),
        "rule": {
            "bins": cells.tokenizer.rule,
            "mask": settings.mask_rule.words,
            "genes": len(cells.vocabulary),
            "bins_in_use": int(np.sum(cells.tokenizer.n_bins_g)),
        },
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    units_m, unit = cells.units_n[cells.rows[part]], cells.chosen.by or "cells"
    scores = perplexity_scores(
        held.nll_n, beside.nll_n, beside.best, units_m, unit, split=part, seed=settings.seed
    )
    result["scores"] = [score.to_dict() for score in scores]
    result["by_unit"] = perplexity_by_unit(held.nll_n, beside.nll_n[beside.best], units_m, unit)
    result["sentences"] = sentences(result)
    return result


def write_result(
    folder: RunFolder,
    model: Any,
    cells: RunCells,
    settings: PretrainSettings,
    fitted: Fitted,
    result: dict[str, Any],
) -> None:
    """Weights, examples, figures and, last, ``metrics.json``, which makes it a finished run."""
    folder.write_weights("last.safetensors", fitted.last)
    folder.write_weights("model.safetensors", fitted.best)
    folder.write_json(
        "provenance.json",
        {
            **provenance(settings.seed, cells.facts),
            "seconds": fitted.seconds,
            "peak_memory_bytes": peak_memory_bytes(),
        },
    )
    one = cells.parts["val"].batch(
        np.array([0]), settings.mask_rule, VALIDATION_EPOCH, settings.seed
    )
    rows = [
        {
            "gene_id": str(cells.vocabulary.gene_ids[row["column"]]),
            "gene_symbol": str(cells.vocabulary.symbols[row["column"]]),
            "true_bin": row["true_bin"],
            "top": row["top"],
        }
        for row in example(model, one)
    ]
    name = str(cells.names[cells.rows["val"][0]])
    folder.write_json("examples.json", {"cell": name, "part": "val", "rows": rows})
    draw(folder, pd.DataFrame(fitted.history), result)
    folder.write_json("metrics.json", result)


def draw(folder: RunFolder, history: pd.DataFrame, metrics: Mapping[str, Any]) -> None:
    """The figures of a run, under ``figures/``."""
    figures = folder.path / "figures"
    figures.mkdir(exist_ok=True)
    rule = f"{metrics['rule']['bins']}; {metrics['rule']['mask']}"
    best = min(
        (c for c in history.columns if c.startswith("ref_") and c != "ref_majority_accuracy"),
        key=lambda c: float(history[c].to_numpy()[0]),
    ).removeprefix("ref_")
    save_figure(loss_curve(history), figures / "loss.png")
    save_figure(perplexity_curve(history, best=best, rule=rule), figures / "perplexity.png")
    save_figure(masked_accuracy_curve(history), figures / "masked_accuracy.png")
    save_figure(zero_nonzero_curve(history), figures / "zero_nonzero.png")
    save_figure(training_curves(history, best=best, rule=rule), figures / "training.png")


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
