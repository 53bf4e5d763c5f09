"""How a score grows with the number of labels: many draws of labelled cells, one fixed test set."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.evaluation.class_scores import measure_classes
from cellwright.evaluation.intervals import Interval, Measured, interval, paired_difference
from cellwright.evaluation.resampling import by_unit
from cellwright.interfaces import Predictions

METRICS = ("accuracy", "macro_f1", "roc_auc")


@dataclass(frozen=True)
class LabelDraw:
    """What one method answered after learning from one draw of labelled cells.

    per_class: labelled cells of each class, at most; None for all. repeat: number of the draw, the
    same cells for every method; n_labelled: labelled cells in it; probability_mk: of the test cells.
    """

    method: str
    per_class: int | None
    repeat: int
    n_labelled: int
    probability_mk: NDArray[np.float64]


@dataclass(frozen=True)
class CurvePoint:
    """One method at one number of labels: the mean over draws, with a 95 % band.

    The band resamples the test units and the draws of labels. ``difference`` is to the best of the
    baselines at this number of labels, on the same test units and the same draws; None for a
    baseline.
    """

    method: str
    per_class: int | None
    n_labelled: float
    repeats: int
    metric: str
    value: float
    low: float
    high: float
    interval: str
    unit: str
    chance: float | None
    baseline: str | None = None
    difference: dict[str, float] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The fields as a plain mapping."""
        return dict(self.__dict__)


def label_curves(
    draws: Sequence[LabelDraw],
    truth_m: NDArray[np.int64],
    classes: Sequence[str],
    unit_m: NDArray[np.str_],
    *,
    unit: str = "cells",
    baselines: Collection[str] = (),
    resamples: int = 500,
    seed: int = 0,
) -> list[CurvePoint]:
    """Accuracy, macro F1 and ROC-AUC of every method at every number of labels.

    Parameters
    ----------
    draws
        All answers; at one number of labels every method must have the same repeats.
    truth_m, unit_m
        Class of each test cell, and the unit (donor, library, cell) that is resampled.
    baselines
        Methods that the others are compared with.

    Raises
    ------
    DataError
        If a method lacks a draw that another has, so that the comparison would not be paired.
    """
    drawn, _ = by_unit(unit_m, draws=resamples, seed=seed)
    sizes_u = drawn.sizes_u
    points = []
    for per_class in dict.fromkeys(draw.per_class for draw in draws):
        here = [draw for draw in draws if draw.per_class == per_class]
        repeats = _same_repeats(here, per_class)
        rng = np.random.default_rng([seed, len(repeats)])
        # How often each draw of labels is itself drawn, the same for every method.
        often_br = rng.multinomial(len(repeats), np.full(len(repeats), 1 / len(repeats)), resamples)
        table: dict[str, dict[str, Measured]] = {}
        for method in dict.fromkeys(draw.method for draw in here):
            own = sorted((d for d in here if d.method == method), key=lambda draw: draw.repeat)
            each = [
                measure_classes(_answers(d, truth_m, classes, unit_m, unit), drawn) for d in own
            ]
            table[method] = {
                metric: _over_repeats([m[metric] for m in each], often_br, sizes_u, len(truth_m))
                for metric in METRICS
                if metric in each[0]
            }
        n_labelled = float(np.mean([draw.n_labelled for draw in here]))
        for method, measured in table.items():
            for metric, found in measured.items():
                best, difference = None, None
                if method not in baselines:
                    best, difference = _rival(found, metric, table, baselines, sizes_u)
                points.append(
                    CurvePoint(
                        method,
                        per_class,
                        n_labelled,
                        len(repeats),
                        metric,
                        found.value,
                        found.interval.low,
                        found.interval.high,
                        found.interval.method,
                        unit,
                        found.chance,
                        best,
                        difference,
                    )
                )
    return points


def _over_repeats(
    each: Sequence[Measured],
    often_br: NDArray[np.int64],
    sizes_u: NDArray[np.int64],
    n_test: int,
) -> Measured:
    values_r = np.array([found.value for found in each])
    draws_br = np.stack([found.draws_b for found in each], axis=1)
    weights_br = np.where(np.isfinite(draws_br), often_br, 0)
    total_b = weights_br.sum(axis=1)
    draws_b = np.full(len(draws_br), np.nan)
    np.divide(
        (np.nan_to_num(draws_br) * weights_br).sum(axis=1), total_b, out=draws_b, where=total_b > 0
    )
    value = float(values_r.mean())
    found = interval(value, draws_b, sizes_u, float(n_test))
    # Draws that differ widely leave the rules for one draw: then what was resampled counts.
    spread = np.nanquantile(draws_b, [0.025, 0.975])
    if spread[0] < found.low or spread[1] > found.high:
        found = Interval(
            min(found.low, float(spread[0])), max(found.high, float(spread[1])), found.method
        )
    return Measured(value, draws_b, found, each[0].chance)


def _rival(
    found: Measured,
    metric: str,
    table: Mapping[str, Mapping[str, Measured]],
    baselines: Collection[str],
    sizes_u: NDArray[np.int64],
) -> tuple[str | None, dict[str, float] | None]:
    rivals = {m: t[metric] for m, t in table.items() if m in baselines and metric in t}
    if not rivals:
        return None, None
    best = max(rivals, key=lambda name: rivals[name].value)
    other = rivals[best]
    return best, paired_difference(
        found.value,
        other.value,
        found.draws_b,
        other.draws_b,
        found.interval,
        other.interval,
        sizes_u,
    )


def _same_repeats(here: Sequence[LabelDraw], per_class: int | None) -> tuple[int, ...]:
    given: dict[str, tuple[int, ...]] = {}
    for method in dict.fromkeys(draw.method for draw in here):
        given[method] = tuple(sorted(d.repeat for d in here if d.method == method))
    first = next(iter(given.values()))
    for method, repeats in given.items():
        if repeats != first:
            labels = "all" if per_class is None else per_class
            raise DataError(
                f"{method!r} answered the draws {repeats} at {labels} labels per class, and "
                f"{next(iter(given))!r} the draws {first}; a paired comparison needs the same"
            )
    return first


def _answers(
    draw: LabelDraw,
    truth_m: NDArray[np.int64],
    classes: Sequence[str],
    unit_m: NDArray[np.str_],
    unit: str,
) -> Predictions:
    return Predictions(
        task="label-efficiency",
        rep=draw.method,
        model=draw.method,
        split="fixed test",
        fold_unit=unit,
        classes=tuple(classes),
        rows_m=np.arange(len(truth_m)),
        truth_m=truth_m,
        predicted_m=draw.probability_mk.argmax(axis=1),
        probability_mk=draw.probability_mk,
        unit_m=unit_m,
        unit=unit,
        fold_m=np.zeros(len(truth_m), dtype=np.int64),
        seen="clean",
        baseline=False,
    )
