"""Scaled counts against the law they must have, and against the short cut that does not."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats

from cellwright.perturbation.count_law import mean_and_shape, scaled_down, scaled_up

N = 200_000


def drawn(mean, shape, rng, n=N):
    return rng.poisson(rng.gamma(shape, mean / shape, n))


def assert_law(x, mean, shape):
    """Mean, variance and share of zeros of NB(mean, shape), within five standard errors."""
    law = stats.nbinom(shape, shape / (shape + mean))
    for got, true, noise in (
        (x.mean(), law.mean(), law.std()),
        (x.var(), law.var(), ((x - law.mean()) ** 2).std()),
        ((x == 0).mean(), law.pmf(0), np.sqrt(law.pmf(0) * (1 - law.pmf(0)))),
    ):
        assert abs(got - true) < 5 * noise / np.sqrt(len(x)), (got, true)


@pytest.mark.parametrize("fold", [0.1, 0.5, 1.0])
@pytest.mark.parametrize(("mean", "shape"), [(0.4, 0.5), (5.0, 2.0), (30.0, 100.0)])
def test_down_is_the_law_with_a_smaller_mean(mean, shape, fold):
    rng = np.random.default_rng(0)
    x = drawn(mean, shape, rng)
    assert_law(scaled_down(x, fold, rng), fold * mean, shape)


@pytest.mark.parametrize("fold", [1.0, 1.4, 2.0, 8.0])
@pytest.mark.parametrize(("mean", "shape"), [(0.4, 0.5), (5.0, 2.0), (30.0, 100.0)])
def test_up_is_the_law_with_a_larger_mean(mean, shape, fold):
    rng = np.random.default_rng(1)
    x = drawn(mean, shape, rng)[:, None]
    up = scaled_up(x, np.full((N, 1), mean), np.array([shape]), fold, rng)[:, 0]
    assert (up >= x[:, 0]).all()
    assert_law(up, fold * mean, shape)


def test_the_short_cut_does_not_have_it():
    """The test above can fail: adding Poisson((f - 1)x) has another variance, and more zeros."""
    rng = np.random.default_rng(2)
    x = drawn(5.0, 2.0, rng)
    with pytest.raises(AssertionError):
        assert_law(x + rng.poisson(x), 10.0, 2.0)


def test_a_silent_gene_stays_silent_and_a_poisson_gene_poisson():
    rng = np.random.default_rng(3)
    x = np.c_[np.zeros(N, dtype=int), rng.poisson(3.0, N)]
    up = scaled_up(x, np.tile([0.0, 3.0], (N, 1)), np.array([1.0, 1e6]), 2.0, rng)
    assert (up[:, 0] == 0).all()
    assert abs(up[:, 1].mean() - 6) < 0.03 and abs(up[:, 1].var() - 6) < 0.1


def test_moments_of_planted_genes():
    rng = np.random.default_rng(4)
    totals = rng.integers(500, 3000, 20_000).astype(float)
    share, shape = np.array([0.01, 0.001, 0.02]), np.array([2.0, 0.5, 1e9])
    x = rng.poisson(
        rng.gamma(np.minimum(shape, 1e5), 1, (20_000, 3))
        / np.minimum(shape, 1e5)
        * np.outer(totals, share)
    )
    got_share, got_shape = mean_and_shape(sp.csr_matrix(x), totals)
    assert got_share == pytest.approx(share, rel=0.05)
    assert got_shape[:2] == pytest.approx(shape[:2], rel=0.1) and got_shape[2] > 100
    # By the definition, written out.
    mean = np.outer(totals, got_share)
    solved = (mean**2).sum(axis=0) / ((x - mean) ** 2 - mean).sum(axis=0)
    assert got_shape[:2] == pytest.approx(solved[:2], rel=1e-9)
    silent_share, silent_shape = mean_and_shape(sp.csr_matrix((5, 2)), np.ones(5))
    assert (silent_share == 0).all() and np.isfinite(silent_shape).all()
