"""Quantile bins per gene against a plain loop of NumPy calls."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.sparse as sp

from cellwright.errors import DataError, RunError, SettingsError
from cellwright.interfaces import RowBlock, Tokenizer
from cellwright.tokens.binned import BinnedTokenizer


def blocks_of(counts: np.ndarray, size: int = 37) -> list[RowBlock]:
    rows = np.arange(len(counts))
    return [
        RowBlock(
            sp.csr_matrix(counts[i : i + size]), rows[i : i + size].astype(str), rows[i : i + size]
        )
        for i in range(0, len(counts), size)
    ]


def plain_values(counts: np.ndarray, target_sum: float = 1e4, log1p: bool = True) -> np.ndarray:
    """Cell by cell, with Python numbers rounded to float32 at the end."""
    out = np.zeros(counts.shape, dtype=np.float32)
    for n, row in enumerate(counts):
        total = float(row.sum())
        for g in np.flatnonzero(row):
            value = float(row[g]) * (target_sum / total)
            out[n, g] = np.log1p(value) if log1p else value
    return out


def plain_bins(
    train: np.ndarray, test: np.ndarray, num_bins: int, zero_bin: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Gene by gene with np.quantile, np.unique and np.searchsorted on float64."""
    bins = np.zeros(test.shape, dtype=int)
    used = np.zeros(test.shape[1], dtype=int)
    for g in range(test.shape[1]):
        values, new = train[:, g].astype(np.float64), test[:, g].astype(np.float64)
        if zero_bin:
            values = values[values > 0]
        steps = num_bins - zero_bin
        edges = np.unique(np.quantile(values, np.linspace(0, 1, steps + 1))) if values.size else []
        count = max(1, len(edges) - 1)
        place = np.clip(np.searchsorted(edges, new, side="right") - 1, 0, count - 1)
        bins[:, g] = np.where(new > 0, place + 1, 0) if zero_bin else place
        used[g] = count + zero_bin
    return bins, used


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    rng = np.random.default_rng(1)
    mean = rng.gamma(0.5, 3.0, 60) * rng.gamma(5.0, 0.2, (300, 1))
    found = rng.poisson(mean)
    found[:, 7] = 0
    found[5] = 0
    return found


@pytest.mark.parametrize("zero_bin", [True, False])
@pytest.mark.parametrize("log1p", [True, False])
@pytest.mark.parametrize("num_bins", [2, 7, 20, 256])
def test_bins_equal_a_plain_loop(
    counts: np.ndarray, num_bins: int, log1p: bool, zero_bin: bool
) -> None:
    tokenizer = BinnedTokenizer(num_bins, log1p=log1p, zero_bin=zero_bin)
    tokenizer.fit(blocks_of(counts[:200]))
    values = plain_values(counts, log1p=log1p)
    expected, used = plain_bins(values[:200], values, num_bins, zero_bin)
    found = tokenizer.bins(sp.csr_matrix(counts))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(tokenizer.n_bins_g, used)
    assert found.max() < tokenizer.n_values == num_bins
    assert (found < tokenizer.n_bins_g).all()


@pytest.mark.parametrize("zero_bin", [True, False])
def test_values_exactly_at_an_edge_belong_to_the_bin_above(zero_bin: bool) -> None:
    # All cells have 40 counts, so equal counts are equal values and quantiles fall on values.
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 5, (201, 9))
    counts = np.column_stack([counts, 40 - counts.sum(axis=1)])
    tokenizer = BinnedTokenizer(5, zero_bin=zero_bin).fit(blocks_of(counts))
    values = plain_values(counts)
    expected, _ = plain_bins(values, values, 5, zero_bin)
    found = tokenizer.bins(counts)
    np.testing.assert_array_equal(found, expected)
    for g in range(9):
        at_edge = np.isin(values[:, g].astype(float), tokenizer.edges_[g][1:-1])
        assert at_edge.sum() > 20
        inner = tokenizer.edges_[g][1:-1].tolist()
        for n in np.flatnonzero(at_edge):
            assert found[n, g] == inner.index(float(values[n, g])) + 1 + zero_bin


