"""Draws held to quotas counted by hand and to probabilities in closed form."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from cellwright.data.prepare.sampling_plan import sample_cells, sample_genes


def strata_of(genes_per_n, strata):
    """Stratum k holds what lies above k of the inner quantiles."""
    edges = [np.quantile(genes_per_n, k / strata) for k in range(1, strata)]
    return np.array([sum(value > edge for edge in edges) for value in genes_per_n])


def draw_genes(detected, std, genes, seed=1, *, least=0.0, alpha=1.0, beta=0.5):
    return sample_genes(
        np.asarray(detected, float),
        np.asarray(std, float),
        genes,
        min_detected=least,
        alpha=alpha,
        beta=beta,
        seed=seed,
    )


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_every_stratum_gives_its_quota_or_all_it_has(data):
    depth = np.array(data.draw(st.lists(st.integers(0, 30), min_size=1, max_size=60)))
    cells = data.draw(st.integers(1, 70))
    strata = data.draw(st.integers(1, 9))
    chosen = sample_cells(depth, cells, strata=strata, seed=data.draw(st.integers(0, 99)))
    assert chosen.size == min(cells, depth.size)
    assert (np.diff(chosen) > 0).all() and chosen[0] >= 0 and chosen[-1] < depth.size
    used = min(strata, cells)
    of_cell = strata_of(depth, used)
    for stratum in range(used):
        there, taken = (of_cell == stratum).sum(), (of_cell[chosen] == stratum).sum()
        assert taken >= min(there, cells // used)


def test_strata_of_equal_size_give_equally_many():
    depth = np.random.default_rng(0).permutation(1000)
    for seed in range(5):
        chosen = sample_cells(depth, 200, strata=4, seed=seed)
        assert np.bincount(strata_of(depth, 4)[chosen]).tolist() == [50] * 4


def test_what_a_small_stratum_lacks_comes_from_the_others():
    depth = np.array([1] * 97 + [50, 60, 70])  # three quartiles are one value
    chosen = sample_cells(depth, 40, strata=4, seed=3)
    assert chosen.size == 40
    assert set(range(97, 100)) <= set(chosen.tolist())


def test_fewer_cells_than_strata_are_not_the_shallow_ones():
    depth = np.arange(1000)
    drawn = np.concatenate([sample_cells(depth, 2, strata=10, seed=s) for s in range(200)])
    assert 450 < drawn.mean() < 550


def test_many_strata_cost_neither_memory_nor_time():
    assert sample_cells(np.arange(50_000), 20_000, strata=10**9, seed=1).size == 20_000


def test_seeds_differ_and_repeat():
    depth = np.arange(500)
    first, again, other = (sample_cells(depth, 50, strata=4, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_one_gene_is_drawn_as_often_as_its_weight():
    """Of one draw the probability is weight / sum of weights."""
    detected, std = np.array([0.1, 0.2, 0.4, 0.8]), np.array([4.0, 1.0, 0.25, 1.0])
    weight = detected**1.5 * std**0.5
    n = 4000
    drawn = [draw_genes(detected, std, 1, seed, alpha=1.5)[0] for seed in range(n)]
    expected = weight / weight.sum()
    share = np.bincount(drawn, minlength=4) / n
    assert (np.abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / n)).all()


def test_two_genes_follow_successive_draws():
    """Without replacement: P{i, j} = p_i p_j / (1 - p_i) + p_j p_i / (1 - p_j)."""
    p = np.array([0.1, 0.2, 0.3, 0.4])
    n = 4000
    pairs = [tuple(draw_genes(p, np.ones(4), 2, seed)) for seed in range(n)]
    for i in range(4):
        for j in range(i + 1, 4):
            expected = p[i] * p[j] * (1 / (1 - p[i]) + 1 / (1 - p[j]))
            assert abs(pairs.count((i, j)) / n - expected) < 4 * np.sqrt(expected / n)


def test_without_exponents_every_candidate_is_alike():
    rng = np.random.default_rng(0)
    detected, std = rng.random(20), rng.random(20)
    n = 3000
    drawn = np.concatenate([draw_genes(detected, std, 5, s, alpha=0, beta=0) for s in range(n)])
    share = np.bincount(drawn, minlength=20) / n
    assert (np.abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / n)).all()


def test_genes_without_weight_wait_for_the_others():
    detected = np.array([1.0, 1.0, 0.5, 0.5, 0.9])
    std = np.array([0.0, 0.0, 1.0, 1.0, 0.0])
    for seed in range(20):
        assert draw_genes(detected, std, 2, seed).tolist() == [2, 3]
        # The third is the constant gene found in most cells, of equals the first.
        assert draw_genes(detected, std, 3, seed).tolist() == [0, 2, 3]


def test_too_few_above_the_minimum_give_way_to_the_most_detected():
    detected = np.array([0.01, 0.04, 0.9, 0.03, 0.02])
    for seed in range(20):
        assert draw_genes(detected, np.ones(5), 3, seed, least=0.05).tolist() == [1, 2, 3]
        assert draw_genes(detected, np.ones(5), 1, seed, least=0.05).tolist() == [2]


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 400.0), (400.0, 0.0), (1e6, 1e6), (0.0, 0.5)])
def test_steep_weights_still_give_as_many_as_asked(alpha, beta):
    """detect^alpha · std^beta may be too small or too large for a floating-point number."""
    rng = np.random.default_rng(0)
    chosen = draw_genes(
        rng.uniform(0.01, 1, 50), rng.uniform(1, 1e4, 50), 10, 1, alpha=alpha, beta=beta
    )
    assert chosen.size == 10 and np.unique(chosen).size == 10


def test_genes_that_are_not_finite_wait_for_the_others():
    detected, std = np.full(6, 0.5), np.array([1.0, np.nan, 1.0, np.nan, 1.0, 1.0])
    for seed in range(10):
        assert draw_genes(detected, std, 4, seed).tolist() == [0, 2, 4, 5]
        assert draw_genes(detected, std, 5, seed).size == 5
