"""Which candidates a method names: scores less a threshold, chosen on validation conditions or 0.5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cellwright.evaluation.intervals import Measured
from cellwright.evaluation.target_ranking import best_threshold, threshold_metrics
from cellwright.perturbation.reverse import Screen
from cellwright.perturbation.reverse_calibration import fit_calibration
from cellwright.training.reverse_settings import ENCODERS, NETWORKS
from cellwright.workflows.reverse_benchmark_runs import Asked

PROBABILITIES = ("knn", "logistic-regression", "random-forest", "xgboost")
"""Methods whose scores are probabilities as they stand."""
AT_HALF = "@0.5"

Margins = dict[str, NDArray[np.float64]]


def margins_of(asked: Sequence[Asked], screen: Screen) -> Margins:
    """Scores less the threshold, of one method's answers over all partitions, (q, c) each.

    Every partition has a threshold of its own, because it has a model of its own. Scores that are
    no probabilities, such as distances, have a level and a spread of every query's own, and are
    standardised within queries, without which no threshold would be fair to them. Keys: ``""`` for
    the threshold of the highest micro F1 on validation conditions, where every partition has some;
    ``@0.5`` for probability one half, where scores are probabilities or can be made into some.
    """
    asked = [_comparable(a) for a in asked]
    chosen = [_chosen(a, screen) for a in asked]
    half = [_half(a, screen) for a in asked]
    found: Margins = {}
    for name, parts in (("", chosen), (AT_HALF, half)):
        known = [part for part in parts if part is not None]
        if len(known) == len(parts):
            found[name] = np.vstack(known)
    return found


def judge_margins(
    margins: Margins, target_qc: NDArray[np.bool_], unit_q: NDArray[np.str_], *, seed: int
) -> dict[str, Measured]:
    """Micro and macro F1 at each threshold."""
    return {
        name + at: found
        for at, margin_qc in margins.items()
        for name, found in threshold_metrics(margin_qc, target_qc, unit_q, 0.0, seed=seed).items()
    }


def targets_of(unit_q: NDArray[np.str_], screen: Screen) -> NDArray[np.bool_]:
    """Which candidates are perturbed in each query, by the name of its condition, (q, c)."""
    names_u, code_q = np.unique(unit_q, return_inverse=True)
    return screen.targets_pc[[screen.index(str(n)) for n in names_u]][code_q]


def _comparable(asked: Asked) -> Asked:
    """The same answers with scores that can be compared between queries."""
    if asked.method in PROBABILITIES or asked.method in (*NETWORKS, *ENCODERS):
        return asked
    val = asked.val_score_qc
    return replace(
        asked,
        score_qc=_standardised(asked.score_qc),
        val_score_qc=None if val is None else _standardised(val),
    )


def _standardised(score_qc: NDArray[np.float64]) -> NDArray[np.float64]:
    """Less the mean over the candidates of a query, by their standard deviation; -inf stays."""
    known = np.isfinite(score_qc)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    values = np.where(known, score_qc, 0.0)
    centred = np.where(known, values - values.sum(axis=1, keepdims=True) / count, 0.0)
    spread = np.sqrt((centred**2).sum(axis=1, keepdims=True) / count)
    return np.where(known, centred / np.where(spread > 0, spread, 1.0), -np.inf)


def _chosen(asked: Asked, screen: Screen) -> NDArray[np.float64] | None:
    if asked.val_score_qc is None or asked.val_unit_q is None or not len(asked.val_unit_q):
        return None
    score = asked.val_score_qc
    known = np.isfinite(score)
    if not known.any():
        return None
    lowest = float(score[known].min())
    below = np.where(known, score, lowest - 1)
    target = targets_of(asked.val_unit_q, screen)
    return asked.score_qc - max(best_threshold(below, target, asked.val_unit_q), lowest)


def _half(asked: Asked, screen: Screen) -> NDArray[np.float64] | None:
    if asked.method in PROBABILITIES:
        return asked.score_qc - 0.5
    score, val = asked.score_qc, asked.val_score_qc
    if val is not None and asked.val_unit_q is not None:
        target = targets_of(asked.val_unit_q, screen)
        found = fit_calibration(val, target, asked.val_unit_q)
        if found.calibrated:
            return found.probability(score) - 0.5
    # Networks score in log-odds, which are 0 at one half.
    return score if asked.method in (*NETWORKS, *ENCODERS) else None