@pytest.mark.parametrize("zero_bin", [True, False])
def test_edges_are_those_of_np_quantile_to_the_last_bit(counts: np.ndarray, zero_bin: bool) -> None:
    tokenizer = BinnedTokenizer(20, zero_bin=zero_bin).fit(blocks_of(counts))
    values = plain_values(counts).astype(np.float64)
    for g in range(values.shape[1]):
        known = values[:, g][values[:, g] > 0] if zero_bin else values[:, g]
        steps = 20 - zero_bin
        expected = np.unique(np.quantile(known, np.linspace(0, 1, steps + 1))) if len(known) else []
        np.testing.assert_array_equal(tokenizer.edges_[g], expected)
    assert tokenizer.relative_error_ == 0
    assert tokenizer.n_cells_ == len(counts)


def test_values_outside_go_to_the_end_bins() -> None:
    train = np.array([[4, 6], [5, 5], [6, 4]])
    tokenizer = BinnedTokenizer(2, log1p=False, target_sum=10, zero_bin=False).fit(blocks_of(train))
    found = tokenizer.bins(np.array([[0, 10], [10, 0], [5, 5], [6, 4]]))
    np.testing.assert_array_equal(found, [[0, 1], [1, 0], [1, 1], [1, 0]])


def test_zeros_share_the_lowest_bin_or_have_their_own() -> None:
    train = np.column_stack([np.arange(40), np.full(40, 10**6)])
    shared = BinnedTokenizer(4, zero_bin=False).fit(blocks_of(train)).bins(train)[:, 0]
    apart = BinnedTokenizer(4, zero_bin=True).fit(blocks_of(train)).bins(train)[:, 0]
    assert (shared[:10] == 0).all()
    assert shared[10] == 1
    assert (apart > 0).tolist() == [False] + [True] * 39
    assert np.bincount(apart).tolist() == [1, 13, 13, 13]


def test_a_gene_no_training_cell_has() -> None:
    train = np.array([[0, 3], [0, 5]])
    new = np.array([[2, 4], [0, 4]])
    apart = BinnedTokenizer(5, zero_bin=True).fit(blocks_of(train))
    assert apart.n_bins_g[0] == 2
    np.testing.assert_array_equal(apart.bins(new)[:, 0], [1, 0])
    shared = BinnedTokenizer(5, zero_bin=False).fit(blocks_of(train))
    assert shared.n_bins_g[0] == 1
    np.testing.assert_array_equal(shared.bins(new)[:, 0], [0, 0])


def test_cells_without_counts_are_all_zero(counts: np.ndarray) -> None:
    tokenizer = BinnedTokenizer(zero_bin=False).fit(blocks_of(counts))
    assert not tokenizer.bins(np.zeros((3, 60))).any()
    assert not tokenizer.bins(sp.csr_matrix((2, 60))).any()
    assert BinnedTokenizer().fit(blocks_of(np.zeros((4, 3)))).n_bins_g.tolist() == [2, 2, 2]


def test_storage_and_number_type_make_no_difference(counts: np.ndarray) -> None:
    tokenizer = BinnedTokenizer().fit(blocks_of(counts))
    expected = tokenizer.bins(sp.csr_matrix(counts))
    unsorted = sp.csr_matrix(counts.astype(np.float64))
    unsorted.indices = unsorted.indices[::-1].copy()
    unsorted.data = unsorted.data[::-1].copy()
    unsorted.indptr = (unsorted.nnz - unsorted.indptr[::-1]).copy()
    unsorted.has_sorted_indices = False
    np.testing.assert_array_equal(tokenizer.bins(unsorted), expected[::-1])
    with_zeros = sp.csr_matrix(np.ones_like(counts))
    with_zeros.data = counts.ravel().astype(np.float32)
    for other in (counts, counts.astype(np.float32), sp.csc_matrix(counts), with_zeros):
        np.testing.assert_array_equal(tokenizer.bins(other), expected)
    again = BinnedTokenizer().fit([RowBlock(with_zeros, np.array([]), np.array([]))])
    np.testing.assert_array_equal(np.concatenate(again.edges_), np.concatenate(tokenizer.edges_))


