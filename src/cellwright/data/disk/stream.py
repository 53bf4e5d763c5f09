"""Rows of any matrix on disk as sparse blocks: stored by cell, by gene or dense, all alike."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellwright.data.disk.dense import dense_rows
from cellwright.data.disk.rows import Rows, csr_rows
from cellwright.data.disk.spill import csc_rows
from cellwright.data.stored import StoredMatrix


def stream_rows(
    matrix: StoredMatrix,
    rows: NDArray[np.int64] | None = None,
    columns: NDArray[np.int64] | None = None,
    *,
    memory: int,
    pool: ThreadPoolExecutor,
    folder: Path,
) -> Iterator[Rows]:
    """Sorted distinct rows of a matrix, in blocks whose size follows from ``memory``.

    Parameters
    ----------
    rows, columns
        Sorted distinct positions, None for all.
    memory
        Bytes that blocks in work may take together.
    folder
        Where a matrix stored by gene is put aside while its rows are gathered.

    Raises
    ------
    DataError
        If the matrix is damaged, or ``folder`` has no room.
    """
    wanted = np.arange(matrix.shape[0]) if rows is None else np.asarray(rows, np.int64)
    if matrix.format == "csr":
        return csr_rows(matrix, wanted, columns, memory=memory, pool=pool)
    by_gene = csc_rows if matrix.format == "csc" else dense_rows
    return by_gene(matrix, wanted, columns, memory=memory, pool=pool, folder=folder)
