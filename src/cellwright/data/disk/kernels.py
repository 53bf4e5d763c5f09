"""Loops over the entries of sparse rows, compiled: NumPy would need several passes and copies."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray


@numba.njit(nogil=True, cache=True)
def count_kept(
    offsets_n: NDArray[np.int64],
    lengths_n: NDArray[np.int64],
    indices: NDArray[Any],
    new_of_g: NDArray[np.int32],
    kept_n: NDArray[np.int64],
) -> tuple[int, bool]:
    """Entries per row whose column is kept (``new_of_g`` is not -1), into ``kept_n``.

    Returns a column outside ``new_of_g`` if there is one, else -1, and whether the columns rise
    in every row.
    """
    n_g = new_of_g.size
    rising = True
    for row in range(offsets_n.size):
        kept, last = 0, -1
        for at in range(offsets_n[row], offsets_n[row] + lengths_n[row]):
            column = indices[at]
            if column < 0 or column >= n_g:
                return column, rising
            if column <= last:
                rising = False
            last = column
            if new_of_g[column] >= 0:
                kept += 1
        kept_n[row] = kept
    return -1, rising


@numba.njit(nogil=True, cache=True)
def place_kept(
    offsets_n: NDArray[np.int64],
    lengths_n: NDArray[np.int64],
    indices: NDArray[Any],
    new_of_g: NDArray[np.int32],
    positions: NDArray[np.int64],
    columns: NDArray[np.int32],
) -> None:
    """Where the kept entries stand and their new columns, row after row."""
    at_out = 0
    for row in range(offsets_n.size):
        for at in range(offsets_n[row], offsets_n[row] + lengths_n[row]):
            new = new_of_g[indices[at]]
            if new >= 0:
                positions[at_out] = at
                columns[at_out] = new
                at_out += 1


@numba.njit(nogil=True, cache=True)
def tally(
    indptr: NDArray[np.int64],
    indices: NDArray[Any],
    nonzero: NDArray[np.bool_],
    rows_per_g: NDArray[np.int64],
    genes_per_n: NDArray[np.int64],
) -> None:
    """Add the nonzero entries per column and per row; ``nonzero`` is empty if all entries are."""
    everything = nonzero.size == 0
    for row in range(indptr.size - 1):
        count = 0
        for at in range(indptr[row], indptr[row + 1]):
            if everything or nonzero[at]:
                rows_per_g[indices[at]] += 1
                count += 1
        genes_per_n[row] += count


@numba.njit(nogil=True, cache=True)
def add_moments(
    indices: NDArray[Any],
    data: NDArray[Any],
    detected_g: NDArray[np.int64],
    sum_g: NDArray[np.float64],
    square_g: NDArray[np.float64],
) -> None:
    """Add entry after entry, so that the sums do not depend on how the rows come in blocks."""
    for at in range(indices.size):
        value = np.float64(data[at])
        column = indices[at]
        if value != 0:
            detected_g[column] += 1
        sum_g[column] += value
        square_g[column] += value * value


@numba.njit(nogil=True, cache=True)
def pick_rows(
    offsets_g: NDArray[np.int64],
    lengths_g: NDArray[np.int64],
    rows: NDArray[Any],
    new_of_n: NDArray[np.int32],
    positions: NDArray[np.int64],
    new_rows: NDArray[np.int32],
    column_at: NDArray[np.int32],
) -> tuple[int, int]:
    """Entries of columns whose row is kept: where each stands, its new row, its column's number.

    Returns how many there are, and a row outside the matrix if there is one, else -1.
    """
    n = 0
    for column in range(offsets_g.size):
        for at in range(offsets_g[column], offsets_g[column] + lengths_g[column]):
            row = rows[at]
            if row < 0 or row >= new_of_n.size:
                return n, row
            if new_of_n[row] >= 0:
                positions[n] = at
                new_rows[n] = new_of_n[row]
                column_at[n] = column
                n += 1
    return n, -1


@numba.njit(nogil=True, cache=True)
def tally_columns(
    offsets_g: NDArray[np.int64],
    lengths_g: NDArray[np.int64],
    rows: NDArray[Any],
    nonzero: NDArray[np.bool_],
    new_of_n: NDArray[np.int32],
    cells_per_g: NDArray[np.int64],
    genes_per_n: NDArray[np.int64],
) -> tuple[int, bool]:
    """Add the nonzero entries of columns, per column and per kept row.

    Returns a row outside the matrix if there is one, else -1, and whether the rows rise in every
    column.
    """
    everything = nonzero.size == 0
    rising = True
    for column in range(offsets_g.size):
        count, last = 0, -1
        for at in range(offsets_g[column], offsets_g[column] + lengths_g[column]):
            row = rows[at]
            if row < 0 or row >= new_of_n.size:
                return row, rising
            if row <= last:
                rising = False
            last = row
            if new_of_n[row] >= 0 and (everything or nonzero[at]):
                genes_per_n[new_of_n[row]] += 1
                count += 1
        cells_per_g[column] += count
    return -1, rising


@numba.njit(nogil=True, cache=True)
def count_dense(tile: NDArray[Any], rows: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
    """Nonzero values in the given rows of a dense tile."""
    for number in range(rows.size):
        count = 0
        for column in range(tile.shape[1]):
            if tile[rows[number], column] != 0:
                count += 1
        lengths[number] = count


@numba.njit(nogil=True, cache=True)
def pack_dense(
    tile: NDArray[Any],
    rows: NDArray[np.int64],
    columns: NDArray[np.int32],
    values: NDArray[Any],
) -> None:
    """The nonzero values in the given rows of a dense tile and their columns, row after row."""
    at = 0
    for number in range(rows.size):
        for column in range(tile.shape[1]):
            value = tile[rows[number], column]
            if value != 0:
                columns[at] = column
                values[at] = value
                at += 1
