"""Paired comparison: best baseline per metric, few donors listed, refusals."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from cellwright.errors import DataError
from cellwright.evaluation.class_scores import measure_classes
from cellwright.evaluation.comparison import judge, score
from cellwright.evaluation.intervals import wilson
from cellwright.interfaces import Predictions


def answers(rep: str, right_m: np.ndarray, unit_m: np.ndarray, **changes) -> Predictions:
    """Two classes, right where told, sure of it or not at random."""
    m = len(right_m)
    truth = np.arange(m) % 2
    predicted = np.where(right_m, truth, 1 - truth)
    sure = np.random.default_rng(len(rep)).uniform(0.5, 1, size=m)
    probability = np.where(predicted == 1, sure, 1 - sure)
    settings = {"unit": "donor", "baseline": False, "seen": "clean"} | changes
    return Predictions(
        task="annotation",
        rep=rep,
        model="logistic-regression",
        split="grouped",
        fold_unit="donor",
        classes=("exc", "inh"),
        rows_m=np.arange(m),
        truth_m=truth,
        predicted_m=predicted,
        probability_mk=np.c_[1 - probability, probability],
        unit_m=unit_m,
        fold_m=np.zeros(m, dtype=np.int64),
        **settings,
    )


def units(n: int, m: int) -> np.ndarray:
    return np.array([f"d{i % n}" for i in range(m)])


RNG = np.random.default_rng(0)
LUCK = RNG.random(600)


def test_the_best_baseline_is_the_rival_and_the_difference_is_paired() -> None:
    u = units(30, 600)
    group = [
        answers("encoder", LUCK < 0.9, u),
        answers("hvg", LUCK < 0.85, u, baseline=True),
        answers("depth", LUCK < 0.7, u, baseline=True),
    ]
    found = judge(group, measure_classes, resamples=500)
    accuracy = {s.rep: s for s in found.scores if s.metric == "accuracy"}
    assert accuracy["encoder"].baseline == "hvg"
    assert accuracy["hvg"].baseline is None
    assert accuracy["depth"].difference is None
    difference = accuracy["encoder"].difference
    assert difference is not None
    assert difference["value"] == pytest.approx(
        accuracy["encoder"].value - accuracy["hvg"].value, abs=1e-12
    )
    # The same cells are hard for both: the difference is known better than either score.
    assert difference["high"] - difference["low"] < accuracy["hvg"].high - accuracy["hvg"].low
    pairs = {(d.rep, d.rival) for d in found.differences}
    assert pairs == {("encoder", "hvg"), ("encoder", "depth")}
    assert found.checks == ()


def test_scoring_one_equals_judging_all() -> None:
    u = units(30, 600)
    own, rival = answers("encoder", LUCK < 0.9, u), answers("hvg", LUCK < 0.8, u, baseline=True)
    alone = score(own, [rival, own], measure_classes, resamples=200)
    together = judge([own, rival], measure_classes, resamples=200)
    assert alone == [s for s in together.scores if s.rep == "encoder"]


def test_fewer_than_six_donors_are_listed_one_by_one() -> None:
    u = units(4, 80)
    group = [
        answers("encoder", LUCK[:80] < 0.8, u),
        answers("hvg", LUCK[:80] < 0.6, u, baseline=True),
    ]
    found = judge(group, measure_classes, resamples=200)
    accuracy = [s for s in found.scores if s.metric == "accuracy" and s.rep == "encoder"]
    assert [s.stratum for s in accuracy] == ["all", "d0", "d1", "d2", "d3"]
    assert {s.unit for s in accuracy} == {"cells"}
    assert accuracy[0].n == 80
    for s in accuracy[1:]:
        right = (LUCK[:80] < 0.8)[u == s.stratum]
        assert (s.value, s.n) == (pytest.approx(right.mean()), 20)
        assert s.low == pytest.approx(wilson(right.mean(), 20)[0], abs=0.1)
        assert s.baseline == "hvg"
    assert found.checks[0].name == "few-units"
    assert "4 of 'donor'" in found.checks[0].sentence


def test_six_donors_are_enough_for_an_interval_over_donors() -> None:
    found = judge([answers("e", LUCK[:120] < 0.8, units(6, 120))], measure_classes, resamples=200)
    assert {(s.unit, s.n, s.stratum) for s in found.scores} == {("donor", 6, "all")}


def test_a_donor_of_one_class_has_no_auc_and_no_nan() -> None:
    u = np.where(np.arange(60) % 2 == 0, "d0", "d1")
    found = judge([answers("e", LUCK[:60] < 0.8, u)], measure_classes, resamples=200)
    metrics = {s.metric for s in found.scores if s.stratum == "d0"}
    assert metrics == {"accuracy", "balanced_accuracy", "macro_f1"}
    assert all(np.isfinite([s.value, s.low, s.high]).all() for s in found.scores)


def test_few_resamples_of_rare_classes_stay_finite() -> None:
    """A class of one cell is missing in many resamples of cells."""
    own = answers("e", LUCK[:40] < 0.8, units(6, 40), unit="cells")
    truth = np.zeros(40, dtype=np.int64)
    truth[3] = 1
    own = replace(own, truth_m=truth)
    found = judge([own], partial(measure_classes, positive="inh"), resamples=100)
    assert all(np.isfinite([s.value, s.low, s.high]).all() for s in found.scores)
    assert all(0 <= s.low <= s.value + 1e-12 <= s.high + 2e-12 <= 1 + 3e-12 for s in found.scores)


@pytest.mark.parametrize("seen", ["seen-unlabelled", "unknown"])
def test_what_a_model_has_seen_is_a_check_and_a_baseline_none(seen: str) -> None:
    u = units(30, 600)
    group = [
        answers("run7", LUCK < 0.9, u, seen=seen),
        answers("hvg", LUCK < 0.8, u, baseline=True, seen=seen),
    ]
    checks = judge(group, measure_classes, resamples=50).checks
    assert [c.name for c in checks] == ["seen"]
    assert "run7" in checks[0].sentence
    assert checks[0].severity == "warning"


def test_answers_about_other_cells_are_refused() -> None:
    u = units(30, 600)
    first, second = answers("encoder", LUCK < 0.9, u), answers("hvg", LUCK < 0.9, u)
    second = replace(second, rows_m=second.rows_m[::-1])
    with pytest.raises(DataError, match=r"encoder \(600 cells\) and hvg \(600 cells\)"):
        judge([first, second], measure_classes)


def test_judging_many_cells_by_donor_is_quick_enough_to_do_always() -> None:
    """40,000 cells of 200 donors, 5 classes: no copy of the cells per resample."""
    rng = np.random.default_rng(1)
    m = 40_000
    probability = rng.dirichlet(np.ones(5), size=m)
    own = replace(
        answers("e", rng.random(m) < 0.8, units(200, m)),
        classes=tuple("abcde"),
        truth_m=rng.integers(5, size=m),
        predicted_m=probability.argmax(axis=1),
        probability_mk=probability,
    )
    found = judge([own], measure_classes, resamples=1000)
    value = {s.metric: s for s in found.scores}
    assert value["roc_auc"].low < 0.5 < value["roc_auc"].high
    assert value["accuracy"].high - value["accuracy"].low < 0.02
