"""Count rows in blocks, from memory or from disk, so that memory does not grow with the cells."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.data.disk.arrays import new_pool
from cellwright.data.disk.rewrite import DEFAULT_MEMORY
from cellwright.data.disk.source import open_source
from cellwright.data.disk.stream import stream_rows
from cellwright.data.matrix import (
    checked,
    layer_in_use,
    matrix_of,
    refuse,
    some_rows,
    stored,
    take_rows,
    to_csr,
    where_else,
)
from cellwright.data.scale import verdict
from cellwright.data.stored import StoredMatrix
from cellwright.errors import DataError
from cellwright.interfaces import RowBlock

log = logging.getLogger("cellwright.data")

_JUDGED_COLUMNS = 64


def iter_blocks(
    cells: AnnData,
    *,
    layer: str | None = None,
    rows: NDArray[np.int64] | None = None,
    block_cells: int = 4096,
    assume_counts: bool = False,
) -> Iterator[RowBlock]:
    """Counts of cells, some rows at a time, in the order asked for.

    The matrix is found and judged as in :func:`cellwright.data.reading.counts_of`, on rows spread
    over it before the first block, and every block again as it is read. A matrix on disk stored by
    gene (CSC) is turned into rows outside memory, unless ``rows`` are out of order.

    Parameters
    ----------
    rows
        (m,) positions of the cells wanted, in any order; default all of them.
    block_cells
        Most cells in a block.

    Returns
    -------
    Blocks with CSR counts as :func:`~cellwright.data.reading.counts_of` makes them (a block may
    be float64 where another is float32), the names and the positions of its cells.

    Raises
    ------
    DataError
        If the matrix does not hold counts, or a row lies outside the cells.
    """
    if block_cells < 1:
        raise DataError(f"block_cells is {block_cells}, expected at least 1")
    wanted = np.arange(cells.n_obs) if rows is None else np.asarray(rows, dtype=np.int64)
    if wanted.size and not -1 < wanted.min() <= wanted.max() < cells.n_obs:
        wrong = wanted[(wanted < 0) | (wanted >= cells.n_obs)][0]
        raise DataError(f"row {wrong} was asked for, but there are {cells.n_obs} cells")
    name = layer_in_use(cells, layer)
    matrix = matrix_of(cells, name)
    # Opened once: its offsets are read with the first block and kept.
    matrix = stored(matrix, name) or matrix
    by_gene = isinstance(matrix, StoredMatrix) and matrix.format == "csc"
    if by_gene and (np.diff(wanted) <= 0).any():
        log.info(
            "%s is stored by gene (CSC) and its rows are asked for out of order: it is turned in memory",
            name,
        )
        matrix = to_csr(matrix, name)
    judged = verdict(_judged_rows(cells, matrix, name))
    refuse(
        judged,
        name=name,
        assume_counts=assume_counts,
        elsewhere=lambda: where_else(cells, name),
    )
    names = cells.obs_names.to_numpy().astype(str)
    return _blocks(matrix, name, wanted, names, block_cells, assume_counts)


def stream_blocks(
    path: Path | str,
    *,
    layer: str = "X",
    rows: NDArray[np.int64] | None = None,
    columns: NDArray[np.int64] | None = None,
    memory: int = DEFAULT_MEMORY,
) -> Iterator[RowBlock]:
    """Rows of a matrix of an .h5ad or .zarr, as stored, in blocks whose size follows from ``memory``.

    Parameters
    ----------
    layer
        ``X``, ``layers/NAME`` or the name of a layer, or ``raw/X``.
    rows, columns
        Sorted distinct positions, None for all.
    memory
        Bytes that blocks in work may take together.

    Returns
    -------
    Blocks with CSR values of the type stored, whatever the storage (CSR, CSC, dense); a gene that
    stands twice in a cell is summed. Nothing is said about whether they are counts.

    Raises
    ------
    DataError
        If there is no such layer, a position lies outside, or the file is damaged.
    """
    with open_source(path) as source, new_pool() as pool:
        name = source.named(layer)
        matrix = source.matrix(name)
        names = source.obs.index().to_numpy().astype(str)
        wanted = np.arange(matrix.shape[0]) if rows is None else np.asarray(rows, np.int64)
        with tempfile.TemporaryDirectory() as folder:
            for block in stream_rows(
                matrix, wanted, columns, memory=memory, pool=pool, folder=Path(folder)
            ):
                positions = wanted[block.start : block.start + block.counts.shape[0]]
                yield RowBlock(block.counts, names[positions], positions)


def _judged_rows(cells: AnnData, matrix: Any, name: str) -> sp.csr_matrix:
    """Rows to judge the scale by; of a matrix stored by gene, columns with all their cells."""
    if isinstance(matrix, StoredMatrix) and matrix.format == "csc":
        columns = np.unique(np.linspace(0, matrix.shape[1] - 1, _JUDGED_COLUMNS).astype(np.int64))
        return matrix.take_columns(columns).tocsr()
    return some_rows(cells, matrix, name)


def _blocks(
    matrix: object,
    name: str,
    wanted: NDArray[np.int64],
    names: NDArray[np.str_],
    block_cells: int,
    assume_counts: bool,
) -> Iterator[RowBlock]:
    if isinstance(matrix, StoredMatrix) and matrix.format == "csc":
        taken = _by_gene(matrix, name, wanted, block_cells)
    else:
        starts = range(0, wanted.size, block_cells)
        taken = (take_rows(matrix, name, wanted[at : at + block_cells]) for at in starts)
    at = 0
    for part in taken:
        rows = wanted[at : at + part.shape[0]]
        counts = checked(part, assume_counts=assume_counts, name=name)
        yield RowBlock(counts_ng=counts, obs_names=names[rows], rows=rows)
        at += part.shape[0]


def _by_gene(
    matrix: StoredMatrix, name: str, rows: NDArray[np.int64], block_cells: int
) -> Iterator[sp.csr_matrix]:
    """Rows of a CSC matrix, gathered outside memory, so many in a block."""
    with new_pool() as pool, tempfile.TemporaryDirectory() as folder:
        left = sp.csr_matrix((0, matrix.shape[1]), dtype=matrix.dtype)
        for block in stream_rows(
            matrix, rows, memory=DEFAULT_MEMORY, pool=pool, folder=Path(folder)
        ):
            left = sp.csr_matrix(sp.vstack([left, block.counts], format="csr"))
            whole = left.shape[0] // block_cells * block_cells
            for at in range(0, whole, block_cells):
                yield to_csr(left[at : at + block_cells], name)
            left = left[whole:]
        if left.shape[0]:
            yield to_csr(left, name, copy=False)
