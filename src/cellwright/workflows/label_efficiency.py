"""Does pretraining pay where labels are few: every method on the same few labelled cells."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.errors import SettingsError
from cellwright.evaluation.comparison import FEWEST_UNITS
from cellwright.evaluation.folds import Design, Fold
from cellwright.evaluation.intervals import units_worth
from cellwright.evaluation.label_curves import CurvePoint, LabelDraw, label_curves
from cellwright.evaluation.sentences import standing
from cellwright.workflows.finetune_methods import Contest, answer_fold
from cellwright.workflows.views import Views

SIZES: tuple[int | None, ...] = (5, 10, 20, 50, 100, None)


@dataclass(frozen=True)
class LabelEfficiency:
    """points: every method, number of labels and metric; sentences: what they say, in words."""

    points: tuple[CurvePoint, ...]
    n_test: int
    unit: str
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {
            "n_test": self.n_test,
            "unit": self.unit,
            "points": [point.to_dict() for point in self.points],
        }

    def table(self) -> pd.DataFrame:
        """One row per method, number of labels and metric."""
        rows = []
        for point in self.points:
            row = point.to_dict()
            difference = row.pop("difference") or {}
            row["per_class"] = "all" if point.per_class is None else point.per_class
            row |= {f"difference_{key}": difference.get(key) for key in ("value", "low", "high")}
            rows.append(row)
        return pd.DataFrame(rows)


def label_efficiency(
    contest: Contest,
    codes_n: NDArray[np.int64],
    classes: Sequence[str],
    fold: Fold,
    methods: Sequence[str],
    unit_n: NDArray[np.str_],
    *,
    unit: str = "cells",
    sizes: Sequence[int | None] = SIZES,
    repeats: int = 5,
    baselines: Collection[str] = (),
    resamples: int = 500,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> LabelEfficiency:
    """Answer the same test cells from 5, 10, … labelled cells of each class.

    Every draw of labelled cells is the same for all methods, and a smaller draw is part of the
    larger one. Classifiers are tuned and networks stopped with these labels only; variable genes
    and principal components may look at all training cells, as the encoder's pretraining could,
    without their labels.

    Parameters
    ----------
    fold
        Training cells to draw labels from, and test cells, which stay the same.
    sizes
        Labelled cells per class; a class that has fewer gives all; None takes every cell, in one
        draw.
    unit_n
        What the bands resample, per cell.
    progress
        Called with answers given and answers to give.

    Raises
    ------
    SettingsError
        If ``repeats`` is below 1.
    """
    if repeats < 1:
        raise SettingsError(f"repeats is {repeats}, expected at least 1")
    contest = replace(contest, views=_fitted_once(contest.views, fold))
    plan = _plan(codes_n, fold.train, sizes, repeats, seed)
    draws: list[LabelDraw] = []
    for per_class, repeat, rows in plan:
        for method in methods:
            p = answer_fold(method, contest, codes_n, classes, rows, fold.test, seed=seed + repeat)
            draws.append(LabelDraw(method, per_class, repeat, len(rows), p))
            if progress is not None:
                progress(len(draws), len(plan) * len(methods))
    points = label_curves(
        draws,
        codes_n[fold.test],
        classes,
        unit_n[fold.test],
        unit=unit,
        baselines=baselines,
        resamples=resamples,
        seed=seed,
    )
    return LabelEfficiency(
        tuple(points), len(fold.test), unit, tuple(_sentences(points, methods, baselines))
    )


def fixed_test(
    codes_n: NDArray[np.int64],
    seen_n: NDArray[np.str_],
    unit_n: NDArray[np.str_],
    design: Design,
) -> tuple[Fold, str]:
    """The cells to test on, and in words which they are.

    Those that the run has not seen, where they hold every class (five cells or more of each) and
    are whole units of which there are six; else the fold of the design whose units are worth most.
    """
    labelled = codes_n >= 0
    clean = labelled & (seen_n == "clean")
    rest = labelled & ~clean
    sizes_k = np.bincount(codes_n[clean], minlength=int(codes_n.max()) + 1)
    whole = not set(unit_n[clean]) & set(unit_n[rest])
    if (
        sizes_k.min() >= 5
        and rest.any()
        and whole
        and len(np.unique(unit_n[clean])) >= FEWEST_UNITS
    ):
        missing = set(np.unique(codes_n[clean])) - set(np.unique(codes_n[rest]))
        if not missing:
            fold = Fold(np.flatnonzero(rest), np.flatnonzero(clean))
            return fold, f"the {int(clean.sum()):,} cells that the run has not seen"

    def worth(fold: Fold) -> tuple[int, float]:
        _, sizes_u = np.unique(unit_n[fold.test], return_counts=True)
        return len(np.unique(codes_n[fold.test])), units_worth(sizes_u)

    fold = max(design.folds, key=worth)
    return fold, f"one fold of {len(design.folds)}, {len(fold.test):,} cells"


def _plan(
    codes_n: NDArray[np.int64],
    train: NDArray[np.int64],
    sizes: Sequence[int | None],
    repeats: int,
    seed: int,
) -> list[tuple[int | None, int, NDArray[np.int64]]]:
    """(labels per class, repeat, rows); sizes that no class reaches are one draw of all."""
    codes_m = codes_n[train]
    most = int(np.bincount(codes_m).max())
    plan: list[tuple[int | None, int, NDArray[np.int64]]] = []
    for size in dict.fromkeys(s if s is not None and s < most else None for s in sizes):
        for repeat in range(1 if size is None else repeats):
            rng = np.random.default_rng([seed, repeat])
            rows = [rng.permutation(train[codes_m == code])[:size] for code in np.unique(codes_m)]
            plan.append((size, repeat, np.sort(np.concatenate(rows))))
    return plan


def _fitted_once(views: Views, fold: Fold) -> Views:
    """Views fitted on all training cells of the fold, once: labels are no part of that."""
    fitted = []
    for view in views:
        x = view.vectors(fold.train)
        fitted.append(replace(view, vectors=lambda _, x=x: x))
    return replace(views, views=tuple(fitted))


def _sentences(
    points: Sequence[CurvePoint], methods: Sequence[str], baselines: Collection[str]
) -> list[str]:
    """What every method that is no baseline does beside the best one, fewest labels first."""
    said = []
    for method in methods:
        if method in baselines:
            continue
        for point in points:
            if point.method != method or point.metric != "macro_f1" or point.difference is None:
                continue
            labels = (
                "all labels" if point.per_class is None else f"{point.per_class} labels a class"
            )
            gap = point.difference
            said.append(
                f"With {labels} {method} scores macro F1 {point.value:.3f}, "
                f"{standing(gap['low'], gap['high'])} the best simple method, {point.baseline} "
                f"(difference {gap['value']:+.3f}, {gap['low']:+.3f} to {gap['high']:+.3f})."
            )
    return said
