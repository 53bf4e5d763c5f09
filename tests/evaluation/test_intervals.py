"""Intervals against SciPy, a published example, and the share of simulations that hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from cellwright.evaluation.intervals import (
    Interval,
    exact,
    interval,
    paired_difference,
    percentile,
    units_worth,
    wilson,
)
from cellwright.evaluation.ranking import resampled_auc, roc_auc
from cellwright.evaluation.resampling import Resamples, by_row

SIMULATIONS = 300


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (184, 230), (229, 230)])
def test_wilson_and_exact_equal_scipy(k: int, n: int) -> None:
    test = binomtest(k, n)
    assert wilson(k / n, n) == pytest.approx(tuple(test.proportion_ci(method="wilson")), abs=1e-12)
    assert exact(k, n) == pytest.approx(tuple(test.proportion_ci(method="exact")), abs=1e-9)


def test_no_evidence_is_the_whole_range() -> None:
    assert wilson(0.5, 0) == (0.0, 1.0)
    assert exact(0, 0) == (0.0, 1.0)


def test_units_worth_counts_equal_units_and_discounts_a_giant() -> None:
    assert units_worth(np.full(8, 20)) == pytest.approx(8)
    assert units_worth(np.array([1000, 1, 1, 1])) < 1.01


@pytest.mark.parametrize(
    ("value", "units", "method"),
    [(0.8, 40, "bootstrap"), (0.8, 10, "wilson"), (0.99, 40, "wilson"), (1.0, 40, "exact")],
)
def test_the_rule_chooses(value: float, units: int, method: str) -> None:
    sizes = np.full(units, 20)
    right = np.zeros(units * 20, dtype=bool)
    right[: round(value * len(right))] = True
    right = np.random.default_rng(0).permutation(right).reshape(units, 20)
    draws = _share_draws(right.sum(axis=1), sizes)
    assert interval(right.mean(), draws, sizes, right.size).method == method


def test_cells_of_few_donors_buy_no_certainty_about_donors() -> None:
    """At 1 the interval over ten donors is at most as short as that of 20 cells a donor."""
    lows = [
        interval(1.0, np.ones(100), np.full(10, m), 10 * m).low for m in (20, 200, 2000, 200_000)
    ]
    assert lows == sorted(lows)
    assert lows[-1] < exact(200, 200)[0]
    assert lows[0] < exact(200, 200)[0]


def test_undefined_and_constant_draws_still_give_an_interval() -> None:
    found = interval(0.7, np.full(50, np.nan), np.ones(30, dtype=np.int64), 30)
    assert 0 < found.low < 0.7 < found.high < 1


def test_a_score_without_an_edge_at_zero_may_reach_below_it() -> None:
    draws = np.random.default_rng(0).normal(0.001, 0.01, size=2000)
    found = interval(0.001, draws, np.full(10, 20), 200, zero_is_edge=False)
    assert found.method == "bootstrap"
    assert found.low < 0 < found.high


def test_percentile_of_many_units_is_the_plain_percentile() -> None:
    draws = np.random.default_rng(0).normal(size=4000)
    assert percentile(draws, 1e7) == pytest.approx(tuple(np.quantile(draws, [0.025, 0.975])), 1e-3)


def test_combined_difference_equals_newcombes_example() -> None:
    """56/70 against 48/80, independent: 0.2 [0.0524, 0.3339] (Newcombe 1998, method 10)."""
    first, second = Interval(*wilson(0.8, 70), "wilson"), Interval(*wilson(0.6, 80), "wilson")
    nothing = np.full(5, np.nan)
    found = paired_difference(0.8, 0.6, nothing, nothing, first, second, np.ones(70))
    assert found["value"] == pytest.approx(0.2)
    assert (found["low"], found["high"]) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_two_perfect_scores_are_not_equal_without_doubt() -> None:
    own = Interval(*exact(230, 230), "exact")
    found = paired_difference(1.0, 1.0, np.ones(9), np.ones(9), own, own, np.ones(230))
    assert found["low"] == pytest.approx(own.low - 1)
    assert found["high"] == pytest.approx(1 - own.low)


@pytest.mark.parametrize(
    ("units", "truth", "alike"),
    [(60, 0.8, 0.1), (30, 0.6, 0.0), (10, 0.8, 0.05), (8, 0.99, 0.05), (30, 0.98, 0.05)],
)
def test_intervals_of_accuracy_hold_the_truth(units: int, truth: float, alike: float) -> None:
    """Cells right with a beta-distributed chance per donor, whose mean is the truth."""
    rng = np.random.default_rng([units, int(truth * 1000)])
    sizes = np.full(units, 20)
    held = 0
    for _ in range(SIMULATIONS):
        chance_u = np.full(units, truth)
        if alike:
            strength = (1 - alike) / alike
            chance_u = rng.beta(truth * strength, (1 - truth) * strength, units)
        right_u = rng.binomial(sizes, chance_u)
        draws = _share_draws(right_u, sizes)
        found = interval(right_u.sum() / sizes.sum(), draws, sizes, sizes.sum())
        held += found.low <= truth <= found.high
    assert held / SIMULATIONS >= 0.93


def test_intervals_of_auc_hold_the_closed_form() -> None:
    """Scores N(1, 1) against N(0, 1): the AUC is Φ(1 / √2)."""
    rng = np.random.default_rng(5)
    truth = norm.cdf(1 / np.sqrt(2))
    drawn = by_row(150, draws=300, seed=1)
    held = 0
    for _ in range(SIMULATIONS):
        positive = np.arange(150) % 3 == 0
        score = rng.normal(size=150) + positive
        value = float(roc_auc(score, positive, np.ones(150)))
        found = interval(value, resampled_auc(score, positive, drawn), drawn.sizes_u, 50)
        held += found.low <= truth <= found.high
    assert held / SIMULATIONS >= 0.93


def test_paired_differences_hold_the_truth_and_are_shorter_than_unpaired() -> None:
    """Two answers that err on the same hard cells: right with chance 0.8 and 0.75."""
    rng = np.random.default_rng(6)
    sizes = np.full(40, 10)
    held, paired_length, unpaired_length = 0, 0.0, 0.0
    for _ in range(SIMULATIONS):
        luck = rng.random((40, 10))
        first, second = (luck < 0.8).sum(axis=1), (luck < 0.75).sum(axis=1)
        a, b = _share_draws(first, sizes), _share_draws(second, sizes)
        x, y = first.sum() / 400, second.sum() / 400
        own, other = interval(x, a, sizes, 400), interval(y, b, sizes, 400)
        found = paired_difference(x, y, a, b, own, other, sizes)
        held += found["low"] <= 0.05 <= found["high"]
        paired_length += found["high"] - found["low"]
        unpaired_length += np.hypot(own.high - own.low, other.high - other.low)
    assert held / SIMULATIONS >= 0.93
    assert paired_length < 0.6 * unpaired_length


def _share_draws(right_u: np.ndarray, sizes_u: np.ndarray) -> np.ndarray:
    drawn = Resamples(np.arange(len(sizes_u)), len(sizes_u), draws=400, seed=3)
    weights = np.concatenate(list(drawn.weights()))
    return (weights @ right_u) / (weights @ sizes_u)
