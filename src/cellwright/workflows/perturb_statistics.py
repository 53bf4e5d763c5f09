"""From shifts of single cells to one line per edit: means, intervals, null, false discovery rate."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.evaluation.comparison import FEWEST_UNITS
from cellwright.evaluation.intervals import percentile, units_worth
from cellwright.evaluation.resampling import by_row
from cellwright.perturbation.insilico import Plan
from cellwright.perturbation.null_genes import adjusted, empirical_p, robust_z

RESAMPLES = 2000


def edit_rows(
    plan: Plan,
    shift_sp: dict[str, NDArray[np.float64]],
    changed_p: NDArray[np.bool_],
    groups_n: NDArray[np.str_] | None,
    *,
    two_sided: frozenset[str],
) -> pd.DataFrame:
    """One row per edit of the plan, null edits too, in its order.

    Parameters
    ----------
    shift_sp
        Statistic -> its value for each pair of the plan.
    groups_n
        Donor or library of each cell.
    two_sided
        Statistics whose sign means something.

    Returns
    -------
    Columns ``cells`` (edited), ``changed`` (share of them whose tokens changed), ``unit`` and
    ``units`` (what the intervals resample, empty where there are fewer than six of it), and for
    each statistic S its mean over cells ``S``; for edits asked for also ``S_low``, ``S_high`` (95 %),
    ``S_null``, ``S_null_low``, ``S_null_high`` (median and central 95 % of the null in as many cells),
    ``S_p``, ``S_q``, ``S_z`` (its place in the null in robust standard deviations); and ``null`` (how many null edits).
    """
    edits = len(plan.sets)
    # The pairs of each edit, its cells in the order in which they were taken.
    order_p = np.argsort(plan.edit_p, kind="stable")
    starts_e = np.concatenate([[0], np.cumsum(plan.depth_e)])
    depth_e = plan.depth_e
    out: dict[str, Any] = {
        "cells": depth_e,
        "changed": np.bincount(plan.edit_p, weights=changed_p, minlength=edits)
        / np.maximum(depth_e, 1),
        "null": [m.size for m in plan.null_am] + [0] * (edits - plan.asked),
    }
    names = list(shift_sp)
    filled = {name: np.full((edits, 8), np.nan) for name in names}
    units: list[tuple[str, int]] = [("", 0)] * edits
    sums = {name: np.cumsum(np.append(0.0, shift_sp[name][order_p])) for name in names}

    def mean(name: str, e: NDArray[np.int64], depth: int) -> NDArray[np.float64]:
        """Over the first ``depth`` cells of some edits, or all where they have fewer."""
        most_e = np.minimum(depth_e[e], depth)
        first_e = starts_e[e]
        total_e = sums[name][first_e + most_e] - sums[name][first_e]
        return total_e / np.maximum(most_e, 1)

    for name in names:
        filled[name][:, 0] = np.where(
            depth_e > 0, mean(name, np.arange(edits), int(depth_e.max(initial=0))), np.nan
        )
    # By depth, so that draws are made once for edits of as many cells.
    for e in sorted(range(plan.asked), key=lambda e: int(depth_e[e])):
        here = order_p[starts_e[e] : starts_e[e + 1]]
        depth = int(depth_e[e])
        if depth == 0:
            continue
        value_ps = np.stack([shift_sp[name][here] for name in names], axis=1)
        group_p = None if groups_n is None else groups_n[plan.cell_p[here]]
        unit, count, limits_s = _limits(value_ps, group_p)
        units[e] = (unit, count)
        for s, name in enumerate(names):
            row = filled[name][e]
            if limits_s is not None:
                row[1:3] = limits_s[s]
            null_m = mean(name, plan.null_am[e], depth)
            if null_m.size:
                row[3:6] = np.quantile(null_m, [0.5, 0.025, 0.975])
                row[6] = empirical_p(float(row[0]), null_m, two_sided=name in two_sided)
                row[7] = robust_z(float(row[0]), null_m, signed=name in two_sided)
    out["unit"] = [unit for unit, _ in units]
    out["units"] = [count for _, count in units]
    for name in names:
        parts = ("", "_low", "_high", "_null", "_null_low", "_null_high", "_p", "_z")
        for column, part in enumerate(parts):
            out[name + part] = filled[name][:, column]
        q_e = np.full(edits, np.nan)
        q_e[: plan.asked] = adjusted(filled[name][: plan.asked, 6])
        out[f"{name}_q"] = q_e
    return pd.DataFrame(out)


def _limits(
    value_ps: NDArray[np.float64], group_p: NDArray[np.str_] | None
) -> tuple[str, int, list[tuple[float, float]] | None]:
    """What was resampled, how many of them, and the limits of each statistic's mean."""
    if group_p is not None:
        names_u, code_p = np.unique(group_p, return_inverse=True)
        if names_u.size >= FEWEST_UNITS:
            size_u = np.bincount(code_p)
            sum_us = np.stack([np.bincount(code_p, weights=v) for v in value_ps.T], axis=1)
            weights_bu = _weights(names_u.size)
            draws_bs = (weights_bu @ sum_us) / (weights_bu @ size_u)[:, None]
            worth = units_worth(size_u)
            return "groups", names_u.size, [percentile(d, worth) for d in draws_bs.T]
    n = len(value_ps)
    if n < FEWEST_UNITS:
        return "", n, None
    draws_bs = _weights(n) @ value_ps / n
    return "cells", n, [percentile(d, n) for d in draws_bs.T]


@lru_cache(maxsize=2)
def _weights(units: int) -> NDArray[np.float64]:
    """How often each unit was drawn, (b, u)."""
    return np.concatenate(list(by_row(units, draws=RESAMPLES).weights()))
