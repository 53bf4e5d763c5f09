"""95 % intervals of a score: Wilson, exact, bootstrap over units, and the rule that chooses.

The rule (``interval``)
    *Bootstrap* (percentile, of whole units) where there are at least 20 units and the value is
    away from 0 and 1. *Wilson* where fewer than ten cases' worth of evidence lies on the rarer
    side (value near 0 or 1) or under 20 units. *Exact* (Clopper-Pearson) at exactly 0 and 1.

Wilson and exact when whole units were sampled
    Cells of one donor are alike, so n cells are worth fewer than n. Both are computed on an
    effective number of cells: the number whose binomial variance equals the variance of the
    unit bootstrap, shrunk by (z / t)² for the few units that variance was estimated from
    (Korn & Graubard 1998). Near 0 and 1 the few errors say little about how alike the cells of
    a unit are, and at 0 and 1 nothing at all; there the intra-unit correlation is taken as at
    least 0.05. With units of m cells that is n / (1 + 0.05 (m - 1)), at most 20 per unit however
    many cells each has: more cells of the same donors cannot buy certainty about new donors.

Units are counted by how many equally large units they are worth, (Σ size)² / Σ size² (Kish), so
that one library with most of the cells is not taken for many.

A mean over few units of a lopsided score, such as reciprocal ranks, is skewed: percentiles miss on one
side. Where the value of every unit is known, ``accelerated`` corrects for that (method ``bca``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.95
FEW_UNITS = 20
RARE = 10.0
LEAST_CORRELATION = 0.05
RESAMPLED = ("bootstrap", "bca")
"""Methods whose intervals are read off resamples."""


@dataclass(frozen=True)
class Interval:
    """A 95 % interval and the method that made it: ``wilson``, ``exact``, ``bootstrap`` or ``bca``."""

    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Measured:
    """One metric of one representation: on the data, on every resample, and by a blind guess.

    value_u: of every unit, where the metric is their mean; None where it is not.
    """

    value: float
    draws_b: NDArray[np.float64]
    interval: Interval
    chance: float | None
    value_u: NDArray[np.float64] | None = None


def wilson(share: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Score interval of a proportion (Wilson 1927).

    ``n`` may be fractional, an effective number; at 0 it is (0, 1).
    """
    if n <= 0:
        return 0.0, 1.0
    z = float(stats.norm.ppf(0.5 + level / 2))
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # The limits at 0 and 1 are exact in theory and off by rounding in practice.
    low = 0.0 if share <= 0 else max(0.0, centre - half)
    high = 1.0 if share >= 1 else min(1.0, centre + half)
    return low, high


