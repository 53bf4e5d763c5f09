"""Hashes tell cells apart by their counts alone."""

from __future__ import annotations

import struct

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

from cellwright.data.reading import cell_hashes, fingerprint

MASK = (1 << 64) - 1


def splitmix64(x: int) -> int:
    """The published algorithm, on Python's whole numbers."""
    z = (x + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def slow_hash(row: np.ndarray) -> int:
    total = 0
    for gene, value in enumerate(row.tolist()):
        if value:
            bits = struct.unpack("<Q", struct.pack("<d", float(value)))[0]
            total += splitmix64(splitmix64(gene) ^ bits)
    return splitmix64(total & MASK)


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    counts = np.random.default_rng(0).poisson(0.2, (200, 30))
    counts[[0, 50, 199]] = 0
    counts[20] = counts[10]
    return counts


def test_the_hash_is_the_one_described(counts):
    found = cell_hashes(sp.csr_matrix(counts))
    assert found.dtype == np.uint64
    assert found.tolist() == [slow_hash(row) for row in counts]


@pytest.mark.parametrize(
    "storage",
    [
        np.asarray,
        sp.csr_matrix,
        sp.csc_matrix,
        sp.coo_matrix,
        lambda c: sp.csr_matrix(c.astype(np.float32)),
        lambda c: sp.csr_matrix(c.astype(np.uint8)),
    ],
)
def test_storage_makes_no_difference(counts, storage):
    assert cell_hashes(storage(counts)).tolist() == cell_hashes(counts).tolist()


def test_explicit_zeros_order_and_repeats_make_no_difference():
    plain = sp.csr_matrix([[0, 3, 2]])
    odd = sp.csr_matrix(([2.0, 0.0, 1.0, 2.0], [2, 0, 1, 1], [0, 4]), shape=(1, 3))
    assert not odd.has_canonical_format
    assert cell_hashes(odd) == cell_hashes(plain)
    assert odd.data.tolist() == [2, 0, 1, 2]


def test_equal_hashes_mean_equal_counts(counts):
    _, by_counts = np.unique(counts, axis=0, return_inverse=True)
    _, by_hash = np.unique(cell_hashes(counts), return_inverse=True)
    pairs = set(zip(by_counts.ravel().tolist(), by_hash.tolist(), strict=True))
    assert len(pairs) == by_counts.max() + 1 == by_hash.max() + 1


def test_one_count_or_one_gene_apart_differs():
    cells = sp.csr_matrix([[1, 0, 2], [1, 2, 0], [1, 0, 3], [2, 0, 1], [0, 1, 2]])
    assert len(set(cell_hashes(cells).tolist())) == 5


def test_rows_longer_than_a_block_and_many_blocks():
    # A block is 4 million values: the second row alone is larger.
    long = sp.csr_matrix(np.ones((3, (1 << 22) + 5), dtype=np.float32))
    found = cell_hashes(long)
    assert found[0] == found[1] == found[2]


def test_real_cells_are_told_apart(real_data):
    from cellwright.data.reading import counts_of, read_cells

    path = real_data / "whb_neurons" / "whb_neurons_1152x2000.h5ad"
    cells = read_cells(path)
    assert len(set(cell_hashes(counts_of(cells)).tolist())) == cells.n_obs


def test_the_fingerprint_covers_names_and_counts(counts):
    cells = ad.AnnData(sp.csr_matrix(counts.astype(np.float32)))
    same = fingerprint(cells, cells.X)
    assert fingerprint(cells, cell_hashes(counts)) == same
    assert len(same) == 32
    renamed = cells.copy()
    renamed.obs_names = ["other", *cells.obs_names[1:]]
    genes = cells.copy()
    genes.var_names = ["other", *cells.var_names[1:]]
    changed = counts.copy()
    changed[3, 4] += 1
    others = [
        fingerprint(renamed, counts),
        fingerprint(genes, counts),
        fingerprint(cells, changed),
        fingerprint(cells[::-1], counts[::-1]),
    ]
    assert len({same, *others}) == 5
