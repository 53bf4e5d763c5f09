"""Area under the ROC curve, weighted, for many resamples of units at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cellwright.evaluation.resampling import Resamples

# Up to here the table of pairs between units (u × u) is cheaper than sorting once per resample.
FEW_ENOUGH_FOR_PAIRS = 400


def roc_auc(
    score_m: NDArray[np.floating], positive_m: NDArray[np.bool_], weights_m: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Chance that a positive outranks a negative, ties counting half; for (…, m) weights.

    NaN where either side has no weight. Higher is better.
    """
    order = np.argsort(score_m, kind="stable")
    score, positive = score_m[order], positive_m[order]
    weights = weights_m[..., order]
    below = np.cumsum(np.where(positive, 0.0, weights), axis=-1)
    below = np.concatenate([np.zeros((*below.shape[:-1], 1)), below], axis=-1)
    first = np.searchsorted(score, score[positive], side="left")
    after = np.searchsorted(score, score[positive], side="right")
    wins = (weights[..., positive] * (below[..., first] + below[..., after]) / 2).sum(axis=-1)
    pairs = weights[..., positive].sum(axis=-1) * below[..., -1]
    return np.divide(wins, pairs, out=np.full(np.shape(pairs), np.nan), where=pairs > 0)


def pairs_won(
    score_m: NDArray[np.floating],
    positive_m: NDArray[np.bool_],
    unit_m: NDArray[np.int64],
    n_units: int,
    *,
    chunk: int = 4096,
) -> NDArray[np.float64]:
    """How often a positive of unit u outranks a negative of unit v, (u, u), ties counting half.

    With this table the AUC of a resample with unit weights w is w·A·w over its number of pairs.
    """
    values_v, rank_p = np.unique(score_m[positive_m], return_inverse=True)
    shape = (len(values_v), n_units)
    positives_vu = _counts(rank_p, unit_m[positive_m], shape)
    # A negative loses half a point to every value from the first not below it, and half to every
    # value from the first above it: a whole one to those above, half a one to its ties.
    negative, unit_q = score_m[~positive_m], unit_m[~positive_m]
    entering_vu = sum(
        _counts(np.searchsorted(values_v, negative, side=side), unit_q, shape)
        for side in ("left", "right")
    )
    won_uu = np.zeros((n_units, n_units))
    below_u = np.zeros(n_units)
    for start in range(0, len(values_v), chunk):
        here = slice(start, start + chunk)
        below_vu = below_u + np.cumsum(entering_vu[here].toarray(), axis=0) / 2
        won_uu += positives_vu[here].T @ below_vu
        below_u = below_vu[-1]
    return won_uu


def resampled_auc(
    score_m: NDArray[np.floating], positive_m: NDArray[np.bool_], resamples: Resamples
) -> NDArray[np.float64]:
    """The AUC on every resample, (b,); NaN where a resample has one class only."""
    draws: list[NDArray[np.float64]] = []
    if resamples.n_units > FEW_ENOUGH_FOR_PAIRS:
        for weights_bu in resamples.weights():
            draws.append(roc_auc(score_m, positive_m, weights_bu[:, resamples.unit_m]))
        return np.concatenate(draws)
    unit_m, n_units = resamples.unit_m, resamples.n_units
    won_uu = pairs_won(score_m, positive_m, unit_m, n_units)
    positives_u = np.bincount(unit_m[positive_m], minlength=n_units).astype(np.float64)
    negatives_u = np.bincount(unit_m[~positive_m], minlength=n_units).astype(np.float64)
    for weights_bu in resamples.weights():
        wins = np.einsum("bu,bu->b", weights_bu @ won_uu, weights_bu)
        pairs = (weights_bu @ positives_u) * (weights_bu @ negatives_u)
        draws.append(np.divide(wins, pairs, out=np.full(len(wins), np.nan), where=pairs > 0))
    return np.concatenate(draws)


def _counts(
    row: NDArray[np.integer], unit: NDArray[np.int64], shape: tuple[int, int]
) -> sparse.csr_matrix:
    inside = row < shape[0]
    ones = np.ones(int(inside.sum()))
    return sparse.csr_matrix((ones, (row[inside], unit[inside])), shape=shape)
