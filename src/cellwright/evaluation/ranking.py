"""Area under the ROC curve, weighted, for many resamples of units at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

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
    values, rank_m = np.unique(score_m, return_inverse=True)
    order = np.argsort(rank_m, kind="stable")
    rank_m, positive_m, unit_m = rank_m[order], positive_m[order], unit_m[order]
    won_uu = np.zeros((n_units, n_units))
    below_u = np.zeros(n_units)
    for start in range(0, len(values), chunk):
        stop = min(start + chunk, len(values))
        here = slice(*np.searchsorted(rank_m, [start, stop]))
        cell_m = (rank_m[here] - start) * n_units + unit_m[here]
        size = (stop - start) * n_units
        positives = np.bincount(cell_m[positive_m[here]], minlength=size).reshape(-1, n_units)
        negatives = np.bincount(cell_m[~positive_m[here]], minlength=size).reshape(-1, n_units)
        upto = below_u + np.cumsum(negatives, axis=0)
        won_uu += positives.T.astype(np.float64) @ (upto - negatives / 2)
        below_u = upto[-1]
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
