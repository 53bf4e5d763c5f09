"""Null genes: like the gene asked for, uniform p-values without an effect, plain Benjamini-Hochberg."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from cellwright.errors import DataError
from cellwright.perturbation.null_genes import (
    GeneProfile,
    NullGenes,
    adjusted,
    empirical_p,
    robust_z,
)


def profile(g: int = 400, n: int = 500, seed: int = 0) -> GeneProfile:
    rng = np.random.default_rng(seed)
    cells_g = rng.integers(1, n, g)
    return GeneProfile(cells_g, np.log1p(rng.uniform(0, 800, g)), rng.integers(0, 9, g), n)


def test_drawn_genes_are_among_the_nearest_in_place_and_cells_and_never_the_gene():
    known = profile()
    source = NullGenes(known, np.arange(400))
    drawn = [gene for (gene,) in source.draw([7], 20, np.random.default_rng(1))]
    assert len(set(drawn)) == 20 and 7 not in drawn
    # By hand: both in standard deviations, Euclidean, the 40 nearest.
    at = np.stack([known.place_g, np.log1p(known.cells_g)], axis=1)
    at /= at.std(axis=0)
    nearest = np.argsort(((at - at[7]) ** 2).sum(axis=1))
    assert set(drawn) <= set(nearest[1:41].tolist())


def test_a_set_is_matched_member_by_member():
    known = profile()
    source = NullGenes(known, np.setdiff1d(np.arange(400), [3, 9, 11]))
    drawn = source.draw([3, 9, 11], 30, np.random.default_rng(0))
    assert len(drawn) == len(set(drawn)) == 30
    assert all(len(set(genes)) == 3 and not {3, 9, 11} & set(genes) for genes in drawn)
    place = np.array([[known.place_g[gene] for gene in genes] for genes in drawn])
    asked = known.place_g[[3, 9, 11]]
    spread = known.place_g.std()
    assert (np.abs(place.mean(axis=0) - asked) < 0.5 * spread).all()


def test_where_candidates_run_out_it_says_how_many_there_are():
    source = NullGenes(profile(), np.array([1, 2, 3]))
    assert len(source.draw([1], 100, np.random.default_rng(0))) == 2
    with pytest.raises(DataError, match=r"3 genes needs.*there are 1"):
        source.draw([1, 2, 7], 100, np.random.default_rng(0))


@pytest.mark.parametrize("two_sided", [False, True])
def test_without_an_effect_p_is_uniform(two_sided):
    rng = np.random.default_rng(0)
    draws = rng.gamma(1.0, size=(4000, 20))
    p = np.array([empirical_p(row[0], row[1:], two_sided=two_sided) for row in draws])
    assert p.min() == pytest.approx(1 / 20) and p.max() <= 1
    # Each of the 20 values equally often: counts within the central 99.9 % of a binomial.
    counts = np.bincount(np.round(p * 20).astype(int), minlength=21)[1:]
    low, high = binom.ppf([0.0005, 0.9995], 4000, 1 / 20)
    wrong = (counts < low) | (counts > high)
    # Two-sided, the value in the middle is its own centre now and then: only the far end counts.
    assert not wrong[:15].any()


def test_p_by_hand():
    assert empirical_p(3.0, np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(3 / 5)
    assert empirical_p(-9.0, np.array([1.0, 2.0, 3.0, 4.0]), two_sided=True) == pytest.approx(1 / 5)
    assert empirical_p(5.0, np.array([])) == 1.0
    assert np.isnan(empirical_p(float("nan"), np.ones(3)))


def test_z_by_hand_and_as_a_standard_score_of_normal_draws():
    # Median 3, deviations 2 1 0 1 6, their median 1.
    assert robust_z(6.0, np.array([1.0, 2, 3, 4, 9]), signed=True) == pytest.approx(3 / 1.4826)
    null = np.exp(np.random.default_rng(0).normal(2.0, 0.5, 100_000))
    assert robust_z(float(np.exp(3.0)), null) == pytest.approx(2.0, abs=0.03)
    assert np.isnan(robust_z(0.0, null)) and np.isnan(robust_z(1.0, np.ones(9), signed=True))


def test_false_discovery_rate_by_hand():
    p = np.array([0.01, 0.04, np.nan, 0.03, 0.2])
    # Sorted 0.01 0.03 0.04 0.2, times 4 over rank: 0.04 0.06 0.0533 0.2; least from the right.
    np.testing.assert_allclose(
        adjusted(p), [0.04, 4 * 0.04 / 3, np.nan, 4 * 0.04 / 3, 0.2], rtol=1e-12
    )
