"""The folder fine-tuning leaves: the run, tables, figures and ``metrics.json``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from cellwright.data.atomic import atomic_folder
from cellwright.evaluation import metrics
from cellwright.report.canvas import save_figure
from cellwright.workflows.pictures import file_names
from cellwright.workflows.plain_files import write_json, write_tsv

if TYPE_CHECKING:
    from cellwright.workflows.finetune_result import FinetuneResult

log = logging.getLogger("cellwright.workflows.finetune")

RUN = "run"


def write(result: FinetuneResult, out: Path, *, force: bool = False) -> None:
    """Write everything under a temporary name, then rename it to ``out``.

    run/ (what ``load``, ``embed`` and ``probe --rep`` take), metrics.json, predictions.tsv
    (held-out cells of every method), history.tsv (every fold's epochs and the final run's),
    confusion_METHOD.csv, coordinates.tsv, label_efficiency.tsv where it was asked for,
    figures/*.png and *.pdf.

    Raises
    ------
    RunError
        If ``out`` exists and ``force`` is False.
    DataError
        If it cannot be written.
    """
    with atomic_folder(out, force=force) as folder:
        figures = folder / "figures"
        figures.mkdir()
        result.run.save(folder / RUN)
        write_tsv(result.predictions(), folder / "predictions.tsv")
        names = file_names(a.rep for a in result.answers)
        for a in result.answers:
            rows = pd.Index(a.classes, name="true class")
            counts = pd.DataFrame(metrics.confusion(a), index=rows, columns=list(a.classes))
            counts.to_csv(folder / f"confusion_{names[a.rep]}.csv", lineterminator="\n")
        histories = [
            pd.DataFrame(rows).assign(training=name)
            for name, rows in zip(_trainings(len(result.histories)), result.histories, strict=True)
        ]
        write_tsv(pd.concat(histories), folder / "history.tsv")
        rows_m = np.asarray(result.final["picture_rows"], dtype=np.int64)
        cells_m = np.asarray(result.cells_n, dtype=str)[rows_m]
        class_m = result.labels.class_n[rows_m]
        drawn = [found.table(cells_m, class_m) for found in result.pictures.values()]
        if drawn:
            write_tsv(pd.concat(drawn), folder / "coordinates.tsv")
        for metric in ("accuracy", "macro_f1", "roc_auc"):
            if any(s.metric == metric for s in result.scores):
                for ending in ("png", "pdf"):
                    save_figure(result.plot_methods(metric), figures / f"methods_{metric}.{ending}")
        if result.few_labels is not None:
            table = result.few_labels.table()
            write_tsv(table, folder / "label_efficiency.tsv")
            for metric in dict.fromkeys(table["metric"]):
                for ending in ("png", "pdf"):
                    where = figures / f"label_efficiency_{metric}.{ending}"
                    save_figure(result.plot_few_labels(str(metric)), where)
        for name, draw in (
            ("roc", result.plot_roc),
            ("confusion", result.plot_confusion),
            ("learning_curves", result.plot_curves),
        ):
            for ending in ("png", "pdf"):
                save_figure(draw(), figures / f"{name}.{ending}")
        for which, name in file_names(result.pictures).items():
            save_figure(result.plot_map(which), figures / f"umap_{name}.png")
        write_json(result.to_dict(), folder / "metrics.json")
    log.info("wrote %s", out)


def _trainings(n: int) -> list[str]:
    return [*(f"fold {i + 1}" for i in range(n - 1)), "final"]
