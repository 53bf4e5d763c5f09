"""Blocks hold the same counts as the whole, whatever their size and wherever they are read from."""

from __future__ import annotations

import tracemalloc
import warnings

import anndata as ad
import h5py
import numpy as np
import pytest
import scipy.sparse as sp

from cellwright.data.blocks import iter_blocks, stream_blocks
from cellwright.data.reading import counts_of, read_cells
from cellwright.errors import DataError


@pytest.fixture(scope="module")
def counts() -> sp.csr_matrix:
    return sp.csr_matrix(np.random.default_rng(0).poisson(0.3, (237, 31)).astype(np.float32))


def named(matrix: object) -> ad.AnnData:
    cells = ad.AnnData(matrix)
    cells.obs_names = [f"cell{i}" for i in range(cells.n_obs)]
    return cells


@pytest.mark.parametrize("storage", [sp.csr_matrix, sp.csc_matrix, sp.csr_matrix.toarray])
@pytest.mark.parametrize("backed", [False, True])
@pytest.mark.parametrize("block_cells", [1, 50, 237, 1000])
def test_blocks_together_are_the_counts(counts, storage, backed, block_cells, tmp_path):
    cells = named(storage(counts))
    if backed:
        cells.write_h5ad(tmp_path / "cells.h5ad", compression="gzip")
        cells = read_cells(tmp_path / "cells.h5ad", backed=True)
    blocks = list(iter_blocks(cells, block_cells=block_cells))
    assert max(b.counts_ng.shape[0] for b in blocks) <= block_cells
    together = sp.vstack([b.counts_ng for b in blocks]).toarray()
    np.testing.assert_array_equal(together, counts.toarray())
    assert np.concatenate([b.obs_names for b in blocks]).tolist() == cells.obs_names.tolist()
    assert np.concatenate([b.rows for b in blocks]).tolist() == list(range(237))
    assert all(b.counts_ng.has_canonical_format for b in blocks)


@pytest.mark.parametrize("storage", [sp.csr_matrix, sp.csc_matrix, sp.csr_matrix.toarray])
@pytest.mark.parametrize("backed", [False, True])
def test_rows_come_in_the_order_asked_for_even_twice(counts, storage, backed, tmp_path):
    cells = named(storage(counts))
    if backed:
        cells.write_h5ad(tmp_path / "cells.h5ad")
        cells = read_cells(tmp_path / "cells.h5ad", backed=True)
    rows = np.random.default_rng(1).integers(0, 237, 100)
    blocks = list(iter_blocks(cells, rows=rows, block_cells=32))
    together = sp.vstack([b.counts_ng for b in blocks]).toarray()
    np.testing.assert_array_equal(together, counts.toarray()[rows])
    assert np.concatenate([b.obs_names for b in blocks]).tolist() == [f"cell{i}" for i in rows]
    assert list(iter_blocks(cells, rows=np.array([], dtype=np.int64))) == []


@pytest.mark.parametrize("row", [-1, 237])
def test_rows_outside_are_refused_before_the_first_block(counts, row):
    with pytest.raises(DataError, match=f"row {row} was asked for, but there are 237 cells"):
        iter_blocks(named(counts), rows=np.array([0, row]))
    with pytest.raises(DataError, match="block_cells is 0"):
        iter_blocks(named(counts), block_cells=0)


def test_a_wrong_scale_is_refused_before_the_first_block(counts):
    with pytest.raises(DataError, match="X is log-normalized"):
        iter_blocks(named(counts.log1p()))
    assert list(iter_blocks(named(counts.log1p()), assume_counts=True))


def test_a_fraction_in_a_late_row_is_found_in_its_block():
    many = sp.csr_matrix(np.ones((3000, 3), dtype=np.float32))
    many.data[3 * 1001] = 1.5
    blocks = iter_blocks(named(many), block_cells=500)
    assert next(blocks).counts_ng.sum() == 1500
    next(blocks)
    with pytest.raises(DataError, match=r"e\.g\. 1\.5"):
        next(blocks)


def test_memory_grows_with_the_block_and_not_with_the_cells(tmp_path):
    path = tmp_path / "large.h5ad"
    cells = named(sp.csr_matrix(np.ones((20_000, 200), dtype=np.float32)))
    cells.write_h5ad(path, compression="gzip")
    backed = read_cells(path, backed=True)
    whole = 20_000 * 200 * 8
    tracemalloc.start()
    total = sum(float(b.counts_ng.sum()) for b in iter_blocks(backed, block_cells=500))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 4_000_000
    assert peak < whole / 3


def test_damage_found_while_streaming_is_one_sentence(counts, tmp_path):
    path = tmp_path / "cells.h5ad"
    named(counts).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        file["X/indices"][-1] = 31
    with pytest.raises(DataError, match=r"cells\.h5ad: X is damaged: it holds the index 31"):
        list(iter_blocks(read_cells(path, backed=True)))


def test_real_blocks(real_data):
    path = real_data / "kang2018" / "kang2018_muscat_example_counts.h5ad"
    cells = read_cells(path, backed=True)
    together = sp.vstack([b.counts_ng for b in iter_blocks(cells, block_cells=300)])
    assert (together != counts_of(read_cells(path))).nnz == 0


@pytest.mark.parametrize("storage", [sp.csr_matrix, sp.csc_matrix, sp.csr_matrix.toarray])
@pytest.mark.parametrize("ending", [".h5ad", ".zarr"])
def test_a_path_is_streamed_as_stored(counts, storage, ending, tmp_path):
    path = tmp_path / f"cells{ending}"
    cells = named(storage(counts))
    cells.layers["half"] = storage(counts * 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (cells.write_zarr if ending == ".zarr" else cells.write_h5ad)(path)
    rows, columns = np.arange(1, 237, 3), np.arange(0, 31, 2)
    blocks = list(stream_blocks(path, layer="half", rows=rows, columns=columns))
    together = sp.vstack([b.counts_ng for b in blocks]).toarray()
    np.testing.assert_array_equal(together, counts.toarray()[np.ix_(rows, columns)] * 0.5)
    assert np.concatenate([b.rows for b in blocks]).tolist() == rows.tolist()
    assert np.concatenate([b.obs_names for b in blocks]).tolist() == [f"cell{i}" for i in rows]
    with pytest.raises(DataError, match=r"no matrix 'hafl': did you mean"):
        next(stream_blocks(path, layer="hafl"))


def test_a_file_stored_by_gene_is_not_held_whole(tmp_path):
    """Some megabytes of it at a time; the whole is 48 MB as CSR."""
    rng = np.random.default_rng(0)
    n, g, per_gene = 40_000, 100, 40_000
    indices = np.tile(np.arange(n, dtype=np.int32), g)
    data = rng.integers(1, 4, n * g).astype(np.float32)
    indptr = np.arange(0, n * g + 1, per_gene)
    path = tmp_path / "cells.h5ad"
    named(sp.csc_matrix((data, indices, indptr), shape=(n, g))).write_h5ad(path)
    total, most = 0.0, 0
    for block in stream_blocks(path, memory=16_000_000):
        total += float(block.counts_ng.data.sum())
        most = max(most, block.counts_ng.nnz)
    assert total == float(data.sum())
    assert most * 8 < 6_000_000
