"""States told apart where they differ, not where they do not, by each of the classifiers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from cellwright.errors import DataError, SettingsError
from cellwright.evaluation.disease_classifiers import (
    STATE_CLASSIFIERS,
    TrainingSpace,
    fit_state_classifier,
)
from cellwright.evaluation.disease_designs import Cohort
from cellwright.evaluation.disease_state import DiseaseState
from cellwright.interfaces import CellView, Task

CLASSES = ("normal", "ALS", "HD")


def cohort(n=300, donors=10):
    codes = np.arange(n) % 3
    names = np.array([f"c{i:03d}" for i in range(n)])
    return Cohort(
        codes, CLASSES, names, names, np.array([f"d{(i // 3) % donors}" for i in range(n)])
    )


def view(made, strength, name="latent", seed=1, dims=6, baseline=False):
    rng = np.random.default_rng(seed)
    centre = np.eye(3, dims)[made.state_codes_n] * strength
    x = (centre + rng.normal(size=(len(made.base_n), dims))).astype(np.float32)
    seen = np.full(len(x), "clean")
    return CellView(name, lambda rows: x, seen, pd.DataFrame(index=made.cell_names_n), baseline)


@pytest.mark.parametrize("name", STATE_CLASSIFIERS)
def test_each_classifier_finds_a_planted_shift(name):
    made = cohort()
    task = DiseaseState(made, "state", classifiers=(name,), seed=3)
    grouped, holdout = task.predict(view(made, 4.0))
    assert (grouped.predicted_m == grouped.truth_m).mean() > 0.93
    assert grouped.rep == f"latent + {name}" and grouped.unit == "donor"
    assert len(holdout.rows_m) == pytest.approx(90, abs=12)
    again = DiseaseState(made, "state", classifiers=(name,), seed=3).predict(view(made, 4.0))[0]
    np.testing.assert_array_equal(again.probability_mk, grouped.probability_mk)


def test_nothing_is_found_where_there_is_nothing():
    made = cohort(600)
    task = DiseaseState(made, classifiers=("logistic-regression",))
    (score,) = [
        s for s in task.judge(task.predict(view(made, 0.0))).scores
        if s.metric == "accuracy" and s.split == "grouped"
    ]  # fmt: skip
    assert score.low <= 2 / 3 <= score.high and score.chance == pytest.approx(2 / 3)


def test_a_rival_is_compared_on_the_same_cells_and_the_leak_gets_no_verdict():
    made = cohort()
    copies = Cohort(
        made.state_codes_n, CLASSES, made.cell_names_n,
        np.array([f"b{i // 3:03d}" for i in range(300)]), made.donor_n,
    )  # fmt: skip
    task = DiseaseState(
        copies, classifiers=("logistic-regression",), designs=("grouped", "leaky"), resamples=200
    )
    answers = [
        *task.predict(view(made, 1.0)),
        *task.predict(view(made, 3.0, "simple", baseline=True)),
    ]
    found = task.judge(answers)
    own = {s.split: s for s in found.scores if s.rep.startswith("latent") and s.metric == "roc_auc"}
    assert own["grouped"].baseline == "simple + logistic-regression"
    assert own["grouped"].difference["high"] < 0 and own["leaky"].difference is None
    assert not any("leaky" in line for line in found.sentences)
    assert isinstance(task, Task) and task.name == "disease-state"


def test_the_label_shuffle_holds_chance():
    made = cohort()
    controls = DiseaseState(made, "state", shuffles=20).control(view(made, 3.0))
    assert [c.split for c in controls] == ["grouped", "holdout"] and all(c.holds for c in controls)


def test_the_penalty_is_the_one_of_the_lowest_loss_in_its_span():
    # More dimensions than rows: the fit in the span is the fit in all of them.
    rng = np.random.default_rng(0)
    x, codes = rng.normal(size=(60, 200)), np.arange(60) % 2
    x[:, 0] += 3 * codes
    found = fit_state_classifier("logistic-regression", TrainingSpace.of(x), codes, ("a", "b"))
    z = (x - x.mean(0)) / x.std(0)
    plain = LogisticRegression(C=found.chosen["C"], tol=1e-8, max_iter=2000).fit(z, codes)
    new = rng.normal(size=(20, 200))
    expected = plain.predict_proba((new - x.mean(0)) / x.std(0))
    np.testing.assert_allclose(found.probability(new), expected, atol=0.01)


def test_what_cannot_be_learned_is_said():
    space = TrainingSpace.of(np.random.default_rng(0).normal(size=(9, 3)))
    with pytest.raises(SettingsError, match=r"'network-9'.*did you mean 'network-7'"):
        fit_state_classifier("network-9", space, np.arange(9) % 2, ("a", "b"))
    with pytest.raises(DataError, match="only 'a'"):
        fit_state_classifier("network-7", space, np.zeros(9, dtype=np.int64), ("a", "b"))
    with pytest.raises(DataError, match="row 1 of"):
        TrainingSpace.of(np.array([[0.0], [np.nan]]))
    made = cohort()
    with pytest.raises(DataError, match="'healthy'"):
        DiseaseState(made, normal="healthy").predict(view(made, 1.0))
    with pytest.raises(SettingsError, match="'severity'"):
        DiseaseState(made, "severity").draw()
    short = CellView("short", lambda rows: np.zeros((7, 2)), np.full(300, "clean"),
                     pd.DataFrame(index=made.cell_names_n))  # fmt: skip
    with pytest.raises(DataError, match="short has vectors for 7 cells and the data have 300"):
        DiseaseState(made).predict(short)
    other = CellView("other", lambda rows: np.zeros((5, 2)), np.full(5, "clean"),
                     pd.DataFrame(index=list("abcde")))  # fmt: skip
    with pytest.raises(DataError, match="other has 5 cells that are not the 300"):
        DiseaseState(made).predict(other)
