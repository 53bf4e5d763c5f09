"""Which groups, or which cells, go to a held-out part so that its size and label shares fit.

Both functions take a target share of the *cells* and a random generator, and know nothing of
names: callers hand in rows in a canonical order, so that the answer does not depend on how a
file happens to be sorted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_RESTARTS = 12
_GOOD_ENOUGH = 0.01
_MAX_STEPS = 500
_MAX_SWAPS = 2_000_000
_MISSING = 0.005  # a class on one side only costs as much as missing the size by seven points


def choose_groups(
    counts_gk: NDArray[np.float64],
    share: float,
    rng: np.random.Generator,
    *,
    leave: int = 1,
) -> NDArray[np.bool_]:
    """Choose whole groups holding about ``share`` of the cells and of every class.

    A random greedy start is improved by moving and swapping groups until neither helps; starts
    are repeated until size and class shares are within 0.01 of the target, and the best is kept.
    A class that is missing on one side costs as much as a size that is off by 0.07.

    Parameters
    ----------
    counts_gk
        Cells of each class in each group (groups × classes).
    share
        Target share of the cells, in (0, 1).
    leave
        How many groups must stay behind at least.

    Returns
    -------
    bool array (groups,): True for the groups chosen; at least one, at most all but ``leave``.
    """
    most = len(counts_gk) - leave
    all_k = counts_gk.sum(axis=0)
    in_one_group = int(((counts_gk > 0).sum(axis=0) < 2).sum())  # missing somewhere, whatever we do
    best, best_cost = np.zeros(len(counts_gk), dtype=bool), np.inf
    for _ in range(_RESTARTS):
        chosen = _improve(_greedy(counts_gk, share, rng, most), counts_gk, share, most)
        cost = float(_cost(counts_gk[chosen].sum(axis=0)[None], all_k, share)[0])
        if cost < best_cost - 1e-12:
            best, best_cost = chosen, cost
        if best_cost - _MISSING * in_one_group < _GOOD_ENOUGH**2:
            break
    return best


def choose_cells(
    codes_n: NDArray[np.int64], share: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Choose about ``share`` of the cells of every class at random.

    Quotas are rounded by largest remainder, so that the total is right; a class of two cells or
    more gives at least one and keeps at least one, a class of one cell keeps it.

    Parameters
    ----------
    codes_n
        Class of each cell, 0 … classes - 1, in a canonical order of the cells.
    share
        Target share, in (0, 1).

    Returns
    -------
    bool array (n,): True for the cells chosen.
    """
    sizes_k = np.bincount(codes_n)
    exact_k = share * sizes_k
    quota_k = np.floor(exact_k).astype(np.int64)
    short = round(share * len(codes_n)) - int(quota_k.sum())
    by_remainder = np.argsort(quota_k - exact_k, kind="stable")
    quota_k[by_remainder[:short]] += 1
    quota_k = np.clip(quota_k, (sizes_k >= 2).astype(np.int64), np.maximum(sizes_k - 1, 0))
    chosen = np.zeros(len(codes_n), dtype=bool)
    order = rng.permutation(len(codes_n))
    by_class = order[np.argsort(codes_n[order], kind="stable")]
    starts_k = np.concatenate([[0], np.cumsum(sizes_k)[:-1]])
    for start, quota in zip(starts_k, quota_k, strict=True):
        chosen[by_class[start : start + quota]] = True
    return chosen


def _cost(
    totals_mk: NDArray[np.float64], all_k: NDArray[np.float64], share: float
) -> NDArray[np.float64]:
    """Squared error of size, mean squared error of class shares, and a price per missing class."""
    size_m = totals_mk.sum(axis=1) / all_k.sum() - share
    shares_mk = totals_mk / np.maximum(all_k, 1)
    missing_m = ((totals_mk <= 0) | (totals_mk >= all_k)).sum(axis=1)
    return size_m**2 + ((shares_mk - share) ** 2).mean(axis=1) + _MISSING * missing_m


def _greedy(
    counts_gk: NDArray[np.float64], share: float, rng: np.random.Generator, most: int
) -> NDArray[np.bool_]:
    all_k = counts_gk.sum(axis=0)
    chosen = np.zeros(len(counts_gk), dtype=bool)
    totals_k, cost, n_chosen = np.zeros_like(all_k), np.inf, 0
    for group in rng.permutation(len(counts_gk)):
        if n_chosen >= most:
            break
        tried_k = totals_k + counts_gk[group]
        tried = float(_cost(tried_k[None], all_k, share)[0])
        if tried < cost:
            chosen[group], totals_k, cost, n_chosen = True, tried_k, tried, n_chosen + 1
    return chosen


def _improve(
    chosen: NDArray[np.bool_], counts_gk: NDArray[np.float64], share: float, most: int
) -> NDArray[np.bool_]:
    all_k = counts_gk.sum(axis=0)
    chosen = chosen.copy()
    for _ in range(_MAX_STEPS):
        totals_k = counts_gk[chosen].sum(axis=0)
        cost = float(_cost(totals_k[None], all_k, share)[0])
        moved_gk = totals_k + np.where(chosen[:, None], -1.0, 1.0) * counts_gk
        costs_g = _cost(moved_gk, all_k, share)
        n_chosen = int(chosen.sum())
        if n_chosen == 1:
            costs_g[chosen] = np.inf
        if n_chosen >= most:
            costs_g[~chosen] = np.inf
        step: list[int] = [int(costs_g.argmin())]
        least = float(costs_g[step[0]])
        inside, outside = np.flatnonzero(chosen), np.flatnonzero(~chosen)
        if len(inside) * len(outside) * len(all_k) <= _MAX_SWAPS:
            swapped = totals_k - counts_gk[inside][:, None] + counts_gk[outside][None]
            costs = _cost(swapped.reshape(-1, len(all_k)), all_k, share)
            if costs.min() < least - 1e-12:
                least = float(costs.min())
                i, j = divmod(int(costs.argmin()), len(outside))
                step = [int(inside[i]), int(outside[j])]
        if least >= cost - 1e-12:
            break
        chosen[step] = ~chosen[step]
    return chosen
