"""Selected rows of a dense matrix on disk as sparse blocks, tile by tile, inflated on threads."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.data.disk.arrays import known_filters, unpacked
from cellwright.data.disk.aside import AsideFile
from cellwright.data.disk.kernels import count_dense, pack_dense
from cellwright.data.disk.nodes import file_of
from cellwright.data.disk.rows import Rows, block_bytes
from cellwright.data.disk.spill import Spill
from cellwright.data.stored import StoredMatrix
from cellwright.errors import DataError


def dense_rows(
    matrix: StoredMatrix,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64] | None,
    *,
    memory: int,
    pool: ThreadPoolExecutor,
    folder: Path,
) -> Iterator[Rows]:
    """Sorted distinct rows of a dense matrix, in blocks; zeros are left out, all else is kept.

    A matrix in tiles so tall that a band of them does not fit is read by columns and put aside in
    ``folder``.

    Raises
    ------
    DataError
        If the matrix is damaged, or ``folder`` has no room.
    """
    tiles = _Tiles(matrix, columns)
    limit = block_bytes(memory)
    packed_row = max(1, tiles.n_columns) * (matrix.dtype.itemsize + 8)
    # Tiles are read whole, also where few of their columns are kept, two at once.
    full_row = max(packed_row, 2 * tiles.width * matrix.dtype.itemsize)
    if tiles.height is None:
        height = max(1, limit // full_row)
    elif min(tiles.height, rows.size) * packed_row <= memory // 4:
        height = tiles.height * max(1, limit // (full_row * tiles.height))
    else:
        yield from _by_columns(tiles, matrix, rows, memory, folder)
        return
    band_of = rows // height
    cuts = np.flatnonzero(np.diff(band_of)) + 1
    start = 0
    for wanted in np.split(rows, cuts):
        if not wanted.size:
            continue
        found = list(
            pool.map(lambda tile, wanted=wanted: tiles.read(wanted, *tile), tiles.across())
        )
        yield Rows(sp.csr_matrix(sp.hstack(found, format="csr", dtype=tiles.dtype)), start)
        start += wanted.size


def _by_columns(
    tiles: _Tiles, matrix: StoredMatrix, rows: NDArray[np.int64], memory: int, folder: Path
) -> Iterator[Rows]:
    shape = (int(rows.size), tiles.n_columns)
    with AsideFile(folder) as aside:
        spill = Spill(shape, tiles.dtype, shape[0] * shape[1] // 4, memory, aside)
        tall = tiles.height or 1
        for low, high in tiles.across():
            first = tiles.n_kept_before(low)
            for band in np.split(np.arange(rows.size), np.flatnonzero(np.diff(rows // tall)) + 1):
                # A tall tile is cut again where many of its rows are wanted.
                part = tiles.read(rows[band], low, high).tocoo()
                by_column = np.argsort(part.col, kind="stable")
                spill.add(
                    (part.row[by_column] + band[0]).astype(np.int32),
                    (part.col[by_column] + first).astype(np.int32),
                    part.data[by_column],
                )
        yield from spill.rows()


class _Tiles:
    """The grid in which a dense matrix is stored, and the columns wanted of it."""

    def __init__(self, matrix: StoredMatrix, columns: NDArray[np.int64] | None) -> None:
        self.matrix, self.node = matrix, matrix.node
        self.dtype = np.dtype(matrix.dtype).newbyteorder("=")
        self._columns = columns
        chunks = getattr(matrix.node, "chunks", None)
        self.height: int | None = int(chunks[0]) if chunks else None
        self.width = int(chunks[1]) if chunks else matrix.shape[1]
        self._filters = known_filters(matrix.node)
        self.n_columns = matrix.shape[1] if columns is None else int(columns.size)

    def across(self) -> list[tuple[int, int]]:
        """First and last column of each tile that holds wanted columns."""
        g = self.matrix.shape[1]
        edges = [(low, min(low + self.width, g)) for low in range(0, g, self.width)]
        return [
            e
            for e in edges
            if self._columns is None or self.n_kept_before(e[1]) > self.n_kept_before(e[0])
        ]

    def n_kept_before(self, column: int) -> int:
        """How many wanted columns lie before this one."""
        return column if self._columns is None else int(np.searchsorted(self._columns, column))

    def read(self, rows: NDArray[np.int64], low: int, high: int) -> sp.csr_matrix:
        """Sorted rows, the wanted columns among [low, high)."""
        found = [
            _packed(tile, inside, high - low, self.dtype)
            for tile, inside in self._tiles(rows, low, high)
        ]
        part = found[0] if len(found) == 1 else sp.vstack(found, format="csr")
        if self._columns is not None:
            kept = self._columns[self.n_kept_before(low) : self.n_kept_before(high)]
            part = part[:, kept - low]
        return sp.csr_matrix(part)

    def _tiles(
        self, rows: NDArray[np.int64], low: int, high: int
    ) -> Iterator[tuple[NDArray[Any], NDArray[np.int64]]]:
        """The stored tiles that hold the rows, and the positions of the rows in each."""
        first, last = int(rows[0]), int(rows[-1]) + 1
        if self._filters is None or self.height is None:
            try:
                yield np.asarray(self.node[first:last, low:high]), rows - first
            except (OSError, RuntimeError, ValueError) as error:
                raise self._damaged(error) from error
            return
        for tile in range(first // self.height, -(-last // self.height)):
            start, stop = np.searchsorted(rows, [tile * self.height, (tile + 1) * self.height])
            if stop > start:
                yield self._tile(tile, low), rows[start:stop] - tile * self.height

    def _tile(self, tile: int, low: int) -> NDArray[Any]:
        top = tile * (self.height or 0)
        shape = (self.height or 0, self.width)
        try:
            skipped, packed = self.node.id.read_direct_chunk((top, low))
        except (OSError, RuntimeError, ValueError):
            skipped, packed = 1, b""
        if skipped:
            # Never written, or stored in another way: HDF5 itself knows.
            part = np.zeros(shape, self.dtype)
            try:
                whole = self.node[top : top + shape[0], low : low + shape[1]]
            except (OSError, RuntimeError, ValueError) as error:
                raise self._damaged(error) from error
            part[: whole.shape[0], : whole.shape[1]] = whole
            return part
        try:
            return unpacked(
                packed, self._filters or (), self.node.dtype, shape[0] * shape[1]
            ).reshape(shape)
        except (zlib.error, ValueError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> DataError:
        text = " ".join(str(error).split())
        return DataError(
            f"{file_of(self.node)} is damaged at {self.matrix.name}: {text}; copy or download it again"
        )


def _packed(
    tile: NDArray[Any], rows: NDArray[np.int64], width: int, dtype: np.dtype[Any]
) -> sp.csr_matrix:
    """Rows of a dense tile without their zeros; the tile may be wider than the matrix."""
    inside = tile[:, :width].astype(dtype, copy=False)
    lengths = np.empty(rows.size, np.int64)
    count_dense(inside, rows, lengths)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    columns, values = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], dtype)
    pack_dense(inside, rows, columns, values)
    return sp.csr_matrix((values, columns, indptr), shape=(rows.size, width))
