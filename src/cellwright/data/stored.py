"""Rows of a count matrix that stays on disk: CSR, CSC or dense, read piece by piece."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.data.disk.nodes import file_of, is_array, is_group
from cellwright.errors import DataError

MatrixFormat = Literal["csr", "csc", "dense"]

# Two wanted stretches of a compressed array closer than this are read as one: seeking inside a
# chunk costs as much as reading it.
_GAP = 4096


@dataclass(frozen=True)
class StoredMatrix:
    """A matrix in an open .h5ad or .zarr, n cells × g genes; nothing is read before it is asked for.

    ``name`` says where it stands (``X``, ``layers/counts``) and appears in every message.
    """

    node: Any
    name: str
    format: MatrixFormat
    shape: tuple[int, int]

    @property
    def where(self) -> str:
        """File and place, for messages."""
        return f"{file_of(self.node)}: {self.name}"

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.node.dtype if self.format == "dense" else self.node["data"].dtype

    @property
    def n_stored(self) -> int:
        """Values stored (for a dense matrix: all of them)."""
        if self.format == "dense":
            return self.shape[0] * self.shape[1]
        return int(self.node["data"].shape[0])

    @cached_property
    def indptr(self) -> NDArray[np.int64]:
        """The checked row (CSR) or column (CSC) offsets.

        Raises
        ------
        DataError
            If they do not fit the shape or the number of stored values.
        """
        stored = self.node["indptr"]
        if stored.dtype.kind not in "iu" or self.node["indices"].dtype.kind not in "iu":
            wrong = "indptr" if stored.dtype.kind not in "iu" else "indices"
            raise DataError(
                f"{self.where} is damaged: its {wrong} is stored as {self.node[wrong].dtype}, "
                "expected whole numbers; write the file again"
            )
        indptr = _read(stored, slice(None)).astype(np.int64)
        expected = self.shape[0 if self.format == "csr" else 1] + 1
        if indptr.size != expected:
            raise DataError(
                f"{self.where} is damaged: its indptr has {indptr.size} entries, but the shape "
                f"{self.shape[0]} × {self.shape[1]} needs {expected}; write the file again"
            )
        if indptr[0] != 0 or indptr[-1] != self.n_stored or (np.diff(indptr) < 0).any():
            raise DataError(
                f"{self.where} is damaged: its indptr runs from {indptr[0]} to {indptr[-1]} and "
                f"must rise from 0 to the {self.n_stored} stored values; write the file again"
            )
        return indptr

    def check(self) -> None:
        """Raise DataError if the offsets are damaged; the values are not read."""
        if self.format != "dense":
            _ = self.indptr

    def take_rows(self, rows_n: NDArray[np.int64]) -> sp.csr_matrix:
        """The rows asked for, in the order asked for, as CSR.

        A CSC matrix is read whole: its rows are spread over the entire file.
        """
        rows_n = np.asarray(rows_n, dtype=np.int64)
        wanted, back = np.unique(rows_n, return_inverse=True)
        if self.format == "csr":
            taken = self._take_compressed(wanted)
        elif self.format == "csc":
            taken = self._take_compressed(np.arange(self.shape[1])).tocsr()[wanted]
        else:
            taken = self._take_dense(wanted)
        if np.array_equal(back, np.arange(wanted.size)):
            return taken
        return taken[back]

    def take_columns(self, columns: NDArray[np.int64]) -> sp.csc_matrix:
        """Sorted distinct columns of a CSC matrix, as CSC."""
        return self._take_compressed(np.asarray(columns, dtype=np.int64))

    def _take_compressed(self, major: NDArray[np.int64]) -> Any:
        """Sorted distinct rows of a CSR matrix (columns of a CSC matrix)."""
        starts, ends = self.indptr[major], self.indptr[major + 1]
        lengths = ends - starts
        values, minors = [], []
        for first, last in _runs(starts, ends):
            part = slice(int(starts[first]), int(ends[last - 1]))
            data, indices = _read(self.node["data"], part), _read(self.node["indices"], part)
            if data.size != lengths[first:last].sum():
                keep = _positions(starts[first:last] - part.start, lengths[first:last])
                data, indices = data[keep], indices[keep]
            values.append(data)
            minors.append(indices)
        data = _joined(values, self.dtype)
        indices = _joined(minors, self.node["indices"].dtype)
        self._check_indices(indices)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        if self.format == "csr":
            return sp.csr_matrix((data, indices, offsets), shape=(major.size, self.shape[1]))
        return sp.csc_matrix((data, indices, offsets), shape=(self.shape[0], major.size))

    def _check_indices(self, indices: NDArray[np.int64]) -> None:
        size = self.shape[1 if self.format == "csr" else 0]
        if indices.size and not 0 <= indices.min() <= indices.max() < size:
            wrong = indices[(indices < 0) | (indices >= size)][0]
            unit = "genes" if self.format == "csr" else "cells"
            raise DataError(
                f"{self.where} is damaged: it holds the index {wrong}, but there are {size} {unit}; "
                "write the file again"
            )

    def _take_dense(self, rows_n: NDArray[np.int64]) -> sp.csr_matrix:
        blocks = []
        for first, last in _runs(rows_n, rows_n + 1, gap=0):
            block = _read(self.node, slice(int(rows_n[first]), int(rows_n[last - 1]) + 1))
            blocks.append(sp.csr_matrix(block))
        return sp.vstack(blocks, format="csr") if blocks else sp.csr_matrix((0, self.shape[1]))


def open_matrix(node: Any, name: str) -> StoredMatrix:
    """Look at a matrix of an open file without reading its values.

    Parameters
    ----------
    node
        The group (sparse) or array (dense).
    name
        How to call it in messages.

    Raises
    ------
    DataError
        If it is not a matrix: parts are missing, or it is not numeric, or not two-dimensional.
    """
    if is_array(node):
        if len(node.shape) != 2 or node.dtype.kind not in "iufb":
            raise DataError(
                f"{name} is not a matrix of numbers: it is stored as {node.dtype} with shape "
                f"{node.shape}, expected cells × genes"
            )
        return StoredMatrix(node, name, "dense", (int(node.shape[0]), int(node.shape[1])))
    if not is_group(node):
        raise DataError(f"{name} is not a matrix; write the file again with AnnData.write_h5ad")
    missing = [part for part in ("data", "indices", "indptr") if part not in node]
    if missing:
        raise DataError(f"{name} is damaged: its {missing[0]} is missing; write the file again")
    for part in ("data", "indices", "indptr"):
        if not is_array(node[part]) or len(node[part].shape) != 1:
            raise DataError(f"{name} is damaged: its {part} is no row of numbers")
    layout = _layout(node)
    shape = node.attrs.get("shape", node.attrs.get("h5sparse_shape"))
    if layout not in ("csr", "csc") or shape is None or len(shape) != 2:
        raise DataError(
            f"{name} is stored as {layout or 'an unnamed group'!r} and cannot be read: expected "
            "a csr_matrix or csc_matrix with its shape, or a dense array"
        )
    if node["data"].dtype.kind not in "iufb":
        raise DataError(
            f"{name} is not a matrix of numbers: its values are stored as {node['data'].dtype}"
        )
    if node["data"].shape != node["indices"].shape:
        raise DataError(
            f"{name} is damaged: {node['data'].shape[0]} values stand beside "
            f"{node['indices'].shape[0]} indices; write the file again"
        )
    return StoredMatrix(
        node, name, "csr" if layout == "csr" else "csc", (int(shape[0]), int(shape[1]))
    )


def is_sparse(node: Any) -> bool:
    """True for an HDF5 group that says it holds a CSR or CSC matrix, in today's or the old way."""
    return is_group(node) and _layout(node) in ("csr", "csc")


def _layout(node: Any) -> str:
    encoding = str(node.attrs.get("encoding-type", node.attrs.get("h5sparse_format", "")))
    return encoding.removesuffix("_matrix")


def _read(node: Any, part: slice) -> NDArray[Any]:
    try:
        return node[part]
    except (OSError, RuntimeError) as error:
        text = " ".join(str(error).split())
        raise DataError(
            f"{file_of(node)} is damaged at {node.name}: {text}; copy or download it again"
        ) from error


def _joined(parts: list[NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _runs(
    starts: NDArray[np.int64], ends: NDArray[np.int64], *, gap: int = _GAP
) -> Iterator[tuple[int, int]]:
    """Cut sorted stretches into runs [first, last) whose gaps are small enough to read through."""
    if starts.size == 0:
        return
    cuts = np.flatnonzero(starts[1:] - ends[:-1] > gap) + 1
    bounds = [0, *cuts.tolist(), starts.size]
    yield from itertools.pairwise(bounds)


def _positions(starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions covered by stretches that begin at ``starts`` and are ``lengths`` long."""
    offsets = np.repeat(starts - np.concatenate([[0], np.cumsum(lengths)[:-1]]), lengths)
    return np.arange(int(lengths.sum())) + offsets
