"""Sparse rows put aside in an unnamed file and read back in order, as often as wanted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.data.disk.aside import AsideFile
from cellwright.data.disk.rows import Rows


class HeldRows:
    """Rows of g columns, in a file that stays open for as long as they are wanted."""

    def __init__(self, n_columns: int, aside: AsideFile) -> None:
        self._n_columns, self._file = n_columns, aside
        self._blocks: list[tuple[int, NDArray[Any], np.dtype[Any], bool]] = []

    def append(self, counts: sp.csr_matrix, merged: bool = False) -> None:
        """Put rows aside.

        Raises
        ------
        DataError
            If the disk is full.
        """
        at = self._file.add(counts.data.tobytes())
        self._file.add(counts.indices.astype(np.int32, copy=False).tobytes())
        self._blocks.append((at, counts.indptr.copy(), counts.data.dtype, merged))

    def rows(self, columns: NDArray[np.int64] | None = None) -> Iterator[Rows]:
        """All rows, in blocks as they were put aside; only ``columns`` of them if given."""
        start = 0
        for at, indptr, dtype, merged in self._blocks:
            nnz = int(indptr[-1])
            data = np.frombuffer(self._file.get(at, nnz * dtype.itemsize), dtype)
            indices = np.frombuffer(self._file.get(at + data.nbytes, nnz * 4), np.int32)
            counts = sp.csr_matrix(
                (data, indices, indptr), shape=(indptr.size - 1, self._n_columns), copy=False
            )
            yield Rows(counts if columns is None else counts[:, columns], start, merged)
            start += indptr.size - 1
