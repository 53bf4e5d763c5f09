"""Reliability of planted probabilities, against scikit-learn's Brier score."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from cellwright.evaluation.target_calibration import reliability


def test_probabilities_that_come_true():
    rng = np.random.default_rng(0)
    p = rng.beta(0.5, 2, (3000, 20))
    target = rng.random(p.shape) < p
    unit = np.array([f"p{i}" for i in range(3000)])
    found = reliability(p, target, unit)
    assert found.error < 0.01
    assert found.brier == pytest.approx(brier_score_loss(target.ravel(), p.ravel()))
    assert found.brier < found.brier_base
    assert found.table["weight"].sum() == pytest.approx(20)
    np.testing.assert_allclose(found.table["said"], found.table["came_true"], atol=0.03)
    doubled = reliability(np.minimum(1, 2 * p), target, unit)
    assert doubled.error == pytest.approx(float((np.minimum(1, 2 * p) - p).mean()), abs=0.01)


def test_every_perturbation_weighs_the_same():
    p = np.array([[0.9, 0.1]] * 4)
    target = np.array([[True, False]] * 3 + [[False, True]])
    found = reliability(p, target, np.array(["A", "A", "A", "B"]))
    assert found.table["came_true"].tolist() == [0.5, 0.5]
    assert found.brier == pytest.approx((0.01 + 0.81) / 2)
