"""Sparse rows put aside in an unnamed file and read back in order, as often as wanted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.data.disk.rows import Rows


class HeldRows:
    """Rows of g columns; the file lies in ``folder``, has no name, and goes with the process."""

    def __init__(self, n_columns: int, folder: Path) -> None:
        self._n_columns = n_columns
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (open as long as the object)
        self._blocks: list[tuple[int, NDArray[Any], np.dtype[Any], bool]] = []
        self._end = 0

    def append(self, counts: sp.csr_matrix, merged: bool = False) -> None:
        """Put rows aside.

        Raises
        ------
        OSError
            If the disk is full.
        """
        self._file.seek(self._end)
        self._blocks.append((self._end, counts.indptr.copy(), counts.data.dtype, merged))
        for part in (counts.data, counts.indices.astype(np.int32, copy=False)):
            self._file.write(part.tobytes())
            self._end += part.nbytes

    def rows(self, columns: NDArray[np.int64] | None = None) -> Iterator[Rows]:
        """All rows, in blocks as they were put aside; only ``columns`` of them if given."""
        start = 0
        for at, indptr, dtype, merged in self._blocks:
            nnz = int(indptr[-1])
            self._file.seek(at)
            data = np.frombuffer(self._file.read(nnz * dtype.itemsize), dtype)
            indices = np.frombuffer(self._file.read(nnz * 4), np.int32)
            counts = sp.csr_matrix(
                (data, indices, indptr), shape=(indptr.size - 1, self._n_columns), copy=False
            )
            yield Rows(counts if columns is None else counts[:, columns], start, merged)
            start += indptr.size - 1
