"""The metrics of the annotation task, each with its resamples, interval and chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cellwright.evaluation import metrics
from cellwright.evaluation.intervals import Measured, interval
from cellwright.evaluation.ranking import resampled_auc, roc_auc
from cellwright.evaluation.resampling import Resamples
from cellwright.interfaces import Predictions


def measure_classes(
    answers: Predictions, drawn: Resamples, positive: str | None = None
) -> dict[str, Measured]:
    """Accuracy, balanced accuracy, macro F1, F1 of ``positive`` and ROC-AUC, by name.

    ``roc_auc`` of more than two classes is the mean of each class against the rest. ``f1_positive``
    is left out without a positive class among the cells, ``roc_auc`` if there is one class only.
    """
    k = len(answers.classes)
    totals = drawn.totals(answers.truth_m * k + answers.predicted_m, k * k)
    counts_bkk = np.concatenate([(totals.T @ w.T).T for w in drawn.weights()]).reshape(-1, k, k)
    counts_kk = metrics.confusion(answers)
    size_k = counts_kk.sum(axis=1)
    present = np.flatnonzero(size_k)
    # A mean over classes is known as well as its rarest parts: classes² / Σ 1/n yes-or-no cells.
    per_class = float(len(present) ** 2 / (1 / size_k[present]).sum())
    chance = metrics.chance_levels(counts_kk)
    sizes_u = drawn.sizes_u
    out = {}
    for name, metric, trials in (
        ("accuracy", metrics.accuracy, float(size_k.sum())),
        ("balanced_accuracy", metrics.balanced_accuracy, per_class),
        ("macro_f1", metrics.macro_f1, per_class),
    ):
        value, draws_b = float(metric(counts_kk)), metric(counts_bkk)
        found = interval(value, draws_b, sizes_u, trials)
        out[name] = Measured(value, draws_b, found, chance[name])
    if positive is not None and size_k[answers.classes.index(positive)]:
        c = answers.classes.index(positive)
        value, draws_b = float(metrics.f1s(counts_kk)[c]), metrics.f1s(counts_bkk)[:, c]
        found = interval(value, draws_b, sizes_u, float(size_k[c]))
        out["f1_positive"] = Measured(value, draws_b, found, metrics.f1_chance(counts_kk, c))
    if len(present) > 1:
        value, draws_b, trials = _auc(answers, drawn, size_k)
        found = interval(value, draws_b, sizes_u, trials)
        out["roc_auc"] = Measured(value, draws_b, found, chance["roc_auc"])
    return out


def _auc(
    answers: Predictions, drawn: Resamples, size_k: NDArray[np.int64]
) -> tuple[float, NDArray[np.float64], float]:
    """Mean over classes against the rest: value, resamples, and the yes-or-no cells it is worth."""
    # The two sides of two classes are one question.
    asked = [1] if len(size_k) == 2 else [int(c) for c in np.flatnonzero(size_k)]
    ones = np.ones(len(answers.truth_m))
    values, draws, smaller = [], [], []
    for c in asked:
        true_m, score_m = answers.truth_m == c, answers.probability_mk[:, c]
        values.append(float(roc_auc(score_m, true_m, ones)))
        draws.append(resampled_auc(score_m, true_m, drawn))
        smaller.append(min(int(size_k[c]), int(size_k.sum() - size_k[c])))
    draws_bc = np.stack(draws, axis=1)
    known = np.isfinite(draws_bc)
    sums_b = np.where(known, draws_bc, 0).sum(axis=1)
    mean_b = np.full(len(draws_bc), np.nan)
    np.divide(sums_b, known.sum(axis=1), out=mean_b, where=known.any(axis=1))
    trials = len(smaller) / float((1 / np.array(smaller)).sum())
    return float(np.mean(values)), mean_b, trials
