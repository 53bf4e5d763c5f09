"""Bins per cell against scGPT's arithmetic, written with NumPy calls."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.sparse as sp

from cellwright.catalog import TOKENIZERS
from cellwright.errors import DataError, RunError, SettingsError
from cellwright.interfaces import RowBlock, Tokenizer
from cellwright.tokens.binned import BinnedTokenizer
from cellwright.tokens.cell_binned import CellBinnedTokenizer


def fitted(counts: np.ndarray, num_bins: int = 51) -> CellBinnedTokenizer:
    block = RowBlock(sp.csr_matrix(counts), np.arange(len(counts)).astype(str), np.array([0]))
    return CellBinnedTokenizer(num_bins).fit([block])


def plain(values: np.ndarray, num_bins: int) -> np.ndarray:
    out = np.zeros(values.shape, dtype=int)
    for n, row in enumerate(values):
        nonzero = row[row > 0]
        if nonzero.size:
            edges = np.quantile(nonzero, np.linspace(0, 1, num_bins - 1))
            out[n] = np.where(row > 0, np.digitize(row, edges), 0)
    return out


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    rng = np.random.default_rng(0)
    found = rng.poisson(rng.gamma(0.4, 5.0, 120), (80, 120))
    found[3] = 0
    found[4] = 2
    found[5] = 0
    found[5, 9] = 6
    return found


@pytest.mark.parametrize("num_bins", [3, 6, 51, 256])
def test_bins_equal_a_plain_loop(counts: np.ndarray, num_bins: int) -> None:
    found = fitted(counts, num_bins).bins(sp.csr_matrix(counts))
    np.testing.assert_array_equal(found, plain(counts.astype(float), num_bins))
    assert found.dtype == np.uint8
    assert ((found == 0) == (counts == 0)).all()


def test_scaling_and_logarithm_change_nothing(counts: np.ndarray) -> None:
    total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    logged = np.log1p(counts / total * 1e4)
    np.testing.assert_array_equal(fitted(counts).bins(counts), plain(logged, 51))


def test_ties_go_to_the_highest_bin(counts: np.ndarray) -> None:
    found = fitted(counts, 51).bins(counts)
    assert set(found[4]) == {50}
    assert found[5, 9] == 50
    # scGPT draws between this and the lowest bin the value touches.
    row = counts[0].astype(float)
    edges = np.quantile(row[row > 0], np.linspace(0, 1, 50))
    lowest = np.digitize(row, edges, right=True)
    assert (found[0][row > 0] >= lowest[row > 0]).all()


def test_interface_and_state(counts: np.ndarray) -> None:
    tokenizer = fitted(counts, 11)
    assert isinstance(tokenizer, Tokenizer)
    assert tokenizer.n_bins_g.tolist() == [11] * 120
    assert tokenizer.n_values == 11
    again = CellBinnedTokenizer.from_state(tokenizer.state())
    np.testing.assert_array_equal(
        again.encode(counts).value_ids_nt, tokenizer.encode(counts).value_ids_nt
    )
    assert (again.n_genes, again.n_cells_, again.rule) == (120, 80, tokenizer.rule)


def test_both_tokenizers_are_in_the_catalog() -> None:
    assert TOKENIZERS["binned"] is BinnedTokenizer
    assert TOKENIZERS["cell-binned"] is CellBinnedTokenizer


def test_bad_input(counts: np.ndarray) -> None:
    with pytest.raises(SettingsError, match=re.escape("num_bins is 2,")):
        CellBinnedTokenizer(2)
    with pytest.raises(DataError, match="0 cells × 0 genes"):
        CellBinnedTokenizer().fit([])
    with pytest.raises(DataError, match=r"119 genes.*fitted on 120"):
        fitted(counts).bins(counts[:, :119])
    with pytest.raises(DataError, match="a count is -1"):
        fitted(counts).bins(-np.ones((1, 120)))
    with pytest.raises(RunError, match="'binned', expected 'cell-binned'"):
        CellBinnedTokenizer.from_state({"tokenizer": np.asarray("binned")})
    with pytest.raises(RunError, match="lacks 'num_bins'"):
        CellBinnedTokenizer.from_state({"tokenizer": np.asarray("cell-binned")})
