"""The folder a disease test leaves: tables, figures and ``metrics.json``."""

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
    from cellwright.workflows.disease_test_result import DiseaseTest

log = logging.getLogger("cellwright.workflows.disease")


def write(result: DiseaseTest, out: Path, *, force: bool = False) -> None:
    """Write everything under a temporary name, then rename it to ``out``.

    metrics.json, scores.tsv, predictions.tsv (held-out cells of every answer), confusion_REP.csv,
    coordinates.tsv and, of a simulated file, random_sets.tsv, dose_response.tsv and leak.tsv; of a
    real shift real_shift.tsv; figures/*.png and *.pdf.

    Raises
    ------
    RunError
        If ``out`` exists and ``force`` is False.
    DataError
        If it cannot be written.
    """
    with atomic_folder(out, force=force) as folder:
        (folder / "figures").mkdir()
        _tables(result, folder)
        _figures(result, folder / "figures")
        write_json(result.to_dict(), folder / "metrics.json")
    log.info("wrote %s", out)


def _tables(result: DiseaseTest, folder: Path) -> None:
    rows = [{k: v for k, v in s.to_dict().items() if k != "difference"} for s in result.scores]
    write_tsv(pd.DataFrame(rows), folder / "scores.tsv")
    names_n = result.cohort.cell_names_n
    frames = []
    for a in result.answers:
        classes = np.array(a.classes, dtype=str)
        frames.append(
            pd.DataFrame(
                {
                    "cell": names_n[a.rows_m],
                    "question": a.task.partition(":")[2],
                    "answer_of": a.rep,
                    "design": a.split,
                    "fold": a.fold_m,
                    "state": classes[a.truth_m],
                    "prediction": classes[a.predicted_m],
                    "probability": a.probability_mk.max(axis=1).round(6),
                }
            )
        )
    write_tsv(pd.concat(frames), folder / "predictions.tsv")
    for rep, name in file_names(result.asked).items():
        for question in result.questions:
            found = result.best(question, rep)
            counts = pd.DataFrame(
                metrics.confusion(found),
                index=pd.Index(found.classes, name=f"true state ({found.rep})"),
                columns=list(found.classes),
            )
            counts.to_csv(folder / f"confusion_{name}_{question}.csv", lineterminator="\n")
    states_n = np.asarray(result.cohort.classes)[result.cohort.state_codes_n]
    drawn = [found.table(names_n, states_n) for found in result.pictures.values()]
    if drawn:
        write_tsv(pd.concat(drawn), folder / "coordinates.tsv")
    controls = result.controls
    if controls.sets:
        table = [
            pd.DataFrame({"rep": c.rep, "kind": c.kind, "metric": c.metric, "value": c.random_m})
            for c in controls.sets
        ]
        write_tsv(pd.concat(table), folder / "random_sets.tsv")
    if controls.doses:
        write_tsv(pd.DataFrame([p.to_dict() for p in controls.doses]), folder / "dose_response.tsv")
    if controls.leak:
        write_tsv(pd.DataFrame([r.to_dict() for r in controls.leak]), folder / "leak.tsv")
    if result.real is not None:
        write_tsv(result.shift_table(), folder / "real_shift.tsv")


def _figures(result: DiseaseTest, folder: Path) -> None:
    def both(drawn: object, name: str) -> None:
        for ending in ("png", "pdf"):
            save_figure(drawn, folder / f"{name}.{ending}")  # type: ignore[arg-type]

    for question in result.questions:
        both(result.plot_scores(question), f"scores_{question}")
        for rep, name in file_names(result.asked).items():
            both(result.plot_confusion(rep, question), f"confusion_{name}_{question}")
    for rep, name in file_names(result.pictures).items():
        save_figure(result.plot_map(rep), folder / f"umap_{name}.png")
    if result.controls.sets:
        both(result.plot_random_sets(), "random_sets")
    if result.controls.doses:
        both(result.plot_doses(), "dose_response")
    if result.controls.leak:
        both(result.plot_leak(), "leak")
    if result.real is not None:
        both(result.plot_real(), "real_shift")
        if result.real.picture is not None:
            save_figure(result.plot_real_map(), folder / "real_shift_umap.png")
