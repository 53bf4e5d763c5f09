"""Fine-tune a run on labels, and put it beside what needs no pretraining, on the same folds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.data.atomic import refuse_existing
from cellwright.data.disk.arrays import usable_cores
from cellwright.errors import SettingsError
from cellwright.evaluation.answer_checks import require_classes
from cellwright.evaluation.class_scores import measure_classes
from cellwright.evaluation.classifiers import CLASSIFIERS
from cellwright.evaluation.comparison import judge
from cellwright.evaluation.folds import Design, Fold, grouped_folds
from cellwright.evaluation.seen import worst_seen
from cellwright.models.freezing import freeze_layers
from cellwright.models.lora import add_lora
from cellwright.representations.finetuned import (
    Base,
    FinetunedRun,
    base_of,
    new_classifier,
)
from cellwright.representations.loading import load_encoder
from cellwright.training.finetune_settings import FinetuneSettings
from cellwright.workflows import finetune_folder
from cellwright.workflows.designs import (
    batch_column,
    group_column,
    group_values,
    require_passed,
)
from cellwright.workflows.finetune_answers import (
    answers_of_folds,
    as_baseline,
    few_label_answers,
    predictions_of,
)
from cellwright.workflows.finetune_findings import beside_frozen, leaks, notes
from cellwright.workflows.finetune_kept import kept_run, pictures
from cellwright.workflows.finetune_methods import (
    FINETUNED,
    Contest,
    method_names,
)
from cellwright.workflows.finetune_result import FinetuneResult
from cellwright.workflows.labels import Labels, read_labels
from cellwright.workflows.subject import read_subject
from cellwright.workflows.views import build_views

log = logging.getLogger("cellwright.workflows.finetune")


def finetune(
    run: Base | FinetunedRun | Path | str,
    source: AnnData | Path | str,
    *,
    label: str,
    positive: str | Sequence[str] | None = None,
    negative: str | Sequence[str] | None = None,
    ignore_unmapped: bool = False,
    min_cells: int = 0,
    group: str | None = "auto",
    folds: int = 5,
    classifiers: Sequence[str] = CLASSIFIERS,
    scratch: bool = True,
    settings: FinetuneSettings | None = None,
    labels_per_class: Sequence[int | None] = (),
    label_draws: int = 5,
    vocabulary: Path | str | None = None,
    size_column: str | None = None,
    layer: str | None = None,
    assume_counts: bool = False,
    out: Path | str | None = None,
    force: bool = False,
    strict: bool = False,
    progress: Callable[[int, int, str], None] | None = None,
) -> FinetuneResult:
    """Fine-tune a pretrained run to name classes, always beside what does without it.

    Every method learns from the same training cells of each fold, and whatever it has to choose
    (when to stop, how strong a penalty) it chooses inside them.

    Parameters
    ----------
    run
        A run folder or the folder of a Geneformer checkpoint, or either loaded.
    source
        AnnData (left as it is) or the path of an h5ad, with raw counts.
    label, positive, negative, ignore_unmapped, min_cells
        As in :func:`cellwright.workflows.labels.read_labels`.
    group, folds
        Column whose groups are held out whole; ``"auto"`` for donor, library or batch where there
        is one; None or ``"none"`` for single cells.
    classifiers
        The classical classifiers beside it, on log counts of variable genes and on components.
    scratch
        Whether the same network is also trained from random weights.
    settings
        Of fine-tuning; its seed is that of folds, intervals and pictures too.
    labels_per_class, label_draws
        Also answer from so many labelled cells of each class (None: all), each number drawn so many
        times; see :func:`cellwright.workflows.label_efficiency.label_efficiency`.
    vocabulary
        Table of a checkpoint's series.
    size_column, layer, assume_counts
        As for :func:`cellwright.workflows.probe.probe`.
    out, force
        Folder to write; replace it if it exists.
    strict
        Raise if a check fails, after everything is written.
    progress
        Called with the answers given, those to give, and the method at work.

    Raises
    ------
    DataError
        If cells or labels do not fit, or a fold leaves one class to learn from.
    SettingsError
        For an unknown classifier, more frozen layers than there are, a label that is not there.
    RunError
        If the run is unfinished or ``out`` exists.
    CheckFailed
        Under ``strict``.
    """
    settings = settings or FinetuneSettings()
    if out is not None:
        refuse_existing(out, force=force)
    loaded = load_encoder(run, vocabulary=vocabulary) if isinstance(run, str | Path) else run
    base = base_of(loaded)
    _try_settings(base, settings)
    subject = read_subject(source, layer=layer, assume_counts=assume_counts)
    obs = subject.cells.obs
    labels = read_labels(
        obs,
        label,
        positive=positive,
        negative=negative,
        ignore_unmapped=ignore_unmapped,
        min_cells=min_cells,
    )
    column = group_column(obs, group, label)
    groups_n = None if column is None else group_values(obs, column)
    design = _design(labels, obs.index.to_numpy(dtype=str), groups_n, column, folds, settings.seed)
    seen_n = loaded.seen(subject.slim, assume_counts=assume_counts)
    tested = np.concatenate([fold.test for fold in design.folds])
    seen = worst_seen(seen_n[tested], name=base.name, where="that folds would hold out")
    views = build_views(
        subject,
        batch=batch_column(obs, column, label),
        size=size_column,
        seed=settings.seed,
    )
    methods = method_names(views, classifiers, scratch=scratch)
    contest = Contest(subject, base, views, settings, groups_n, threads=usable_cores())
    log.info("%d methods, %d folds, %d cells", len(methods), len(design.folds), len(tested))
    given, seconds = answers_of_folds(contest, labels, design, methods, progress)
    units_n = np.asarray(obs.index, dtype=str) if groups_n is None else groups_n
    predictions = [predictions_of(m, given[m], labels, design, units_n, seen) for m in methods]
    measure = partial(measure_classes, positive=labels.positive)
    found = judge(predictions, measure, seed=settings.seed)
    beside = judge(
        [p if p.rep == FINETUNED else as_baseline(p) for p in predictions if not p.baseline],
        measure,
        seed=settings.seed,
    )
    few = None
    if labels_per_class:
        few = few_label_answers(
            contest,
            labels,
            design,
            methods,
            units_n,
            seen_n,
            labels_per_class,
            label_draws,
            progress,
        )
    result_run, final, final_fitted = kept_run(
        contest, labels, seen_n, name=f"{base.name}-{label}", loaded=base
    )
    pictures_of_kept = pictures(contest, result_run, labels, final["picture_rows"])
    fitted = [a.fitted for a in given[FINETUNED]] + [final_fitted]
    result = FinetuneResult(
        run=result_run,
        labels=labels,
        design=design,
        answers=tuple(predictions),
        scores=found.scores,
        differences=(*found.differences, *beside.differences),
        checks=(*leaks(subject, labels, design, groups_n, column), *found.checks),
        sentences=(
            *found.sentences,
            *beside_frozen(beside.differences),
            *notes(given, design, final),
            *(() if few is None else few.sentences),
            *views.notes,
        ),
        chosen={m: [a.chosen for a in given[m]] for m in methods},
        seconds=seconds,
        histories=tuple(f.history for f in fitted if f is not None),
        final=final,
        pictures=pictures_of_kept,
        settings=asdict(settings),
        cells_n=tuple(map(str, obs.index)),
        base=base.name,
        folder=None if out is None else Path(out),
        few_labels=few,
    )
    if out is not None:
        finetune_folder.write(result, Path(out), force=force)
    if strict:
        require_passed(result.checks, result.folder)
    return result


def _try_settings(run: Base, settings: FinetuneSettings) -> None:
    """Freeze and adapt a copy: what cannot work is said before any data are read."""
    encoder = new_classifier(run, 2).encoder
    freeze_layers(encoder, settings.freeze_layers)
    if settings.lora_rank is not None:
        add_lora(encoder, settings.lora_rank, settings.lora_alpha)
    settings.fabric()


def _design(
    labels: Labels,
    names_n: NDArray[np.str_],
    groups_n: NDArray[np.str_] | None,
    column: str | None,
    folds: int,
    seed: int,
) -> Design:
    """Whole groups held out, each once; without groups single cells, class by class."""
    require_classes(labels.codes_n, labels.classes, labels.column)
    if groups_n is not None:
        return grouped_folds(
            labels.codes_n,
            groups_n,
            group_name=column or "groups",
            folds=folds,
            seed=seed,
            classes=labels.classes,
        )
    if folds < 2:
        raise SettingsError(f"folds is {folds}; cross-validation needs at least 2")
    rng = np.random.default_rng(seed)
    fold_n = np.full(len(names_n), -1)
    dealt = 0
    for code in range(len(labels.classes)):
        rows = np.flatnonzero(labels.codes_n == code)
        rows = rng.permutation(rows[np.argsort(names_n[rows], kind="stable")])
        # Where one class ends the next goes on, so that folds are of one size.
        fold_n[rows] = (dealt + np.arange(len(rows))) % folds
        dealt += len(rows)
    inside = fold_n >= 0
    made = [
        Fold(np.flatnonzero(inside & (fold_n != f)), np.flatnonzero(fold_n == f))
        for f in range(folds)
        if (fold_n == f).any()
    ]
    note = "single cells held out: no column groups them, so scores may flatter every method alike"
    return Design("random", "cells", "cells", tuple(made), note)
