"""Intervals against SciPy, a published example, and the share of simulations that hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, bootstrap, norm

from cellwright.evaluation.intervals import (
    Interval,
    accelerated,
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


def test_accelerated_equals_scipys_bca_where_units_are_many() -> None:
    value = np.random.default_rng(1).exponential(size=400)
    draws = _mean_draws(value, 20_000)
    other = bootstrap((value,), np.mean, n_resamples=20_000, method="BCa", rng=2)
    accurate = other.confidence_interval
    length = accurate.high - accurate.low
    # Skewed to the right, BCa lies further up: its upper limit and the lower one of percentiles.
    low, high = accelerated(value, draws)
    assert high == pytest.approx(accurate.high, abs=0.05 * length)
    assert low == percentile(draws, 400)[0] < accurate.low


def test_accelerated_of_units_that_do_not_differ_is_their_value() -> None:
    assert accelerated(np.full(9, 0.5), np.full(40, 0.5)) == (0.5, 0.5)


@pytest.mark.parametrize(("units", "least"), [(30, 0.94), (15, 0.94)])
def test_means_of_reciprocal_ranks_by_chance_hold_chance(units: int, least: float) -> None:
    """Pairs ranked at random among 20 genes, two queries a unit: percentiles miss above."""
    rng = np.random.default_rng(units)
    c = 20
    later = np.array([(c - r) * (c - r - 1) for r in range(c)]) / (c * (c - 1))
    truth = float(((later[:-1] - later[1:]) / np.arange(1, c)).sum())
    simulations, missed, plain = 1500, np.zeros(2), np.zeros(2)
    for _ in range(simulations):
        rank = rng.random((units * 2, c)).argsort(axis=1)[:, :2].min(axis=1) + 1
        value = (1 / rank).reshape(units, 2).mean(axis=1)
        draws = _mean_draws(value, 400)
        for count, (low, high) in (
            (missed, accelerated(value, draws)),
            (plain, percentile(draws, units)),
        ):
            count += (truth < low, truth > high)
    assert 1 - missed.sum() / simulations >= least
    assert missed.sum() < plain.sum()
    assert missed[1] < 0.75 * plain[1]


@pytest.mark.parametrize("units", [8, 30])
def test_accelerated_is_safe_where_most_units_are_perfect(units: int) -> None:
    rng = np.random.default_rng(9)
    held = asked = 0
    for _ in range(2 * SIMULATIONS):
        sure = rng.beta(4, 0.5, (units, 1))
        right = rng.random((units, 2)) < sure
        value = np.where(right, 1, 0.25).mean(axis=1)
        if np.ptp(value):  # perfect units have an exact interval instead
            low, high = accelerated(value, _mean_draws(value, 400))
            held += low <= 1 - 0.75 * 0.5 / 4.5 <= high
            asked += 1
    assert held / asked >= 0.93


def test_a_difference_to_a_constant_has_the_interval_of_the_score() -> None:
    rng = np.random.default_rng(3)
    value = rng.beta(0.5, 2, 25)
    draws = _mean_draws(value, 1000)
    low, high = accelerated(value, draws)
    own, other = Interval(low, high, "bca"), Interval(0.1, 0.1, "bca")
    found = paired_difference(
        value.mean(), 0.1, draws, np.full(1000, 0.1), own, other, np.ones(25, dtype=np.int64),
        value_u=value, rival_u=np.full(25, 0.1),
    )  # fmt: skip
    assert (found["low"], found["high"]) == pytest.approx((low - 0.1, high - 0.1))
    turned = paired_difference(
        0.1, value.mean(), np.full(1000, 0.1), draws, other, own, np.ones(25, dtype=np.int64),
        value_u=np.full(25, 0.1), rival_u=value,
    )  # fmt: skip
    assert turned["low"] == pytest.approx(-found["high"])
    assert turned["high"] == pytest.approx(-found["low"])


def test_paired_differences_of_lopsided_scores_hold_the_truth() -> None:
    rng = np.random.default_rng(4)
    held = 0
    for _ in range(2 * SIMULATIONS):
        shared = rng.exponential(size=30)
        a, b = shared + 0.5 * rng.exponential(size=30), shared + 0.3 * rng.exponential(size=30)
        one, two = _mean_draws(a, 400), _mean_draws(b, 400)
        found = paired_difference(
            a.mean(), b.mean(), one, two,
            Interval(*accelerated(a, one), "bca"), Interval(*accelerated(b, two), "bca"),
            np.ones(30, dtype=np.int64), value_u=a, rival_u=b,
        )  # fmt: skip
        held += found["low"] <= 0.2 <= found["high"]
    assert held / (2 * SIMULATIONS) >= 0.93


def _mean_draws(value_u: np.ndarray, draws: int) -> np.ndarray:
    weights = np.concatenate(list(by_row(len(value_u), draws=draws, seed=3).weights()))
    return weights @ value_u / len(value_u)


def _share_draws(right_u: np.ndarray, sizes_u: np.ndarray) -> np.ndarray:
    drawn = Resamples(np.arange(len(sizes_u)), len(sizes_u), draws=400, seed=3)
    weights = np.concatenate(list(drawn.weights()))
    return (weights @ right_u) / (weights @ sizes_u)
