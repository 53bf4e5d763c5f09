"""Rows of a matrix read by several processes: each writes its blocks to files, one reads them in order."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.data.disk.arrays import new_pool
from cellwright.data.disk.aside import shared_folder
from cellwright.data.disk.crew import Crew
from cellwright.data.disk.rows import Rows, block_bytes
from cellwright.data.disk.source import open_source
from cellwright.data.disk.stream import stream_rows
from cellwright.data.stored import StoredMatrix
from cellwright.errors import DataError

_BLOCKS_PER_TASK = 4


def shared_rows(
    crew: Crew,
    path: Path,
    matrix: StoredMatrix,
    rows: NDArray[np.int64] | None,
    columns: NDArray[np.int64] | None,
    *,
    memory: int,
    folder: Path,
) -> Iterator[Rows]:
    """As :func:`~cellwright.data.disk.stream.stream_rows`, read by the workers of ``crew``.

    ``path`` and ``folder`` must mean the same on every machine. A matrix stored by gene has to be
    read by one process: use ``stream_rows``.
    """
    wanted = np.arange(matrix.shape[0]) if rows is None else rows
    with shared_folder(folder) as shared:
        tasks = (
            (
                str(path.absolute()),
                matrix.name,
                wanted[low:high],
                columns,
                memory,
                f"{shared}/{low}",
            )
            for low, high in spans(matrix, wanted, memory)
        )
        start = 0
        for file, n, merged in crew.map(write_rows, tasks):
            counts = load_rows(file)
            yield Rows(counts, start, merged)
            Path(file).unlink()
            start += n


def spans(matrix: StoredMatrix, rows: NDArray[np.int64], memory: int) -> Iterator[tuple[int, int]]:
    """Cut a selection of rows into tasks of about the same size, a few blocks each."""
    if matrix.format == "dense":
        row_bytes = np.full(rows.size, matrix.shape[1] * matrix.dtype.itemsize, np.int64)
    else:
        row_bytes = (matrix.indptr[rows + 1] - matrix.indptr[rows]) * (matrix.dtype.itemsize + 4)
    ends = np.cumsum(row_bytes + 64)
    step = _BLOCKS_PER_TASK * block_bytes(memory)
    low = 0
    while low < rows.size:
        before = int(ends[low - 1]) if low else 0
        high = max(low + 1, int(np.searchsorted(ends, before + step, side="right")))
        yield low, high
        low = high


def write_rows(
    path: str,
    name: str,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64] | None,
    memory: int,
    file: str,
) -> tuple[str, int, bool]:
    """The work of one task: read rows and write them to ``file``; doing it twice changes nothing.

    Raises
    ------
    DataError
        If the source cannot be read here, or is damaged.
    """
    folder = Path(file).parent
    if not folder.is_dir():
        raise DataError(f"a Dask worker does not see {folder}: files must lie at one path for all")
    with open_source(path) as source, new_pool() as pool:
        matrix = source.matrix(name)
        blocks = list(stream_rows(matrix, rows, columns, memory=memory, pool=pool, folder=folder))
        counts = sp.csr_matrix(sp.vstack([b.counts for b in blocks], format="csr"))
    save_rows(file, counts)
    return file, counts.shape[0], any(b.merged for b in blocks)


def save_rows(file: str, counts: sp.csr_matrix) -> None:
    """Write CSR rows to a file that appears when it is complete."""
    half = f"{file}.{os.getpid()}"
    with Path(half).open("wb") as handle:
        for part in (np.array(counts.shape), counts.indptr, counts.indices, counts.data):
            np.save(handle, part, allow_pickle=False)
    Path(half).replace(file)


def load_rows(file: str) -> sp.csr_matrix:
    """Read what ``save_rows`` wrote."""
    with Path(file).open("rb") as handle:
        parts: list[Any] = [np.load(handle, allow_pickle=False) for _ in range(4)]
    shape, indptr, indices, data = parts
    return sp.csr_matrix((data, indices, indptr), shape=tuple(shape))
