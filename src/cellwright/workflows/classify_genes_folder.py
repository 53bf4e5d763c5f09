"""The folder a gene classification leaves: tables, figures and ``metrics.json``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cellwright.data.atomic import atomic_folder
from cellwright.evaluation.gene_folds import GENES
from cellwright.interfaces import Predictions
from cellwright.report.canvas import save_figure
from cellwright.workflows.classify_genes_views import PROPERTIES
from cellwright.workflows.pictures import file_names
from cellwright.workflows.plain_files import write_json, write_tsv

if TYPE_CHECKING:
    from cellwright.workflows.classify_genes_result import GeneClassification

log = logging.getLogger("cellwright.workflows.classify_genes")

METRICS = ("macro_f1", "roc_auc", "auc_within_family")


def write(result: GeneClassification, out: Path, *, force: bool = False) -> None:
    """Write everything under a temporary name, then rename it to ``out``.

    metrics.json, predictions.tsv (held-out genes of every method and design), genes.tsv (every
    labelled gene, its family and why it was left out), figures/*.png.

    Raises
    ------
    RunError
        If ``out`` exists and ``force`` is False.
    DataError
        If it cannot be written.
    """
    with atomic_folder(out, force=force) as folder:
        (folder / "figures").mkdir()
        write_tsv(
            pd.concat([_predictions(a, result) for a in result.answers]),
            folder / "predictions.tsv",
        )
        write_tsv(_genes(result), folder / "genes.tsv")
        _figures(result, folder / "figures")
        write_json(result.to_dict(), folder / "metrics.json")
    log.info("wrote %s", out)


def _predictions(answers: Predictions, result: GeneClassification) -> pd.DataFrame:
    classes = np.array(answers.classes, dtype=str)
    symbols_g = result.subject.names.gene_symbol[result.views.kept]
    task = result.task
    folds = len(next(d for d in task.designs if d.name == answers.split).folds)
    repeats = max(len(answers.rows_m) // len(task.codes_g), 1)
    table = pd.DataFrame(
        {
            "gene": task.gene_ids_g[answers.rows_m],
            "symbol": symbols_g[answers.rows_m],
            "family": task.families_g[answers.rows_m],
            "method": answers.rep,
            "design": answers.split,
            "repeat": answers.fold_m * repeats // folds,
            "fold": answers.fold_m,
            "class": classes[answers.truth_m],
            "prediction": classes[answers.predicted_m],
        }
    )
    for k, name in enumerate(classes):
        table[f"p_{name}"] = answers.probability_mk[:, k].round(6)
    return table


def _genes(result: GeneClassification) -> pd.DataFrame:
    subject, labels = result.subject, result.labels
    why = np.full(len(labels), "", dtype=object)
    for reason, lost_g in subject.lost.items():
        why[lost_g & (why == "")] = reason
    return pd.DataFrame(
        {
            "gene": subject.names.gene_id,
            "symbol": subject.names.gene_symbol,
            "class": np.array(labels.classes)[labels.codes_g],
            "family": subject.families_g,
            "left_out": why,
        }
    )


def _figures(result: GeneClassification, folder: Path) -> None:
    for design in result.designs:
        end = "" if design == GENES else "_families"
        there = {s.metric for s in result.scores if s.split == design}
        for metric in METRICS:
            if metric in there:
                save_figure(result.plot_scores(metric, design), folder / f"{metric}{end}.png")
        save_figure(result.plot_recall(design), folder / f"recall{end}.png")
        if len(result.labels.classes) == 2:
            save_figure(result.plot_roc(design), folder / f"roc{end}.png")
    # A confusion matrix of every model, and of what needs none.
    shown = [r for r in result.best_of_each() if r not in result.baselines]
    shown += [r for r in result.best_of_each() if r.startswith(f"{PROPERTIES} + ")]
    names = file_names(shown)
    for rep in shown:
        save_figure(result.plot_confusion(rep), folder / f"confusion_{names[rep]}.png")
    if result.hidden:
        save_figure(result.plot_hidden(), folder / "hidden_labels.png")
