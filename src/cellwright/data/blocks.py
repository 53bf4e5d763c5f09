"""Count rows in blocks, from memory or from disk, so that memory does not grow with the cells."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

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
from cellwright.errors import DataError
from cellwright.interfaces import RowBlock

log = logging.getLogger("cellwright.data")


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
    over it before the first block, and every block again as it is read. A matrix stored by gene
    (CSC) is turned into CSR in memory first.

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
    if getattr(matrix, "format", "") == "csc":
        log.info("%s is stored by gene (CSC); it is turned into rows in memory first", name)
        matrix = to_csr(matrix, name)
    judged = verdict(some_rows(cells, matrix, name))
    refuse(
        judged,
        name=name,
        assume_counts=assume_counts,
        elsewhere=lambda: where_else(cells, name),
    )
    names = cells.obs_names.to_numpy().astype(str)
    return _blocks(matrix, name, wanted, names, block_cells, assume_counts)


def _blocks(
    matrix: object,
    name: str,
    wanted: NDArray[np.int64],
    names: NDArray[np.str_],
    block_cells: int,
    assume_counts: bool,
) -> Iterator[RowBlock]:
    for at in range(0, wanted.size, block_cells):
        rows = wanted[at : at + block_cells]
        counts = checked(take_rows(matrix, name, rows), assume_counts=assume_counts, name=name)
        yield RowBlock(counts_ng=counts, obs_names=names[rows], rows=rows)
