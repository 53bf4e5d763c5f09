"""Matrices that grow row by row in a new .h5ad or .zarr, their chunks packed on threads.

What is written does not depend on how the rows come in blocks: a chunk is packed when it is full.
"""

from __future__ import annotations

import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

import h5py
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.data.disk.nodes import is_group

Compression = Literal["gzip", "lzf", "none"]

CHUNK = 1 << 16
_SMALLEST_CHUNK = 1 << 10
_LEVEL = 4
_IN_FLIGHT = 8
_DENSE_CHUNK_BYTES = 1 << 18


class GrowingArray:
    """A one- or two-dimensional array that grows along its first axis.

    Call ``append`` with pieces, then ``close``. ``most``: the most entries (or rows) there can be;
    ``n_chunk``: how many stand in a chunk.
    """

    def __init__(
        self,
        group: Any,
        name: str,
        dtype: np.dtype[Any],
        compression: Compression,
        pool: ThreadPoolExecutor,
        *,
        most: int,
        width: int | None = None,
        attrs: dict[str, Any] | None = None,
    ) -> None:
        row_bytes = dtype.itemsize * (width or 1)
        # A chunk is written whole, so a small matrix gets small ones.
        fitting = CHUNK if width is None else min(1024, _DENSE_CHUNK_BYTES // row_bytes)
        self.n_chunk = max(1, min(fitting, max(most, 1 if width else _SMALLEST_CHUNK)))
        self._tail = () if width is None else (width,)
        self._dtype, self._pool = dtype, pool
        shape, chunks = (0, *self._tail), (self.n_chunk, *self._tail)
        self._raw = isinstance(group, h5py.Group) and compression == "gzip"
        if isinstance(group, h5py.Group):
            self._node = group.create_dataset(
                name,
                shape=shape,
                maxshape=(None, *self._tail),
                chunks=chunks,
                dtype=dtype,
                compression=None if compression == "none" else compression,
                compression_opts=_LEVEL if compression == "gzip" else None,
                shuffle=compression == "gzip" and dtype.itemsize > 1,
            )
        else:
            packed = {"compressors": None} if compression == "none" else {}
            self._node = group.create_array(name, shape=shape, chunks=chunks, dtype=dtype, **packed)
        for key, value in (attrs or {}).items():
            self._node.attrs[key] = value
        self._held: list[NDArray[Any]] = []
        self._n_held = self._n_begun = 0
        self._packing: deque[tuple[int, Future[bytes]]] = deque()

    def append(self, values: NDArray[Any]) -> None:
        """Add entries (or rows) at the end."""
        self._held.append(values)
        self._n_held += len(values)
        if self._n_held < self.n_chunk:
            return
        whole = self._n_held // self.n_chunk * self.n_chunk
        joined = np.concatenate(self._held) if len(self._held) > 1 else self._held[0]
        self._flush(joined[:whole])
        self._held = [joined[whole:].copy()] if whole < self._n_held else []
        self._n_held -= whole

    def close(self) -> int:
        """Write what is left; returns how many entries (or rows) there are."""
        left = self._n_held
        if left:
            self._flush(np.concatenate(self._held))
            self._held, self._n_held = [], 0
        while self._packing:
            self._write_packed()
        return self._n_begun

    def _flush(self, values: NDArray[Any]) -> None:
        start = self._n_begun
        self._n_begun += len(values)
        self._node.resize((self._n_begun, *self._tail))
        if not self._raw:
            self._node[start:] = values
            return
        for at in range(0, len(values), self.n_chunk):
            piece = values[at : at + self.n_chunk]
            self._packing.append((start + at, self._pool.submit(self._packed, piece)))
            while len(self._packing) > _IN_FLIGHT:
                self._write_packed()

    def _write_packed(self) -> None:
        start, packed = self._packing.popleft()
        self._node.id.write_direct_chunk((start, *(0 for _ in self._tail)), packed.result())

    def _packed(self, piece: NDArray[Any]) -> bytes:
        if len(piece) < self.n_chunk:
            full = np.zeros((self.n_chunk, *self._tail), self._dtype)
            full[: len(piece)] = piece
            piece = full
        raw = np.ascontiguousarray(piece, self._dtype)
        size = self._dtype.itemsize
        if size > 1:
            raw = np.ascontiguousarray(raw.view(np.uint8).reshape(-1, size).T)
        return zlib.compress(raw.tobytes(), _LEVEL)


class SparseSink:
    """A CSR matrix in a new file, as anndata stores one; ``append`` adds rows.

    ``most``: the most entries there can be.
    """

    def __init__(
        self,
        parent: Any,
        name: str,
        n_columns: int,
        dtype: np.dtype[Any],
        compression: Compression,
        pool: ThreadPoolExecutor,
        most: int,
    ) -> None:
        self._group = parent.create_group(name)
        self._group.attrs["encoding-type"] = "csr_matrix"
        self._group.attrs["encoding-version"] = "0.1.0"
        self._n_columns = n_columns
        self._data = GrowingArray(self._group, "data", dtype, compression, pool, most=most)
        self._indices = GrowingArray(
            self._group, "indices", np.dtype(np.int32), compression, pool, most=most
        )
        self._step = self._data.n_chunk
        self._lengths: list[NDArray[np.int64]] = []

    def append(self, counts: sp.csr_matrix) -> None:
        """Add rows below those that are there."""
        # Both in steps of a chunk, so that their chunks lie in the file in one order.
        for at in range(0, counts.nnz, self._step):
            self._data.append(counts.data[at : at + self._step])
            self._indices.append(counts.indices[at : at + self._step])
        self._lengths.append(np.diff(counts.indptr).astype(np.int64))

    def close(self) -> int:
        """Write the offsets; returns the number of entries."""
        stored = self._data.close()
        self._indices.close()
        lengths = np.concatenate([np.zeros(1, np.int64), *self._lengths])
        kind = np.int32 if stored < np.iinfo(np.int32).max else np.int64
        indptr = np.cumsum(lengths).astype(kind)
        if isinstance(self._group, h5py.Group):
            self._group.create_dataset("indptr", data=indptr, maxshape=(None,), compression="gzip")
        else:
            self._group.create_array("indptr", data=indptr)
        shape = [indptr.size - 1, self._n_columns]
        self._group.attrs["shape"] = (
            np.array(shape) if isinstance(self._group, h5py.Group) else shape
        )
        return stored


class DenseSink:
    """A dense matrix in a new file, as anndata stores one; ``append`` adds rows given as CSR.

    ``most``: the most rows there can be.
    """

    def __init__(
        self,
        parent: Any,
        name: str,
        n_columns: int,
        dtype: np.dtype[Any],
        compression: Compression,
        pool: ThreadPoolExecutor,
        most: int,
    ) -> None:
        attrs = {"encoding-type": "array", "encoding-version": "0.2.0"}
        self._array = GrowingArray(
            parent, name, dtype, compression, pool, most=most, width=n_columns, attrs=attrs
        )
        self._n_columns = n_columns
        self._step = max(1, (8 << 20) // max(1, n_columns * dtype.itemsize))

    def append(self, counts: sp.csr_matrix) -> None:
        """Add rows below those that are there."""
        for at in range(0, counts.shape[0], self._step):
            self._array.append(counts[at : at + self._step].toarray())

    def close(self) -> int:
        """Write what is left; returns the number of values."""
        return self._array.close() * self._n_columns


def new_parent(root: Any, name: str) -> tuple[Any, str]:
    """The group that is to hold ``layers/counts``, made if needed, and the last part of the name."""
    *path, last = name.split("/")
    for part in path:
        if part not in root or not is_group(root[part]):
            root.create_group(part)
        root = root[part]
    return root, last
