"""Quantiles in one pass: exact within the budget, within the stated error beyond it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from cellwright.interfaces import RowBlock
from cellwright.tokens.binned import BinnedTokenizer
from cellwright.tokens.quantiles import GeneQuantiles

AT = np.linspace(0, 1, 21)


def filled(values: np.ndarray, *, budget: int, size: int = 100) -> GeneQuantiles:
    store = GeneQuantiles(values.shape[1], exact_values=budget)
    for i in range(0, len(values), size):
        store.add(sp.csr_matrix(values[i : i + size]))
    return store


def expected(values: np.ndarray, gene: int, zeros: bool) -> np.ndarray:
    column = values[:, gene].astype(np.float64)
    column = column if zeros else column[column > 0]
    return np.quantile(column, AT) if column.size else np.empty(0)


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    rng = np.random.default_rng(0)
    found = rng.lognormal(0.0, 2.0, (2000, 12)) * (rng.random((2000, 12)) < rng.random(12))
    found[:, 3] = 0
    found[:, 4] = np.where(np.arange(2000) == 9, 1e-4, 0)
    found[:, 5] = 7.0
    found[:, 6] = rng.integers(0, 4, 2000)
    return found.astype(np.float32)


@pytest.mark.parametrize("zeros", [True, False])
def test_exact_within_the_budget(values: np.ndarray, zeros: bool) -> None:
    store = filled(values, budget=10**6)
    for gene in range(values.shape[1]):
        found = store.quantiles(gene, AT, zeros=zeros)
        np.testing.assert_array_equal(found, expected(values, gene, zeros))
    assert store.exact


@pytest.mark.parametrize("zeros", [True, False])
def test_beyond_the_budget_within_the_stated_error(values: np.ndarray, zeros: bool) -> None:
    store = filled(values, budget=500)
    for gene in range(values.shape[1]):
        found = store.quantiles(gene, AT, zeros=zeros)
        np.testing.assert_allclose(
            found, expected(values, gene, zeros), rtol=store.relative_error * 1.000001, atol=0
        )
    assert not store.exact


@pytest.mark.parametrize(("genes", "error"), [(12, 0.00013), (2000, 0.00013), (36_000, 0.004)])
def test_the_stated_error(genes: int, error: float) -> None:
    store = GeneQuantiles(genes, exact_values=0)
    store.add(sp.csr_matrix(([1.0], ([0], [0])), shape=(1, genes), dtype=np.float32))
    store.quantiles(0, AT, zeros=False)
    assert 0 < store.relative_error < error


@pytest.mark.parametrize("genes", [12, 40_000])
def test_few_bits_keep_the_stated_error_too(values: np.ndarray, genes: int) -> None:
    store = GeneQuantiles(genes, exact_values=0)
    wide = sp.csr_matrix(values)
    wide.resize(len(values), genes)
    store.add(wide)
    for gene in range(values.shape[1]):
        found = store.quantiles(gene, AT, zeros=False)
        exact = expected(values, gene, zeros=False)
        np.testing.assert_allclose(found, exact, rtol=store.relative_error * 1.000001, atol=0)


def test_the_histogram_does_not_depend_on_the_order_of_the_cells(
    values: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Small chunks make the buckets grow below and above as values come in.
    monkeypatch.setattr("cellwright.tokens.quantiles._CHUNK", 50)
    order = np.random.default_rng(1).permutation(len(values))
    one, other = filled(values, budget=0), filled(values[order], budget=300, size=7)
    for gene in range(values.shape[1]):
        np.testing.assert_array_equal(
            one.quantiles(gene, AT, zeros=True), other.quantiles(gene, AT, zeros=True)
        )


def test_memory_beyond_the_budget_does_not_grow_with_the_cells(values: np.ndarray) -> None:
    few, many = filled(values, budget=0), filled(np.tile(values, (8, 1)), budget=0)
    for store in (few, many):
        store.quantiles(0, AT, zeros=True)
        assert not store._chunks
    assert few._histogram_gb.nbytes == many._histogram_gb.nbytes


def test_no_values_at_all() -> None:
    store = filled(np.zeros((5, 2), dtype=np.float32), budget=0)
    assert store.quantiles(0, AT, zeros=False).size == 0
    np.testing.assert_array_equal(store.quantiles(1, AT, zeros=True), np.zeros(21))


def test_with_approximate_quantiles_only_values_at_an_edge_change_their_bin() -> None:
    rng = np.random.default_rng(3)
    counts = sp.csr_matrix(rng.poisson(rng.gamma(3.0, 9.0, 40), (3000, 40)))
    block = [RowBlock(counts, np.arange(3000).astype(str), np.arange(3000))]
    exact = BinnedTokenizer().fit(block)
    rough = BinnedTokenizer(exact_values=1000).fit(block)
    assert 0 < rough.relative_error_ < 0.00013
    assert BinnedTokenizer.from_state(rough.state()).relative_error_ == rough.relative_error_
    np.testing.assert_array_equal(exact.n_bins_g, rough.n_bins_g)
    changed = exact.bins(counts) != rough.bins(counts)
    assert changed.mean() < 0.02
    dense = counts.toarray().astype(float)
    values = np.log1p(dense * (1e4 / dense.sum(axis=1, keepdims=True)))
    for gene in range(40):
        moved = values[changed[:, gene], gene]
        edges = exact.edges_[gene]
        nearest = np.abs(moved[:, None] / edges - 1).min(axis=1)
        assert (nearest <= rough.relative_error_ * 1.0001).all()
