"""Selected rows of a CSR matrix on disk as blocks, within a memory bound, the next one read ahead."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.data.disk.arrays import ArrayReader, Pending
from cellwright.data.disk.kernels import count_kept, place_kept
from cellwright.data.stored import StoredMatrix
from cellwright.errors import DataError

MOST_ROWS = 1 << 17
_SHARE = 16
_LARGEST = 48 << 20


@dataclass(frozen=True)
class Rows:
    """Consecutive rows of a selection.

    ``counts``: (m, g) CSR, columns rising in every row; ``start``: position in the selection of
    the first; ``merged``: True if a column stood twice in a row and was summed.
    """

    counts: sp.csr_matrix
    start: int
    merged: bool = False


def block_bytes(memory: int) -> int:
    """Bytes of one block: a dozen of them are held at once, read, cut, packed."""
    return int(min(_LARGEST, max(memory // _SHARE, 1 << 16)))


def csr_rows(
    matrix: StoredMatrix,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64] | None,
    *,
    memory: int,
    pool: ThreadPoolExecutor,
) -> Iterator[Rows]:
    """Sorted distinct rows of a CSR matrix, in blocks.

    Parameters
    ----------
    columns
        Sorted distinct columns to keep, None for all.
    memory
        Bytes that blocks in work may take together.

    Raises
    ------
    DataError
        If the matrix is damaged.
    """
    new_of_g = new_positions(columns, matrix.shape[1])
    width = matrix.shape[1] if columns is None else int(columns.size)
    for part, values, indices in read_parts(matrix, rows, memory=memory, pool=pool):
        yield _cut(part, values, indices, matrix, new_of_g, columns is None, width)


def read_parts(
    matrix: StoredMatrix,
    major: NDArray[np.int64],
    *,
    memory: int,
    pool: ThreadPoolExecutor,
    extra: int = 0,
) -> Iterator[tuple[Part, NDArray[Any], NDArray[Any]]]:
    """Sorted distinct rows of a CSR matrix (columns of a CSC one), values and indices as stored.

    The next part is read while one is in use. ``extra``: bytes that the use of an entry takes.
    """
    data = ArrayReader(matrix.node["data"], pool)
    indices = ArrayReader(matrix.node["indices"], pool)
    limit = max(1, block_bytes(memory) // (data.dtype.itemsize + indices.dtype.itemsize + extra))
    waiting: tuple[Part, Pending, Pending] | None = None
    for part in _parts(matrix.indptr, major, limit, max(data.gap, indices.gap)):
        begun = (part, data.begin(part.starts, part.stops), indices.begin(part.starts, part.stops))
        if waiting:
            yield waiting[0], waiting[1].get(), waiting[2].get()
        waiting = begun
    if waiting:
        yield waiting[0], waiting[1].get(), waiting[2].get()


def outside(matrix: StoredMatrix, index: int) -> DataError:
    """The error for an index that points beyond the matrix."""
    n, what = (matrix.shape[1], "columns") if matrix.format == "csr" else (matrix.shape[0], "cells")
    return DataError(
        f"{matrix.where} is damaged: it holds the index {index}, but there are {n} {what}; "
        "write the file again"
    )


def new_positions(columns: NDArray[np.int64] | None, n_g: int) -> NDArray[np.int32]:
    """The new position of every column, -1 for one that is left out."""
    if columns is None:
        return np.arange(n_g, dtype=np.int32)
    new_of_g = np.full(n_g, -1, np.int32)
    new_of_g[columns] = np.arange(columns.size, dtype=np.int32)
    return new_of_g


@dataclass(frozen=True)
class Part:
    """Some rows of a selection, the first of them at ``start``, as they stand in what was read.

    Row i has the ``lengths_n[i]`` entries from ``offsets_n[i]`` on; what was read are the stretches
    [``starts``, ``stops``) of the file, one after another.
    """

    start: int
    offsets_n: NDArray[np.int64]
    lengths_n: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]


def _parts(
    indptr: NDArray[np.int64], rows: NDArray[np.int64], limit: int, gap: int
) -> Iterator[Part]:
    start = 0
    while start < rows.size:
        ahead = rows[start : start + MOST_ROWS]
        begins, ends = indptr[ahead], indptr[ahead + 1]
        apart = np.concatenate([[0], begins[1:] - ends[:-1]])
        cost = np.cumsum(ends - begins + np.where(apart < gap, apart, 0))
        n = max(1, int(np.searchsorted(cost, limit, side="right")))
        begins, ends, apart = begins[:n], ends[:n], apart[:n]
        firsts = np.flatnonzero(np.concatenate([[True], apart[1:] >= gap]))
        starts = begins[firsts]
        stops = ends[np.concatenate([firsts[1:] - 1, [n - 1]])]
        base = np.concatenate([[0], np.cumsum(stops - starts)[:-1]])
        stretch = np.repeat(np.arange(firsts.size), np.diff(np.concatenate([firsts, [n]])))
        yield Part(start, begins - starts[stretch] + base[stretch], ends - begins, starts, stops)
        start += n


def _cut(
    part: Part,
    values: NDArray[Any],
    columns: NDArray[Any],
    matrix: StoredMatrix,
    new_of_g: NDArray[np.int32],
    all_columns: bool,
    width: int,
) -> Rows:
    """The rows wanted out of the stretches that were read."""
    kept_n = np.empty(part.lengths_n.size, np.int64)
    wrong, rising = count_kept(part.offsets_n, part.lengths_n, columns, new_of_g, kept_n)
    if wrong != -1:
        raise outside(matrix, wrong)
    total = int(kept_n.sum())
    if all_columns and total == values.size:
        columns = columns.astype(np.int32, copy=False)
    else:
        positions, new = np.empty(total, np.int64), np.empty(total, np.int32)
        place_kept(part.offsets_n, part.lengths_n, columns, new_of_g, positions, new)
        values, columns = values[positions], new
    indptr = np.concatenate([[0], np.cumsum(kept_n)])
    counts = sp.csr_matrix((values, columns, indptr), shape=(kept_n.size, width))
    return Rows(counts, part.start, merged=not rising and made_canonical(counts))


def made_canonical(counts: sp.csr_matrix) -> bool:
    """Sort the columns within rows and sum those that stand twice; True if there were such."""
    counts.has_canonical_format = counts.has_sorted_indices = False
    before = counts.nnz
    counts.sum_duplicates()
    return bool(counts.nnz < before)