def exact(successes: float, n: float, level: float = LEVEL) -> tuple[float, float]:
    """Interval of a proportion that holds the truth at least ``level`` of the time (Clopper & Pearson 1934)."""
    if n <= 0:
        return 0.0, 1.0
    tail = (1 - level) / 2
    low = 0.0 if successes <= 0 else float(stats.beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes >= n else float(stats.beta.ppf(1 - tail, successes + 1, n - successes))
    return low, high


def percentile(
    draws_b: NDArray[np.float64], units: float, level: float = LEVEL
) -> tuple[float, float]:
    """Percentile interval of bootstrap draws, widened for the number of units.

    A bootstrap of u units spreads √((u-1)/u) too little and has normal instead of t tails; the
    tail share is corrected for both (Hesterberg 2015, "expanded percentile"). NaN draws (a class
    missing in the resample) are left out.
    """
    draws_b = draws_b[np.isfinite(draws_b)]
    tail = float(stats.norm.cdf(-_reach(units, level)))
    low, high = np.quantile(draws_b, [tail, 1 - tail])
    return float(low), float(high)


def accelerated(
    value_u: NDArray[np.float64], draws_b: NDArray[np.float64], level: float = LEVEL
) -> tuple[float, float]:
    """Interval of a mean over units from bootstrap draws, corrected for bias and skewness.

    BCa (Efron 1987): percentiles whose levels are moved by the share of draws below the mean and by
    the skewness of the units, from the jackknife; widened for the number of units as
    :func:`percentile` is. Either limit is never nearer than that of :func:`percentile`: of scores
    that are not skewed, such as paired differences, few units show some skewness by luck, and BCa
    alone would hold the truth less often.

    Parameters
    ----------
    value_u
        Value of each unit, (u,).
    draws_b
        Means over units drawn with replacement, (b,).
    """
    away_u = value_u - value_u.mean()
    square = float((away_u**2).sum())
    if square <= 1e-18 * len(value_u):
        return float(draws_b.min()), float(draws_b.max())
    acceleration = float((away_u**3).sum()) / (6 * square**1.5)
    near = 1e-9 * math.sqrt(square / len(value_u))
    below = draws_b - value_u.mean()
    share = float((below < -near).mean() + 0.5 * (np.abs(below) <= near).mean())
    edge = 1 / len(draws_b)
    bias = float(stats.norm.ppf(min(max(share, edge), 1 - edge)))
    reach = _reach(len(value_u), level)
    moved = [bias + sign * reach for sign in (-1, 1)]
    # Where the correction has a pole the last draw is the limit.
    levels = [
        float(stats.norm.cdf(bias + m / (1 - acceleration * m)))
        if acceleration * m < 1
        else float(m > 0)
        for m in moved
    ]
    low, high = np.quantile(draws_b, levels)
    plain_low, plain_high = percentile(draws_b, float(len(value_u)), level)
    return min(float(low), plain_low), max(float(high), plain_high)


def _reach(units: float, level: float) -> float:
    """Standard errors of a bootstrap to either side, for few units."""
    df = max(units - 1, 1.0)
    return float(stats.t.ppf(0.5 + level / 2, df)) * math.sqrt((df + 1) / df)


def units_worth(sizes_u: NDArray[np.int64]) -> float:
    """Kish's effective number of units: all of them if equally large, fewer if not."""
    sizes = np.asarray(sizes_u, dtype=np.float64)
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def interval(
    value: float,
    draws_b: NDArray[np.float64],
    sizes_u: NDArray[np.int64],
    trials: float,
    *,
    zero_is_edge: bool = True,
) -> Interval:
    """The interval of a score between 0 and 1, by the rule at the top of this file.

    Parameters
    ----------
    value
        The score on the data.
    draws_b
        The score on each resample of units, (b,); NaN where undefined.
    sizes_u
        Rows per unit, (u,).
    trials
        How many independent yes-or-no cells the score is worth when all cells are independent:
        n for an accuracy, the smaller class for an AUC.
    zero_is_edge
        False for scores whose 0 is not the end of what can be told apart (adjusted Rand index,
        mutual information): below 0.5 they are bootstrapped however few the units.
    """
    draws_b = draws_b[np.isfinite(draws_b)]
    units = units_worth(sizes_u)
    variance = float(draws_b.var(ddof=1)) if len(draws_b) > 1 else 0.0
    if len(sizes_u) > 1:
        variance *= units / max(units - 1, 0.5)
    spread = value * (1 - value)
    # Rounding in the draws of a score that never moves is not a variance.
    frozen = variance < 1e-18
    worth = trials if frozen or spread <= 0 else spread / variance
    rarer = min(value, 1 - value) if zero_is_edge else 1 - value
    near_edge = frozen or min(worth, trials) * rarer < RARE
    # Wilson's interval is lopsided towards 0 as if 0 were the end of the scale.
    open_below = not zero_is_edge and value < 0.5 and len(draws_b) > 1
    if open_below or (not near_edge and units >= FEW_UNITS):
        low, high = percentile(draws_b, units)
        # A score whose resamples are biased (rare classes go missing) still holds itself.
        return Interval(min(low, value), max(high, value), method="bootstrap")
    if near_edge:
        # Cells per unit as a cell sees it: large units weigh more.
        together = float((sizes_u**2).sum() / sizes_u.sum())
        worth = min(worth, trials / (1 + (together - 1) * LEAST_CORRELATION))
    if len(sizes_u) > 1:
        z = float(stats.norm.ppf(0.5 + LEVEL / 2))
        worth *= (z / float(stats.t.ppf(0.5 + LEVEL / 2, max(units - 1, 1.0)))) ** 2
    if value in (0.0, 1.0):
        return Interval(*exact(value * worth, worth), method="exact")
    return Interval(*wilson(value, worth), method="wilson")


def paired_difference(
    value: float,
    rival: float,
    draws_b: NDArray[np.float64],
    rival_draws_b: NDArray[np.float64],
    own: Interval,
    other: Interval,
    sizes_u: NDArray[np.int64],
    *,
    value_u: NDArray[np.float64] | None = None,
    rival_u: NDArray[np.float64] | None = None,
) -> dict[str, float]:
    """``value - rival`` with its 95 % interval, from the same resamples of both.

    Percentiles of the resampled difference where both intervals are read off resamples (accelerated
    where they are and the values of units are given: beside a rival that is the same for all units
    the difference then has the interval of the score); elsewhere the
    two intervals combined with the correlation of the resamples, so that two perfect scores
    are not declared equal without doubt (Newcombe 1998, method 10; Zou & Donner 2008).

    Returns
    -------
    ``{"value", "low", "high"}``.
    """
    difference = value - rival
    both = np.isfinite(draws_b) & np.isfinite(rival_draws_b)
    a, b = draws_b[both], rival_draws_b[both]
    if own.method in RESAMPLED and other.method in RESAMPLED and len(a) > 1:
        if value_u is not None and rival_u is not None and "bca" in (own.method, other.method):
            low, high = accelerated(value_u - rival_u, a - b)
        else:
            low, high = percentile(a - b, units_worth(sizes_u))
        return {"value": difference, "low": low, "high": high}
    r = 0.0
    if len(a) > 1 and a.std() > 1e-9 and b.std() > 1e-9:
        r = float(np.corrcoef(a, b)[0, 1])

    def arm(x: float, y: float) -> float:
        return math.sqrt(max(x * x - 2 * r * x * y + y * y, 0.0))

    low = difference - arm(value - own.low, other.high - rival)
    high = difference + arm(own.high - value, rival - other.low)
    return {"value": difference, "low": low, "high": high}
