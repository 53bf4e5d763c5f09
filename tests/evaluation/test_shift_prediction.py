"""Distance, correlation and noise of predicted shifts against SciPy and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr

from cellwright.errors import DataError
from cellwright.evaluation.shift_prediction import (
    mean_over_perturbations,
    noise_floor,
    shift_metrics,
)


def test_against_scipy_and_a_flat_prediction_has_no_correlation():
    rng = np.random.default_rng(0)
    predicted, observed = rng.normal(size=(2, 5, 30))
    predicted[4] = 0.3
    found = shift_metrics(predicted, observed)
    for q in range(4):
        assert found["pearson_delta"][q] == pytest.approx(pearsonr(predicted[q], observed[q])[0])
        assert found["l2"][q] == pytest.approx(np.sqrt(((predicted[q] - observed[q]) ** 2).sum()))
    assert np.isnan(found["pearson_delta"][4]) and np.isfinite(found["l2"][4])
    with pytest.raises(DataError, match=r"\(5, 30\).*\(4, 30\)"):
        shift_metrics(predicted, observed[:4])
    with pytest.raises(DataError, match="no number"):
        shift_metrics(predicted, np.full_like(observed, np.nan))


def test_a_perfect_prediction_is_as_far_off_as_the_noise():
    rng = np.random.default_rng(1)
    sd = rng.uniform(0.2, 2, 40)
    squares, floors = [], []
    for _ in range(300):
        cells = rng.normal(0, sd, (25, 40))
        squares.append((cells.mean(axis=0) ** 2).sum())
        floors.append(noise_floor(cells.var(axis=0, ddof=1)[None], np.array([25]))[0] ** 2)
    assert np.mean(squares) == pytest.approx(np.mean(floors), rel=0.05)


@pytest.mark.parametrize("units", [4, 15, 30])
def test_the_interval_holds_the_mean_as_often_as_it_says(units):
    rng = np.random.default_rng(2)
    held, methods = 0, set()
    for i in range(200):
        _, span = mean_over_perturbations(rng.gamma(4, 1, units) + 1, draws=400, seed=i)
        assert span is not None
        methods.add(span.method)
        held += span.low <= 5 <= span.high
    assert held >= 178 and methods == {"t" if units < 20 else "bootstrap"}


def test_few_are_judged_by_t():
    from scipy.stats import ttest_1samp

    value_u = np.array([0.03, 0.05, 0.09])
    value, span = mean_over_perturbations(value_u)
    expected = ttest_1samp(value_u, 0).confidence_interval(0.95)
    assert (span.low, span.high) == pytest.approx((expected.low, expected.high))
    assert span.low < 0 < value
    assert mean_over_perturbations(np.array([3.0])) == (3.0, None)
