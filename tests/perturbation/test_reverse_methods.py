"""The baselines: one contract for all, references, and a screen whose truth is additive."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from cellwright.errors import SettingsError
from cellwright.perturbation.queries import draw_queries
from cellwright.perturbation.reverse_audit import control_spread
from cellwright.perturbation.reverse_methods import (
    METHODS,
    Training,
    fit_method,
    joined,
    one_vs_rest,
)


@pytest.fixture(scope="module")
def fitting(planted):
    """fitting(left out) -> what methods are fitted on, and queries of the conditions left out."""

    def make(left_out, k=6):
        screen, x = planted.screen, planted.expression_ng
        train = [c for c in screen.conditions if c not in left_out]
        training = Training(
            screen,
            joined([draw_queries(x, screen, train, k=k, seed=s) for s in range(3)]),
            draw_queries(x, screen, train, k=None),
            np.array([0, 1, -1, 3, 4, 5, 6, 7]),
            control_spread(x, screen),
            "activation",
        )
        return training, draw_queries(x, screen, left_out, k=k)

    return make


@pytest.mark.parametrize("name", METHODS)
def test_contract(fitting, planted, name):
    hidden = [c for c in planted.screen.conditions if "T2" in c.split("+")]
    training, asked = fitting(hidden)
    method = fit_method(name, training)
    score = method.score(asked)
    assert score.shape == (len(asked), 8) and not np.isnan(score).any()
    # T2 is perturbed in no training condition, and its own column is not measured.
    blind = np.isneginf(score[:, 2])
    assert blind.all() if name != "frequency" else (score[:, 2] == 0).all()
    assert np.isfinite(np.delete(score, 2, axis=1)).all()
    again = fit_method(name, training).score(asked)
    np.testing.assert_array_equal(score, again)


def test_logistic_regression_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 6))
    target = rng.random((80, 3)) < 0.3 + 0.4 * (x[:, :3] > 0)
    weight, intercept = one_vs_rest(x, target, c=0.5)
    for label in range(3):
        known = LogisticRegression(C=0.5, tol=1e-8).fit(x, target[:, label])
        np.testing.assert_allclose(weight[:, label], known.coef_[0], atol=1e-3)
        assert intercept[label] == pytest.approx(known.intercept_[0], abs=1e-3)


def test_sums_find_unseen_doubles_where_the_truth_is_additive(fitting, planted):
    doubles = planted.screen.doubles[:6]
    training, asked = fitting(list(doubles), k=None)
    truth = planted.screen.targets_pc[asked.condition_q]

    def both(name):
        score = fit_method(name, training).score(asked)
        first = np.argsort(-score, axis=1)[:, :2]
        return np.take_along_axis(truth, first, axis=1).all(axis=1).mean()

    found = {name: both(name) for name in METHODS}
    assert found["additive"] == 1.0 and found["linear-inverted"] == 1.0
    assert found["frequency"] < 0.5 and found["own-z"] < 0.7


def test_unknown_methods_are_named():
    with pytest.raises(SettingsError, match=r"'aditive': did you mean 'additive'"):
        fit_method("aditive", None)
