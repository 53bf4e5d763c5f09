"""An AnnData on disk, .h5ad or .zarr, open for reading: tables and matrices, nothing loaded."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import zarr

from cellwright.config import nearest
from cellwright.data.disk.nodes import is_array, is_group
from cellwright.data.opening import open_h5ad, translated
from cellwright.data.stored import StoredMatrix, open_matrix
from cellwright.data.tables import Table, check_table, open_table
from cellwright.errors import DataError


@dataclass(frozen=True)
class Source:
    """``root`` is the open h5py.File or zarr.Group; ``obs`` and ``var`` read a column when asked."""

    path: Path
    root: Any
    obs: Table
    var: Table

    @property
    def is_zarr(self) -> bool:
        return not isinstance(self.root, h5py.Group)

    def matrix(self, name: str) -> StoredMatrix:
        """A matrix such as ``X``, ``layers/counts``, ``raw/X``, ``obsp/distances``.

        Raises
        ------
        DataError
            If it is damaged or does not fit the tables of cells and genes.
        """
        with translated(self.path):
            stored = open_matrix(self.root[name], name)
            stored.check()
            expected = self._shape(name)
        if stored.dtype.kind == "f" and stored.dtype.itemsize not in (4, 8):
            raise DataError(
                f"{self.path}: {name} is stored as {stored.dtype}, in which sparse rows cannot be "
                "held; write it again as float32"
            )
        if self.is_zarr and stored.format != "dense":
            _check_chunks(stored)
        if stored.shape != expected:
            raise DataError(
                f"{self.path}: {name} is {stored.shape[0]} × {stored.shape[1]}, but the tables have "
                f"{expected[0]} × {expected[1]} rows; write the file again"
            )
        return stored

    def matrices(self) -> list[str]:
        """X and the layers, those there are."""
        with translated(self.path):
            node, layers = self.root.get("X"), self.root.get("layers", {})
            if not hasattr(layers, "keys"):
                raise DataError("layers is not a group of matrices; write the file again")
            # Cells without X have none, or one that holds nothing.
            there = is_group(node) or is_array(node)
            return ["X"] * there + [f"layers/{key}" for key in layers]

    def named(self, layer: str) -> str:
        """The full name of X or a layer, given with or without ``layers/``, or ``raw/X``.

        Raises
        ------
        DataError
            If there is none; the nearest is named.
        """
        names = self.matrices() + ["raw/X"] * (self.n_raw is not None)
        for name in (layer, f"layers/{layer}", f"{layer}/X"):
            if name in names:
                return name
        close = nearest(layer.split("/")[-1], [name.removeprefix("layers/") for name in names])
        hint = f"did you mean {close!r}?" if close else f"there are: {', '.join(names) or 'none'}"
        raise DataError(f"{self.path} has no matrix {layer!r}: {hint}")

    def nodes(self, key: str) -> list[tuple[str, Any]]:
        """Names and nodes of what a group such as ``obsm`` holds; none if there is no such group.

        Raises
        ------
        DataError
            If it is damaged.
        """
        with translated(self.path):
            group = self.root.get(key)
            return [] if group is None else [(str(name), group[name]) for name in group]

    @property
    def n_raw(self) -> int | None:
        """Genes of raw, None if there is no raw."""
        with translated(self.path):
            raw = self.root.get("raw")
            if raw is None or not is_group(raw) or "X" not in raw:
                return None
            if "var" not in raw:
                raise DataError("raw is damaged: its table var is missing; write the file again")
            return open_table(raw["var"], "raw/var").n

    def _shape(self, name: str) -> tuple[int, int]:
        n, g = self.obs.n, self.var.n
        part = name.split("/")[0]
        if part == "raw":
            return n, self.n_raw or 0
        return {"obsp": (n, n), "varp": (g, g)}.get(part, (n, g))


@contextlib.contextmanager
def open_source(path: Path | str) -> Iterator[Source]:
    """Open an .h5ad or .zarr for reading by parts.

    Raises
    ------
    DataError
        If there is no such file, it is of another kind or damaged, or has no cells or no genes.
    """
    path = Path(path)
    with opened(path) as root:
        with translated(path), warnings.catch_warnings():
            # Old formats are read; that they are old is the verdict of inspect.
            warnings.simplefilter("ignore")
            for name in ("obs", "var"):
                check_table(root[name], name)
            obs, var = (_told(path, open_table(root[name], name)) for name in ("obs", "var"))
            source = Source(path, root, obs, var)
        for table, what in ((source.obs, "cells"), (source.var, "genes")):
            if table.n == 0:
                raise DataError(
                    f"{path}: there are no {what} (shape {source.obs.n} × {source.var.n}); at least "
                    "one cell and one gene are needed"
                )
        yield source


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open an .h5ad or .zarr for reading: the h5py.File or zarr.Group.

    Raises
    ------
    DataError
        If there is no such file, it is of another kind or damaged, or lacks obs or var.
    """
    if not is_zarr(path):
        with open_h5ad(path) as file:
            yield file
        return
    with translated(path):
        root = zarr.open_group(path, mode="r")
    missing = [key for key in ("obs", "var") if key not in root]
    if missing:
        there = ", ".join(sorted(root.keys())[:8]) or "nothing"
        raise DataError(
            f"{path} is not an AnnData in zarr: it has no {' and no '.join(missing)} (it holds "
            f"{there}); write it with AnnData.write_zarr"
        )
    yield root


def file_bytes(path: Path) -> int:
    """Bytes of a file, or of all files of a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def is_zarr(path: Path) -> bool:
    """True for a folder that holds a zarr group."""
    return path.is_dir() and any((path / name).exists() for name in (".zgroup", "zarr.json"))


def _told(path: Path, table: Table) -> Table:
    """The table, with the file named where it cannot be read."""

    def index() -> pd.Index:
        with translated(path):
            return table.index()

    def read(column: str) -> pd.Series:
        with translated(path):
            return table.read(column)

    return replace(table, index=index, read=read)


def _check_chunks(matrix: StoredMatrix) -> None:
    """Raise DataError if chunks of a sparse matrix in zarr were lost: they would read as zeros."""
    indices = matrix.node["indices"]
    missing = indices.nchunks - indices.nchunks_initialized
    if not missing:
        return
    # A chunk of zeros is not written; it can be one only where no row has two entries in it.
    zeros, size = 0, indices.chunks[0]
    for low in range(0, indices.shape[0], size):
        first, last = np.searchsorted(matrix.indptr, [low, low + size])
        inside = np.clip(matrix.indptr[max(0, first - 1) : last + 1], low, low + size)
        zeros += bool((np.diff(inside) < 2).all())
    if missing > zeros:
        raise DataError(
            f"{matrix.where} is damaged: of the {indices.nchunks} chunks of {matrix.name}/indices "
            f"{missing} are not there; copy or download it again"
        )