def test_blocks_and_their_order_make_no_difference(counts: np.ndarray) -> None:
    one = BinnedTokenizer().fit(blocks_of(counts, 300)).state()
    many = BinnedTokenizer().fit(blocks_of(counts, 11)[::-1]).state()
    for name, array in one.items():
        np.testing.assert_array_equal(array, many[name])


def test_encode_gives_one_token_per_gene(counts: np.ndarray) -> None:
    tokenizer = BinnedTokenizer().fit(blocks_of(counts))
    batch = tokenizer.encode(sp.csr_matrix(counts[:4]))
    np.testing.assert_array_equal(batch.gene_ids_nt, np.tile(np.arange(60), (4, 1)))
    np.testing.assert_array_equal(batch.value_ids_nt, tokenizer.bins(counts[:4]))
    assert batch.pad_nt.shape == (4, 60)
    assert not batch.pad_nt.any()
    assert isinstance(tokenizer, Tokenizer)


@pytest.mark.parametrize("zero_bin", [True, False])
def test_state_survives_a_file_without_pickle(counts: np.ndarray, zero_bin: bool, tmp_path) -> None:
    tokenizer = BinnedTokenizer(9, 5e3, False, zero_bin).fit(blocks_of(counts))
    np.savez(tmp_path / "tokenizer.npz", **tokenizer.state())
    with np.load(tmp_path / "tokenizer.npz", allow_pickle=False) as stored:
        again = BinnedTokenizer.from_state(dict(stored))
    np.testing.assert_array_equal(again.bins(counts), tokenizer.bins(counts))
    np.testing.assert_array_equal(again.n_bins_g, tokenizer.n_bins_g)
    assert again.rule == tokenizer.rule
    assert (again.n_cells_, again.relative_error_) == (300, 0)


def test_foreign_states_are_refused(counts: np.ndarray) -> None:
    state = BinnedTokenizer().fit(blocks_of(counts)).state()
    del state["edges"]
    with pytest.raises(RunError, match="lacks 'edges'"):
        BinnedTokenizer.from_state(state)
    with pytest.raises(RunError, match="'cell-binned', expected 'binned'"):
        BinnedTokenizer.from_state({"tokenizer": np.asarray("cell-binned")})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"num_bins": 1}, "num_bins is 1,"),
        ({"num_bins": 257}, "num_bins is 257,"),
        ({"target_sum": 0}, "target_sum is 0,"),
        ({"target_sum": float("nan")}, "target_sum is nan,"),
    ],
)
def test_settings_that_cannot_work(settings: dict, said: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(said)):
        BinnedTokenizer(**settings)


def test_data_that_cannot_be_binned(counts: np.ndarray) -> None:
    with pytest.raises(DataError, match="0 cells × 0 genes"):
        BinnedTokenizer().fit([])
    with pytest.raises(DataError, match="0 cells × 60 genes"):
        BinnedTokenizer().fit([RowBlock(sp.csr_matrix((0, 60)), np.array([]), np.array([]))])
    with pytest.raises(DataError, match=r"61 genes.*fitted on 60"):
        BinnedTokenizer().fit(blocks_of(counts) + blocks_of(np.ones((2, 61))))
    tokenizer = BinnedTokenizer().fit(blocks_of(counts))
    with pytest.raises(DataError, match=r"59 genes.*fitted on 60"):
        tokenizer.bins(counts[:, :59])
    for bad in (-3.0, np.nan, np.inf):
        wrong = counts[:2].astype(float)
        wrong[1, 4] = bad
        with pytest.raises(DataError, match=re.escape(f"a count is {bad}")):
            tokenizer.bins(wrong)
