"""What the methods beside a fine-tuned run answer, in every fold and with fewer labels."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cellwright.evaluation.folds import Design
from cellwright.interfaces import Predictions, Seen
from cellwright.workflows.finetune_methods import (
    FINETUNED,
    Contest,
    FoldAnswer,
    answer,
)
from cellwright.workflows.finetune_result import FROZEN_METHOD
from cellwright.workflows.label_efficiency import (
    LabelEfficiency,
    fixed_test,
    label_efficiency,
)
from cellwright.workflows.labels import Labels

log = logging.getLogger("cellwright.workflows.finetune")


def answers_of_folds(
    contest: Contest,
    labels: Labels,
    design: Design,
    methods: Sequence[str],
    progress: Callable[[int, int, str], None] | None,
) -> tuple[dict[str, list[FoldAnswer]], dict[str, float]]:
    """What every method answered in every fold, and the seconds it took in all."""
    given: dict[str, list[FoldAnswer]] = {method: [] for method in methods}
    seconds = dict.fromkeys(methods, 0.0)
    whole, done = len(methods) * len(design.folds), 0
    for number, fold in enumerate(design.folds):
        for method in methods:
            if progress is not None:
                progress(done, whole, f"{method}, fold {number + 1} of {len(design.folds)}")
            start = time.perf_counter()
            given[method].append(
                answer(
                    method,
                    contest,
                    labels.codes_n,
                    labels.classes,
                    fold.train,
                    fold.test,
                    seed=contest.settings.seed,
                )
            )
            seconds[method] += time.perf_counter() - start
            done += 1
        whole_s = sum(seconds.values())
        log.info("fold %d of %d: %.0f s so far", number + 1, len(design.folds), whole_s)
    if progress is not None:
        progress(whole, whole, "")
    return given, seconds


def few_label_answers(
    contest: Contest,
    labels: Labels,
    design: Design,
    methods: Sequence[str],
    units_n: NDArray[np.str_],
    seen_n: NDArray[np.str_],
    sizes: Sequence[int | None],
    draws: int,
    progress: Callable[[int, int, str], None] | None,
) -> LabelEfficiency:
    """The same with so many labels per class, on one fold of the design that stays."""
    fold, words = fixed_test(labels.codes_n, seen_n, units_n, design)
    found = label_efficiency(
        contest,
        labels.codes_n,
        labels.classes,
        fold,
        methods,
        units_n,
        unit=design.unit,
        sizes=sizes,
        repeats=draws,
        baselines=[m for m in methods if m not in (FINETUNED, FROZEN_METHOD)],
        seed=contest.settings.seed,
        progress=None if progress is None else lambda n, of: progress(n, of, "fewer labels"),
    )
    return replace(found, sentences=(f"Fewer labels are tested on {words}.", *found.sentences))


def predictions_of(
    method: str,
    given: Sequence[FoldAnswer],
    labels: Labels,
    design: Design,
    units_n: NDArray[np.str_],
    seen: Seen,
) -> Predictions:
    """The answers of one method over all folds, in the order of the cells; ``seen`` is the run's."""
    rows = np.concatenate([fold.test for fold in design.folds])
    fold_m = np.repeat(np.arange(len(design.folds)), [len(f.test) for f in design.folds])
    order = np.argsort(rows)
    probability_mk = np.concatenate([a.probability_mk for a in given])[order]
    rows = rows[order]
    uses_run = method in (FINETUNED, FROZEN_METHOD)
    return Predictions(
        task="annotation",
        rep=method,
        model="fine-tuned" if method == FINETUNED else method.rpartition(" + ")[2],
        split=design.name,
        fold_unit=design.fold_unit,
        classes=labels.classes,
        rows_m=rows,
        truth_m=labels.codes_n[rows],
        predicted_m=probability_mk.argmax(axis=1),
        probability_mk=probability_mk,
        unit_m=units_n[rows].astype(np.str_),
        unit=design.unit,
        fold_m=fold_m[order],
        seen=seen if uses_run else "clean",
        baseline=not uses_run,
    )


def as_baseline(p: Predictions) -> Predictions:
    """The same answers as those of a method to be beaten."""
    return Predictions(**{**p.__dict__, "baseline": True})
