"""Metrics of class predictions, weighted and vectorised over resamples, and their chance levels.

All are between 0 and 1, higher is better. Classes that neither occur nor are predicted are left
out of means, as scikit-learn does.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import SettingsError
from cellwright.interfaces import Predictions


def confusion(answers: Predictions) -> NDArray[np.int64]:
    """Counts (k, k): rows truth, columns prediction, in the order of ``answers.classes``."""
    k = len(answers.classes)
    cell = answers.truth_m * k + answers.predicted_m
    return np.bincount(cell, minlength=k * k).reshape(k, k)


def accuracy(counts_kk: NDArray[Any]) -> NDArray[np.float64]:
    """Share of cells named right, for (…, k, k) confusion counts."""
    return np.trace(counts_kk, axis1=-2, axis2=-1) / counts_kk.sum(axis=(-2, -1))


def recalls(counts_kk: NDArray[Any]) -> NDArray[np.float64]:
    """Share of each class's cells named right, (…, k); NaN for a class without cells."""
    return _share(_diagonal(counts_kk), counts_kk.sum(axis=-1))


def precisions(counts_kk: NDArray[Any]) -> NDArray[np.float64]:
    """Share of the cells given a name that bear it, (…, k); NaN for a name never given."""
    return _share(_diagonal(counts_kk), counts_kk.sum(axis=-2))


def f1s(counts_kk: NDArray[Any]) -> NDArray[np.float64]:
    """2 TP / (2 TP + FP + FN) of each class, (…, k); NaN for a class neither there nor predicted."""
    return _share(2 * _diagonal(counts_kk), counts_kk.sum(axis=-1) + counts_kk.sum(axis=-2))


def balanced_accuracy(counts_kk: NDArray[Any]) -> NDArray[np.float64]:
    """Mean recall of the classes that have cells."""
    return _mean(recalls(counts_kk))


def macro_f1(counts_kk: NDArray[Any]) -> NDArray[np.float64]:
    """Mean F1 of the classes that occur or are predicted."""
    return _mean(f1s(counts_kk))


def chance_levels(counts_kk: NDArray[Any]) -> dict[str, float]:
    """What a guess that knows only the class sizes can score at best, by metric.

    accuracy: always the largest class. balanced_accuracy: any guess, 1/k. macro_f1: guessing
    class c with rate q_c scores on average 2 p_c q_c / (p_c + q_c) there, and q = p maximises the
    mean, 1/k (more than always naming the largest class, which scores 2p/(1+p)/k). roc_auc: 0.5.
    """
    sizes_k = counts_kk.sum(axis=-1)
    present = int((sizes_k > 0).sum())
    return {
        "accuracy": float(sizes_k.max() / sizes_k.sum()),
        "balanced_accuracy": 1 / present,
        "macro_f1": 1 / present,
        "roc_auc": 0.5,
    }


def f1_chance(counts_kk: NDArray[Any], positive: int) -> float:
    """F1 of always naming the positive class, 2p / (1 + p): the best a blind guess can do."""
    p = float(counts_kk.sum(axis=-1)[positive] / counts_kk.sum())
    return 2 * p / (1 + p)


def per_class(answers: Predictions) -> list[dict[str, Any]]:
    """Per class: ``{"class", "precision", "recall", "f1", "support"}``; 0 where undefined."""
    counts_kk = confusion(answers)
    columns = (precisions(counts_kk), recalls(counts_kk), f1s(counts_kk))
    return [
        {
            "class": name,
            **{
                key: float(np.nan_to_num(column[i]))
                for key, column in zip(("precision", "recall", "f1"), columns, strict=True)
            },
            "support": int(counts_kk[i].sum()),
        }
        for i, name in enumerate(answers.classes)
    ]


def roc_points(answers: Predictions, positive: str | None = None) -> dict[str, list[float]]:
    """``{"fpr": [...], "tpr": [...]}`` of one class against the rest.

    Starts at (0, 0), ends at (1, 1), one point per distinct score; points on a straight line
    are left out. Both lists are empty if the held-out cells are all of one class. Without
    ``positive`` it is the second of two classes; of more, the mean of the curves of all classes at
    each false-positive rate, whose area is the mean of their areas.

    Raises
    ------
    SettingsError
        If ``positive`` is no class.
    """
    classes = list(answers.classes)
    if positive is None and len(classes) > 2:
        return _mean_curve([roc_points(answers, name) for name in classes])
    name = classes[-1] if positive is None else positive
    if name not in classes:
        raise SettingsError(
            f"no class {name!r} to draw a ROC curve of; the classes are {', '.join(classes)}"
        )
    column = classes.index(name)
    true_m = answers.truth_m == column
    score_m = answers.probability_mk[:, column]
    if true_m.all() or not true_m.any():
        return {"fpr": [], "tpr": []}
    order = np.argsort(-score_m, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(score_m[order])), len(order) - 1]
    hits = np.r_[0, np.cumsum(true_m[order])[last]]
    misses = np.r_[0, np.cumsum(~true_m[order])[last]]
    turns = np.r_[True, (np.diff(hits, 2) != 0) | (np.diff(misses, 2) != 0), True]
    return {
        "fpr": (misses[turns] / misses[-1]).tolist(),
        "tpr": (hits[turns] / hits[-1]).tolist(),
    }


def _mean_curve(curves: list[dict[str, list[float]]]) -> dict[str, list[float]]:
    """Mean of curves that are not empty, above and below each step of one of them."""
    arrays = [(np.array(c["fpr"]), np.array(c["tpr"])) for c in curves if c["fpr"]]
    if not arrays:
        return {"fpr": [], "tpr": []}
    at_f = np.unique(np.concatenate([fpr for fpr, _ in arrays]))
    sides = []
    steps: tuple[tuple[Literal["left", "right"], int], ...] = (("left", 0), ("right", -1))
    for side, shift in steps:
        values = []
        for fpr, tpr in arrays:
            here = np.searchsorted(fpr, at_f, side) + shift
            exact = fpr[np.minimum(here, len(fpr) - 1)] == at_f
            between = np.interp(at_f, fpr, tpr)
            values.append(np.where(exact, tpr[np.minimum(here, len(fpr) - 1)], between))
        sides.append(np.mean(values, axis=0))
    return {"fpr": np.repeat(at_f, 2).tolist(), "tpr": np.stack(sides, axis=1).ravel().tolist()}


def _diagonal(counts_kk: NDArray[Any]) -> NDArray[Any]:
    return np.diagonal(counts_kk, axis1=-2, axis2=-1)


def _share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[np.float64]:
    out = np.full(np.shape(whole), np.nan)
    return np.divide(part, whole, out=out, where=whole > 0)


def _mean(values_k: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(values_k)
    return _share(np.where(known, values_k, 0).sum(axis=-1), known.sum(axis=-1))
