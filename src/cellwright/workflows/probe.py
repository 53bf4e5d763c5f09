"""Probe: what a linear classifier reads off vectors, beside what it reads off simpler things."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

from anndata import AnnData

from cellwright.data.atomic import refuse_existing
from cellwright.errors import SettingsError
from cellwright.evaluation.shuffling import ShuffleControl
from cellwright.interfaces import CellView, Check, Predictions
from cellwright.workflows import probe_folder
from cellwright.workflows.designs import (
    Exam,
    batch_column,
    check_designs,
    draw_exam,
    group_column,
    require_passed,
)
from cellwright.workflows.labels import Labels, read_labels
from cellwright.workflows.probe_result import ProbeResult
from cellwright.workflows.subject import read_subject
from cellwright.workflows.views import Views, build_views

log = logging.getLogger("cellwright.workflows.probe")


def probe(
    source: AnnData | Path | str,
    reps: str | Path | Sequence[str | Path] = ("hvg",),
    *,
    label: str,
    positive: str | Sequence[str] | None = None,
    negative: str | Sequence[str] | None = None,
    group: str | None = "auto",
    folds: int = 5,
    class_weight: str | None = "balanced",
    seed: int = 42,
    ignore_unmapped: bool = False,
    min_cells: int = 0,
    size_column: str | None = None,
    layer: str | None = None,
    assume_counts: bool = False,
    shuffles: int = 20,
    out: Path | str | None = None,
    force: bool = False,
    strict: bool = False,
) -> ProbeResult:
    """Judge representations by a linear probe, always beside the simple methods and shortcuts.

    Parameters
    ----------
    source
        AnnData (left as it is) or the path of an h5ad, with raw counts.
    reps
        Catalog names (``hvg``, ``pca``, ``depth`` …), run folders, ``obsm:KEY``, ``file:PATH.npy``.
    label
        Column of ``obs`` to predict. Cells without a label are left out of scores and embedded.
    positive, negative, ignore_unmapped, min_cells
        As in :func:`cellwright.workflows.labels.read_labels`.
    group
        Column held out whole; ``"auto"`` for donor, library or batch where there is one; None or
        ``"none"`` for single cells.
    folds, class_weight, seed, shuffles
        Folds over groups; ``balanced`` or None; one seed for folds, intervals and pictures;
        permutations of the label-shuffle control.
    size_column
        Column of ``obs`` with the counts of the whole library, for the depth baseline.
    layer, assume_counts
        Where the counts are, as in :func:`cellwright.data.reading.counts_of`.
    out
        Folder to write; None writes nothing.
    force
        Replace ``out`` if it exists.
    strict
        Raise if a check fails, after everything is written.

    Raises
    ------
    DataError
        If cells, labels or vectors do not fit.
    SettingsError
        For an unknown representation or label.
    RunError
        If ``out`` exists.
    CheckFailed
        Under ``strict``.
    """
    if out is not None:
        refuse_existing(out, force=force)
    if class_weight not in ("balanced", "none", None):
        raise SettingsError(f"class_weight is {class_weight!r}, expected 'balanced' or 'none'")
    subject = read_subject(source, layer=layer, assume_counts=assume_counts)
    labels = read_labels(
        subject.cells.obs,
        label,
        positive=positive,
        negative=negative,
        ignore_unmapped=ignore_unmapped,
        min_cells=min_cells,
    )
    names = [str(r) for r in ([reps] if isinstance(reps, str | Path) else reps)] or ["hvg"]
    column = group_column(subject.cells.obs, group, label)
    views = build_views(
        subject,
        names,
        batch=batch_column(subject.cells.obs, column, label),
        size=size_column,
        seed=seed,
    )
    exam = draw_exam(
        subject,
        labels,
        views,
        group=group,
        folds=folds,
        class_weight=None if class_weight == "none" else class_weight,
        seed=seed,
        shuffles=shuffles,
    )
    answers = _answers(exam, views)
    found = exam.tasks[0].judge(answers)
    controls = _controls(exam, [views[name] for name in views.asked]) if shuffles else []
    checks = [*check_designs(exam, subject, labels), *(c.check() for c in controls), *found.checks]
    checks += [
        Check("folds", "note", f"The {d.name} design has {d.note}.")
        for d in exam.designs[1:]
        if d.note
    ]
    result = ProbeResult(
        labels=labels,
        exam=exam,
        subject=subject,
        views=views,
        answers=tuple(answers),
        scores=found.scores,
        differences=found.differences,
        controls=tuple(controls),
        checks=tuple(checks),
        sentences=(*found.sentences, *_left_out(labels), *views.notes, *exam.notes),
        folder=None if out is None else Path(out),
    )
    if out is not None:
        probe_folder.write(result, Path(out), force=force)
    if strict:
        require_passed(checks, result.folder)
    return result


def _answers(exam: Exam, views: Views) -> list[Predictions]:
    answers: dict[str, list[Predictions]] = {design.name: [] for design in exam.designs}
    for view in views:
        start = time.perf_counter()
        for task in exam.tasks:
            for found in task.predict(view):
                answers[found.split].append(found)
        log.info("%s: %.1f s", view.name, time.perf_counter() - start)
    return [found for group in answers.values() for found in group]


def _controls(exam: Exam, views: Sequence[CellView]) -> list[ShuffleControl]:
    return [control for view in views for control in exam.tasks[0].control(view)]


def _left_out(labels: Labels) -> list[str]:
    if not labels.excluded:
        return []
    parts = []
    if labels.unlabelled:
        parts.append(f"{labels.unlabelled} without {labels.column}")
    shown = [f"{n} labelled {name!r}" for name, n in labels.left_out.items()]
    parts += shown[:5] + ([f"{len(shown) - 5} labels more"] if len(shown) > 5 else [])
    return [
        f"{labels.excluded} of {len(labels.codes_n)} cells take no part in the scores and are "
        f"embedded all the same: {', '.join(parts)}."
    ]
