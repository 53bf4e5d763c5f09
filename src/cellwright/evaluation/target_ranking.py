"""How well candidate genes are ranked: per query, then per perturbation, with chance in closed form.

Every metric is first a mean over the queries of one perturbation, so that a perturbation with many
cells weighs no more than one with few; perturbations are what is resampled. Ties are broken at
random from a seed: equal scores for all candidates give chance, not luck of the alphabet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.evaluation.intervals import Interval, Measured, accelerated, interval
from cellwright.evaluation.resampling import by_unit

KS = (1, 2, 5, 10)
_YES_OR_NO = ("relevant", "exact_set")


def rank_metrics(
    score_qc: NDArray[np.floating],
    target_qc: NDArray[np.bool_],
    *,
    ks: Sequence[int] = KS,
    seed: int = 0,
) -> dict[str, NDArray[np.float64]]:
    """Every metric of every query, (q,); higher is better, 0 to 1.

    Parameters
    ----------
    score_qc
        Score of each candidate, higher for the likelier; -inf for a candidate that the method
        cannot score, which ranks last (such ones tie with each other).
    target_qc
        True for the perturbed genes; at least one in each query.

    Returns
    -------
    ``recall@k``: share of the perturbed genes among the first k; ``relevant@k``: whether one of them
    is; ``exact_set@k``: whether the perturbed set is among the k sets of its size with the highest
    sums of scores; ``mrr``: 1 / rank of the first perturbed gene; ``ndcg``; ``auprc``: average
    precision.

    Raises
    ------
    DataError
        If shapes differ, a score is NaN, or a query has no perturbed gene.
    """
    score_qc = np.asarray(score_qc, dtype=np.float64)
    target_qc = np.asarray(target_qc, dtype=bool)
    if score_qc.shape != target_qc.shape:
        raise DataError(
            f"scores have the shape {score_qc.shape}, targets {target_qc.shape}; expected the same"
        )
    if np.isnan(score_qc).any():
        query = int(np.flatnonzero(np.isnan(score_qc).any(axis=1))[0])
        raise DataError(f"query {query} has a score that is not a number")
    size_q = target_qc.sum(axis=1)
    if (size_q == 0).any():
        raise DataError(f"query {int(np.flatnonzero(size_q == 0)[0])} has no perturbed gene")
    q, c = score_qc.shape
    rng = np.random.default_rng(seed)
    order_qc = np.lexsort((rng.random((q, c)), -score_qc), axis=1)
    hit_qc = np.take_along_axis(target_qc, order_qc, axis=1)
    out: dict[str, NDArray[np.float64]] = {}
    for k in ks:
        found_q = hit_qc[:, :k].sum(axis=1)
        out[f"recall@{k}"] = found_q / size_q
        out[f"relevant@{k}"] = (found_q > 0).astype(np.float64)
    above_q = _sets_above(order_qc, score_qc, target_qc)
    for k in ks:
        out[f"exact_set@{k}"] = (above_q < k).astype(np.float64)
    place_c = np.arange(1, c + 1)
    gain_c = 1 / np.log2(place_c + 1)
    out["mrr"] = 1.0 / (hit_qc.argmax(axis=1) + 1)
    out["ndcg"] = (hit_qc * gain_c).sum(axis=1) / np.cumsum(gain_c)[size_q - 1]
    precision_qc = np.cumsum(hit_qc, axis=1) / place_c
    out["auprc"] = (precision_qc * hit_qc).sum(axis=1) / size_q
    return out


def chance_of(size: int, candidates: int, *, ks: Sequence[int] = KS) -> dict[str, float]:
    """What a random order of the candidates scores on average, for sets of ``size`` genes."""
    c, m = candidates, size
    harmonic = float((1 / np.arange(1, c + 1)).sum())
    out: dict[str, float] = {}
    for k in ks:
        out[f"recall@{k}"] = min(k, c) / c
        out[f"relevant@{k}"] = 1 - math.comb(c - m, min(k, c)) / math.comb(c, min(k, c))
        out[f"exact_set@{k}"] = min(1.0, k / math.comb(c, m))
    # The first hit is at place r with the chance that r - 1 misses come before it.
    later = [math.comb(c - r, m) / math.comb(c, m) for r in range(c - m + 2)]
    out["mrr"] = sum((later[r - 1] - later[r]) / r for r in range(1, c - m + 2))
    gain_c = 1 / np.log2(np.arange(2, c + 2))
    out["ndcg"] = float(m / c * gain_c.sum() / gain_c[:m].sum())
    out["auprc"] = harmonic / c
    if c > 1:
        out["auprc"] += (m - 1) / (c * (c - 1)) * (c - harmonic)
    return out


def judge_ranking(
    score_qc: NDArray[np.floating],
    target_qc: NDArray[np.bool_],
    unit_q: NDArray[np.str_],
    *,
    ks: Sequence[int] = KS,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Measured]:
    """Every metric as a mean over perturbations, with a 95 % interval over them and its chance.

    Parameters
    ----------
    unit_q
        The perturbation of each query.

    Raises
    ------
    DataError
        As :func:`rank_metrics`.
    """
    drawn, names_u = by_unit(unit_q, draws=resamples, seed=seed)
    count_u = drawn.sizes_u
    found = rank_metrics(score_qc, target_qc, ks=ks, seed=seed)
    size_q = np.asarray(target_qc).sum(axis=1)
    levels = {m: chance_of(int(m), target_qc.shape[1], ks=ks) for m in np.unique(size_q)}
    ones_u = np.ones(len(names_u), dtype=np.int64)
    out = {}
    for name, value_q in found.items():
        value_u = np.bincount(drawn.unit_m, value_q, minlength=len(names_u)) / count_u
        chance_q = np.array([levels[m][name] for m in size_q])
        chance_u = np.bincount(drawn.unit_m, chance_q, minlength=len(names_u)) / count_u
        draws_b = np.concatenate([w @ value_u / w.sum(axis=1) for w in drawn.weights()])
        value = float(value_u.mean())
        span = interval(value, draws_b, ones_u, float(len(names_u)))
        if name.split("@")[0] not in _YES_OR_NO and np.ptp(value_u) > 0:
            # No share: a mean of ranks spreads less than yes and no of the same mean would.
            low, high = accelerated(value_u, draws_b)
            span = Interval(min(low, value), max(high, value), "bca")
        out[name] = Measured(value, draws_b, span, float(chance_u.mean()), value_u)
    return out


def threshold_metrics(
    probability_qc: NDArray[np.floating],
    target_qc: NDArray[np.bool_],
    unit_q: NDArray[np.str_],
    threshold: float,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Measured]:
    """Micro and macro F1 of naming every candidate at or above a threshold.

    Queries weigh so that each perturbation counts once. ``macro_f1`` is the mean over the genes
    that are perturbed in some query. Chance is the better of naming all candidates and none.
    """
    drawn, names_u = by_unit(unit_q, draws=resamples, seed=seed)
    count_u = drawn.sizes_u.astype(np.float64)
    target = np.asarray(target_qc, dtype=bool)
    named = np.asarray(probability_qc) >= threshold
    asked_c = target.any(axis=0)
    parts = []
    for kind in (target & named, ~target & named, target & ~named):
        per_uc = np.zeros((len(names_u), target.shape[1]))
        np.add.at(per_uc, drawn.unit_m, kind.astype(np.float64))
        parts.append(per_uc / count_u[:, None])
    ones_u = np.ones(len(names_u), dtype=np.int64)
    share = float(np.mean(np.bincount(drawn.unit_m, target.mean(axis=1)) / count_u))
    whole_u = np.ones((1, len(names_u)))
    out = {}
    for name in ("micro_f1", "macro_f1"):

        def f1(weights_bu: NDArray[np.float64], name: str = name) -> NDArray[np.float64]:
            hit, over, missed = (weights_bu @ part for part in parts)
            if name == "micro_f1":
                hit, over, missed = (x.sum(axis=1, keepdims=True) for x in (hit, over, missed))
            else:
                hit, over, missed = (x[:, asked_c] for x in (hit, over, missed))
            total = 2 * hit + over + missed
            ratio = np.divide(2 * hit, total, out=np.full(total.shape, np.nan), where=total > 0)
            return np.asarray(np.nanmean(ratio, axis=1))

        value = float(f1(whole_u)[0])
        draws_b = np.concatenate([f1(w) for w in drawn.weights()])
        if name == "micro_f1":
            chance = 2 * share / (1 + share)
        else:
            p_c = parts[0].mean(axis=0)[asked_c] + parts[2].mean(axis=0)[asked_c]
            chance = float((2 * p_c / (1 + p_c)).mean())
        span = interval(value, draws_b, ones_u, float(len(names_u)))
        out[name] = Measured(value, draws_b, span, chance)
    return out


def best_threshold(
    probability_qc: NDArray[np.floating],
    target_qc: NDArray[np.bool_],
    unit_q: NDArray[np.str_],
) -> float:
    """The threshold of the highest micro F1, to be chosen on validation perturbations."""
    _, code_q, count_u = np.unique(unit_q, return_inverse=True, return_counts=True)
    weight_q = 1.0 / count_u[code_q]
    p = np.asarray(probability_qc, dtype=np.float64).ravel()
    t = np.asarray(target_qc, dtype=bool).ravel()
    w = np.repeat(weight_q, np.asarray(target_qc).shape[1])
    order = np.argsort(-p, kind="stable")
    hit, named = np.cumsum((w * t)[order]), np.cumsum(w[order])
    last = np.r_[np.diff(p[order]) != 0, True]
    f1 = np.where(last, 2 * hit / (named + (w * t).sum()), -1)
    return float(p[order][int(f1.argmax())])


def _sets_above(
    order_qc: NDArray[np.int64], score_qc: NDArray[np.floating], target_qc: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """How many sets of the size of the true one come before it.

    Sets are ordered by the sum of their scores; equal sums by the places of their genes.
    """
    q, c = score_qc.shape
    place_qc = np.empty((q, c), dtype=np.int64)
    np.put_along_axis(place_qc, order_qc, np.broadcast_to(np.arange(c), (q, c)), axis=1)
    known = np.isfinite(score_qc)
    low_q = np.where(known, score_qc, np.inf).min(axis=1)
    high_q = np.where(known, score_qc, -np.inf).max(axis=1)
    low_q, high_q = np.nan_to_num(low_q, posinf=0.0), np.nan_to_num(high_q, neginf=0.0)
    # A gene that cannot be scored is worse than any that can, by more than another makes up for.
    finite = np.where(known, score_qc, (low_q - 3 * (high_q - low_q) - 1)[:, None])
    above = np.zeros(q, dtype=np.int64)
    size_q = target_qc.sum(axis=1)
    pairs = np.array(list(combinations(range(c), 2)), dtype=np.int64).reshape(-1, 2)
    for i in range(q):
        true = np.flatnonzero(target_qc[i])
        if size_q[i] == 1:
            above[i] = place_qc[i, true[0]]
            continue
        if size_q[i] > 2:
            # Beyond pairs only the first set can be told without counting them all.
            above[i] = 0 if (place_qc[i, true] < size_q[i]).all() else c
            continue
        sums = finite[i, pairs].sum(axis=1)
        places = place_qc[i, pairs].sum(axis=1)
        mine, own = finite[i, true].sum(), place_qc[i, true].sum()
        above[i] = int(((sums > mine) | ((sums == mine) & (places < own))).sum())
    return above
