"""Probabilities against planted ones and scikit-learn's sigmoid."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from cellwright.errors import DataError
from cellwright.perturbation.reverse_calibration import Calibration, fit_calibration


def queries(perturbations=400, each=1, candidates=30, slope=0.4, seed=0):
    """Logits whose true probability is sigmoid(slope × logit - 1)."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0, 4, (perturbations * each, candidates))
    target = rng.random(logit.shape) < expit(slope * logit - 1)
    return logit, target, np.repeat([f"P{i}" for i in range(perturbations)], each)


def test_planted_probabilities_are_found_again():
    logit, target, unit = queries()
    found = fit_calibration(logit, target, unit)
    assert found.calibrated and found.perturbations == 400
    assert found.slope == pytest.approx(0.4, abs=0.03)
    assert found.intercept == pytest.approx(-1, abs=0.06)
    same = LogisticRegression(C=1e6).fit(logit.reshape(-1, 1), target.ravel())
    assert found.slope == pytest.approx(same.coef_[0, 0], rel=0.01)
    assert found.intercept == pytest.approx(same.intercept_[0], rel=0.01)


def test_a_perturbation_of_many_queries_weighs_no_more_than_others():
    logit, target, unit = queries(40)
    often = np.r_[np.arange(40), np.repeat(0, 500)]
    once = fit_calibration(logit, target, unit)
    again = fit_calibration(logit[often], target[often], unit[often])
    assert again.slope == pytest.approx(once.slope, rel=1e-4)
    assert again.intercept == pytest.approx(once.intercept, rel=1e-3)


def test_order_stays_even_where_scores_are_upside_down_and_nothing_is_certain():
    logit, target, unit = queries(12)
    assert fit_calibration(-logit, target, unit).slope > 0
    perfect = fit_calibration(np.where(target, 3.0, -3.0), target, unit)
    assert 0 < perfect.probability(np.array([[3.0]]))[0, 0] < 0.999


def test_below_ten_perturbations_nothing_is_fitted_and_it_is_said():
    logit, target, unit = queries(9, each=3)
    found = fit_calibration(logit, target, unit)
    assert not found.calibrated and "9 validation perturbations" in found.sentence
    np.testing.assert_allclose(found.probability(logit), expit(logit))
    assert found.probability(np.array([[-np.inf, 0.0]])).tolist() == [[0.0, 0.5]]


def test_candidates_without_a_score_take_no_part():
    logit, target, unit = queries(30)
    wider = np.c_[logit, np.full(len(logit), -np.inf)]
    found = fit_calibration(wider, np.c_[target, np.ones(len(target), bool)], unit)
    assert found == fit_calibration(logit, target, unit)
    with pytest.raises(DataError, match="not a finite number"):
        fit_calibration(np.where(target, np.nan, logit), target, unit)


def test_what_is_stored_is_read_again():
    found = fit_calibration(*queries(20))
    assert Calibration.from_dict(found.to_dict()) == found
