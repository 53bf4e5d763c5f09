"""The folder a probe leaves: tables, vectors, probes, figures and ``metrics.json``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellwright.data.atomic import atomic_folder
from cellwright.evaluation import metrics
from cellwright.evaluation.probe import save_probes
from cellwright.interfaces import Predictions
from cellwright.report.canvas import save_figure
from cellwright.workflows.pictures import file_names
from cellwright.workflows.plain_files import write_json, write_tsv

if TYPE_CHECKING:
    from cellwright.workflows.probe_result import ProbeResult

log = logging.getLogger("cellwright.workflows.probe")


def write(result: ProbeResult, out: Path, *, force: bool = False) -> None:
    """Write everything under a temporary name, then rename it to ``out``.

    metrics.json, predictions.tsv (held-out cells of every representation and design), labels.tsv
    (every cell), embeddings/REP.npy (every cell, rows as in labels.tsv), coordinates.tsv,
    probe.npz (fitted on all labelled cells), confusion_REP.csv of the headline design and
    confusion_REP_DESIGN.csv of the others, figures/*.png.

    Raises
    ------
    RunError
        If ``out`` exists and ``force`` is False.
    DataError
        If it cannot be written.
    """
    with atomic_folder(out, force=force) as folder:
        (folder / "figures").mkdir()
        (folder / "embeddings").mkdir()
        names = file_names(view.name for view in result.views)
        _tables(result, folder, names)
        rows = np.flatnonzero(result.labels.codes_n >= 0)
        for rep in result.pictured:
            vectors_nd = result.views[rep].vectors(rows)
            np.save(folder / "embeddings" / f"{names[rep]}.npy", vectors_nd, allow_pickle=False)
        save_probes(result.probes, folder / "probe.npz")
        _figures(result, folder / "figures", names)
        knn: dict[str, dict[str, Any]] = {}
        for (rep, method), drawn in result.pictures.items():
            knn.setdefault(rep, {})[method] = drawn.to_dict()
        write_json({**result.to_dict(), "files": names, "knn_2d": knn}, folder / "metrics.json")
    log.info("wrote %s", out)


def _tables(result: ProbeResult, folder: Path, names: Mapping[str, str]) -> None:
    obs, labels = result.subject.cells.obs, result.labels
    cells_n = np.asarray(obs.index, dtype=str)
    frames = [_predictions(answers, cells_n, result) for answers in result.answers]
    write_tsv(pd.concat(frames), folder / "predictions.tsv")
    table = pd.DataFrame({"cell": cells_n, "label": labels.text_n, "class": labels.class_n})
    task = result.exam.tasks[0]
    if task.groups_n is not None:
        table["group"] = task.groups_n
    if task.split_n is not None:
        table["split"] = task.split_n
    write_tsv(table, folder / "labels.tsv")
    drawn = [p.table(cells_n, labels.class_n) for p in result.pictures.values()]
    write_tsv(pd.concat(drawn), folder / "coordinates.tsv")
    for answers in result.answers:
        other = "" if answers.split == result.headline else f"_{answers.split}"
        counts = pd.DataFrame(
            metrics.confusion(answers),
            index=pd.Index(answers.classes, name="true class"),
            columns=list(answers.classes),
        )
        counts.to_csv(folder / f"confusion_{names[answers.rep]}{other}.csv", lineterminator="\n")


def _predictions(answers: Predictions, cells_n: Any, result: ProbeResult) -> pd.DataFrame:
    classes = np.array(answers.classes, dtype=str)
    table = pd.DataFrame(
        {
            "cell": cells_n[answers.rows_m],
            "rep": answers.rep,
            "split": answers.split,
            "fold": answers.fold_m,
            "label": result.labels.text_n[answers.rows_m],
            "class": classes[answers.truth_m],
            "prediction": classes[answers.predicted_m],
        }
    )
    for k, name in enumerate(classes):
        table[f"p_{name}"] = answers.probability_mk[:, k].round(6)
    return table


def _figures(result: ProbeResult, folder: Path, names: Mapping[str, str]) -> None:
    save_figure(result.plot_scores(), folder / "scores.png")
    save_figure(result.plot_roc(), folder / "roc.png")
    for view in result.views:
        save_figure(result.plot_confusion(view.name), folder / f"confusion_{names[view.name]}.png")
    for rep, method in result.pictures:
        save_figure(result.plot_map(rep, method), folder / f"{method}_{names[rep]}.png")
