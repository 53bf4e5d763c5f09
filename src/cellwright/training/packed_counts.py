"""Counts of cells held small, in memory or on disk, and given out by rows: the same rows from both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Self

import numba
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.data.disk.aside import AsideFile
from cellwright.models.linear_vae_fused import SparseRows

OTHER = 255
"""Stands for a count that does not fit in a byte, or is no whole number: that lies among ``others``."""
_PART = 256


class Counts(Protocol):
    """Counts of n cells × ``genes``, whose rows are given out in any order."""

    @property
    def genes(self) -> int: ...

    def __len__(self) -> int: ...

    def rows(self, rows: NDArray[np.int64]) -> SparseRows:
        """These cells as the model takes them."""
        ...


@dataclass(frozen=True)
class PackedCounts:
    """Counts of n cells in memory: CSR, mostly three bytes an entry.

    offsets_n: (n + 1,) int64; columns: uint16 below 65,536 genes, else int32; counts: uint8;
    other_offsets_n, others: the float32 values of the entries that are ``OTHER``, in their order;
    genes: width.
    """

    offsets_n: NDArray[np.int64]
    columns: NDArray[Any]
    counts: NDArray[np.uint8]
    other_offsets_n: NDArray[np.int64]
    others: NDArray[np.float32]
    genes: int

    @classmethod
    def of(cls, blocks: Iterable[sp.csr_matrix]) -> Self:
        """Pack CSR blocks of the same genes one below the other; one is held at a time."""
        columns: NDArray[Any] = np.empty(0, dtype=np.uint16)
        counts, others = np.empty(0, dtype=np.uint8), np.empty(0, dtype=np.float32)
        ends, other_ends = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
        genes = 0
        for block in blocks:
            genes = block.shape[1]
            packed = _packed(block)
            start, other_start = int(ends[-1][-1]), int(other_ends[-1][-1])
            ends.append(packed.offsets_n[1:] + start)
            other_ends.append(packed.other_offsets_n[1:] + other_start)
            if columns.dtype != packed.columns.dtype:
                columns = columns.astype(packed.columns.dtype)
            _put(columns, packed.columns, start)
            _put(counts, packed.counts, start)
            _put(others, packed.others, other_start)
        offsets_n, other_offsets_n = np.concatenate(ends), np.concatenate(other_ends)
        columns.resize(offsets_n[-1], refcheck=False)
        counts.resize(offsets_n[-1], refcheck=False)
        others.resize(other_offsets_n[-1], refcheck=False)
        return cls(offsets_n, columns, counts, other_offsets_n, others, genes)

    @classmethod
    def of_matrix(cls, counts_ng: sp.csr_matrix, block_cells: int = 4096) -> Self:
        """Pack one CSR matrix."""

        def blocks() -> Iterator[sp.csr_matrix]:
            for at in range(0, max(counts_ng.shape[0], 1), block_cells):
                block = sp.csr_matrix(counts_ng[at : at + block_cells])
                block.sum_duplicates()
                yield block

        return cls.of(blocks())

    def __len__(self) -> int:
        return len(self.offsets_n) - 1

    def rows(self, rows: NDArray[np.int64]) -> SparseRows:
        """These cells as the model takes them."""
        offsets_n = _offsets(self.offsets_n, rows)
        columns = np.empty(offsets_n[-1], dtype=np.int32)
        counts = np.empty(offsets_n[-1], dtype=np.float32)
        _pick(
            self.offsets_n,
            self.columns,
            self.counts,
            self.other_offsets_n,
            self.others,
            rows,
            offsets_n,
            columns,
            counts,
        )
        return SparseRows(offsets_n, columns, counts, self.genes)


@dataclass(frozen=True)
class CountsOnDisk:
    """As :class:`PackedCounts`, with the entries in a file: a cell is read where it lies, when asked for.

    Sixteen bytes a cell stay in memory. The file is read, not mapped: mapped pages would count as
    the process's own.
    """

    offsets_n: NDArray[np.int64]
    other_offsets_n: NDArray[np.int64]
    column_type: np.dtype[Any]
    file: AsideFile
    start: int
    genes: int

    @classmethod
    def of(cls, blocks: Iterable[sp.csr_matrix], file: AsideFile) -> Self:
        """Put CSR blocks of the same genes at the end of ``file``, which must stay open.

        Raises
        ------
        DataError
            If the disk is full.
        """
        start, genes, column_type = None, 0, np.dtype(np.uint16)
        ends, other_ends = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
        for block in blocks:
            genes, packed = block.shape[1], _packed(block)
            column_type = packed.columns.dtype
            at = file.add(b"".join(packed.records()))
            start = at if start is None else start
            ends.append(packed.offsets_n[1:] + ends[-1][-1])
            other_ends.append(packed.other_offsets_n[1:] + other_ends[-1][-1])
        offsets_n, other_offsets_n = np.concatenate(ends), np.concatenate(other_ends)
        return cls(offsets_n, other_offsets_n, column_type, file, start or 0, genes)

    def __len__(self) -> int:
        return len(self.offsets_n) - 1

    def rows(self, rows: NDArray[np.int64]) -> SparseRows:
        """These cells as the model takes them."""
        offsets_n = _offsets(self.offsets_n, rows)
        columns = np.empty(offsets_n[-1], dtype=np.int32)
        counts = np.empty(offsets_n[-1], dtype=np.float32)
        width = self.column_type.itemsize
        starts, ends = self._at(rows), self._at(rows + 1)
        for i, (start, end) in enumerate(zip(starts.tolist(), ends.tolist(), strict=True)):
            record = self.file.get(start, end - start)
            part = slice(offsets_n[i], offsets_n[i + 1])
            n = int(offsets_n[i + 1] - offsets_n[i])
            columns[part] = np.frombuffer(record, self.column_type, n)
            found = np.frombuffer(record, np.uint8, n, n * width)
            counts[part] = found
            if n * (width + 1) < len(record):
                others = np.frombuffer(record[n * (width + 1) :], np.float32)
                counts[part][found == OTHER] = others
        return SparseRows(offsets_n, columns, counts, self.genes)

    def _at(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where these cells begin in the file."""
        entry = self.column_type.itemsize + 1
        return self.start + self.offsets_n[rows] * entry + self.other_offsets_n[rows] * 4


