"""Entries that arrive by column and leave by row: sorted outside memory, in an unnamed file."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.data.disk.aside import AsideFile
from cellwright.data.disk.kernels import pick_rows
from cellwright.data.disk.rows import Rows, block_bytes, new_positions, outside, read_parts
from cellwright.data.stored import StoredMatrix


class Spill:
    """Puts entries of n rows × g columns aside by ranges of rows and gives them back as CSR.

    The columns of a row must arrive in rising order.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        dtype: np.dtype[Any],
        n_expected: int,
        memory: int,
        aside: AsideFile,
    ) -> None:
        self._shape, self._file = shape, aside
        self._record = np.dtype([("row", np.int32), ("column", np.int32), ("value", dtype)])
        self._limit = max(1, block_bytes(memory) // self._record.itemsize)
        ranges = max(1, -(-n_expected // self._limit))
        self._rows = max(1, -(-shape[0] // ranges))
        self._pieces: list[list[tuple[int, int]]] = [[] for _ in range(-(-shape[0] // self._rows))]

    def add(
        self, rows: NDArray[np.int32], columns: NDArray[np.int32], values: NDArray[Any]
    ) -> None:
        """Put entries aside.

        Raises
        ------
        DataError
            If the disk is full.
        """
        records = np.empty(rows.size, self._record)
        records["row"], records["column"], records["value"] = rows, columns, values
        bounds = np.array([0, rows.size])
        if len(self._pieces) > 1:
            range_of = rows // np.int32(self._rows)
            # Stable, so that columns keep rising; a radix sort where sixteen bits suffice.
            small = range_of.astype(np.uint16) if len(self._pieces) < 1 << 16 else range_of
            order = np.argsort(small, kind="stable")
            records = records[order]
            bounds = np.searchsorted(small[order], np.arange(len(self._pieces) + 1))
        start = self._file.add(records.tobytes())
        for number, (low, high) in enumerate(itertools.pairwise(bounds.tolist())):
            if high > low:
                at = start + low * self._record.itemsize
                self._pieces[number].append((at, high - low))

    def rows(self) -> Iterator[Rows]:
        """All rows, in order, in blocks; those without entries too."""
        for number, pieces in enumerate(self._pieces):
            first = number * self._rows
            last = min(first + self._rows, self._shape[0])
            # Where rows are much fuller than the average, a range is read more than once.
            times = max(1, -(-sum(n for _, n in pieces) // (2 * self._limit)))
            edges = np.unique(np.linspace(first, last, times + 1).astype(np.int64))
            for low, high in itertools.pairwise(edges.tolist()):
                yield self._block(pieces, low, high)

    def _block(self, pieces: list[tuple[int, int]], low: int, high: int) -> Rows:
        found = []
        for at, n in pieces:
            records = np.frombuffer(self._file.get(at, n * self._record.itemsize), self._record)
            inside = (records["row"] >= low) & (records["row"] < high)
            found.append(records if inside.all() else records[inside])
        records = np.concatenate(found) if found else np.empty(0, self._record)
        entries = sp.coo_matrix(
            (np.ascontiguousarray(records["value"]), (records["row"] - low, records["column"])),
            shape=(high - low, self._shape[1]),
        )
        counts = entries.tocsr()
        return Rows(counts, low, merged=bool(counts.nnz < records.size))


def csc_rows(
    matrix: StoredMatrix,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64] | None,
    *,
    memory: int,
    pool: ThreadPoolExecutor,
    folder: Path,
) -> Iterator[Rows]:
    """Sorted distinct rows of a CSC matrix, in blocks: its columns are read once, in order.

    Raises
    ------
    DataError
        If the matrix is damaged, or ``folder`` has no room.
    """
    n, g = matrix.shape
    wanted = np.arange(g) if columns is None else columns
    new_of_n = new_positions(rows, n)
    stored = int((matrix.indptr[wanted + 1] - matrix.indptr[wanted]).sum())
    dtype = np.dtype(matrix.dtype).newbyteorder("=")
    with AsideFile(folder) as aside:
        spill = Spill((rows.size, wanted.size), dtype, int(stored * rows.size / n), memory, aside)
        for part, values, row_at in read_parts(matrix, wanted, memory=memory, pool=pool, extra=16):
            total = int(part.lengths_n.sum())
            positions = np.empty(total, np.int64)
            new_rows, column_at = np.empty(total, np.int32), np.empty(total, np.int32)
            kept, wrong = pick_rows(
                part.offsets_n, part.lengths_n, row_at, new_of_n, positions, new_rows, column_at
            )
            if wrong != -1:
                raise outside(matrix, wrong)
            spill.add(
                new_rows[:kept], column_at[:kept] + np.int32(part.start), values[positions[:kept]]
            )
        yield from spill.rows()