def detected(cells: Counts) -> NDArray[np.int64]:
    """Cells with a count of each gene, (g,)."""
    found_g = np.zeros(cells.genes, dtype=np.int64)
    for part in _parts(cells):
        found_g += np.bincount(cells.rows(part).columns, minlength=cells.genes)
    return found_g


def totals(cells: Counts) -> NDArray[np.float64]:
    """Library sizes, (n,)."""
    parts = [cells.rows(part).totals() for part in _parts(cells)]
    return np.concatenate([np.empty(0, np.float32), *parts]).astype(np.float64)


def _parts(cells: Counts) -> Iterator[NDArray[np.int64]]:
    """All rows in order, few enough at a time to hold in full."""
    rows = np.arange(len(cells), dtype=np.int64)
    return (rows[at : at + _PART] for at in range(0, len(rows), _PART))


class _Packed(NamedTuple):
    """One block in the form of :class:`PackedCounts`."""

    offsets_n: NDArray[np.int64]
    columns: NDArray[Any]
    counts: NDArray[np.uint8]
    other_offsets_n: NDArray[np.int64]
    others: NDArray[np.float32]

    def records(self) -> Iterator[bytes]:
        """The bytes of its rows: columns, counts, others."""
        ends, other_ends = self.offsets_n.tolist(), self.other_offsets_n.tolist()
        for row in range(len(ends) - 1):
            part = slice(ends[row], ends[row + 1])
            yield self.columns[part].tobytes()
            yield self.counts[part].tobytes()
            yield self.others[other_ends[row] : other_ends[row + 1]].tobytes()


def _packed(block: sp.csr_matrix) -> _Packed:
    values, offsets_n = block.data, block.indptr.astype(np.int64)
    other = ~((values >= 0) & (values < OTHER) & (values % 1 == 0))
    counts = np.where(other, OTHER, values).astype(np.uint8)
    before = np.concatenate([[0], np.cumsum(other, dtype=np.int64)])
    kind = np.uint16 if block.shape[1] <= 1 << 16 else np.int32
    return _Packed(
        offsets_n,
        block.indices.astype(kind),
        counts,
        before[offsets_n],
        values[other].astype(np.float32),
    )


def _put(all_: NDArray[Any], part: NDArray[Any], start: int) -> None:
    """Write ``part`` at ``start``, growing in place, so that no second copy is held.

    NumPy fills what it adds with zeros, so little is added beyond what is needed.
    """
    end = start + len(part)
    if end > len(all_):
        all_.resize(end + end // 16, refcheck=False)
    all_[start:end] = part


def _offsets(offsets_n: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Offsets of these rows, one behind the other."""
    lengths = offsets_n[rows + 1] - offsets_n[rows]
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


@numba.njit(nogil=True, cache=True)
def _pick(
    offsets_n: NDArray[np.int64],
    columns: NDArray[Any],
    counts: NDArray[np.uint8],
    other_offsets_n: NDArray[np.int64],
    others: NDArray[np.float32],
    rows: NDArray[np.int64],
    to_offsets: NDArray[np.int64],
    to_columns: NDArray[np.int32],
    to_counts: NDArray[np.float32],
) -> None:
    for i in range(rows.size):
        at, other = to_offsets[i], other_offsets_n[rows[i]]
        for j in range(offsets_n[rows[i]], offsets_n[rows[i] + 1]):
            to_columns[at] = columns[j]
            if counts[j] == OTHER:
                to_counts[at] = others[other]
                other += 1
            else:
                to_counts[at] = counts[j]
            at += 1
