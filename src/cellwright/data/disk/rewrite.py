"""Write a selection of an atlas to a new file, block by block, within a memory bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata.io import read_elem, write_elem
from numpy.typing import NDArray

from cellwright.data.disk.arrays import new_pool
from cellwright.data.disk.carry import carry_array, carry_table, is_sparse_square, trim_colors
from cellwright.data.disk.crew import Crew, check_crew, crew
from cellwright.data.disk.rows import Rows
from cellwright.data.disk.shared_rows import shared_rows
from cellwright.data.disk.sink import Compression, DenseSink, SparseSink, new_parent
from cellwright.data.disk.source import Source, file_bytes, open_source
from cellwright.data.disk.stream import stream_rows
from cellwright.data.disk.target import check_target, open_target
from cellwright.data.opening import translated
from cellwright.data.stored import StoredMatrix
from cellwright.data.writing import noted
from cellwright.errors import DataError, SettingsError

DEFAULT_MEMORY = 512 * 10**6
LEAST_MEMORY = 16 * 10**6

Blocks = Callable[[StoredMatrix], Iterator[Rows]]
"""Gives the selected rows of a matrix; stands in for reading them from the source."""


@dataclass(frozen=True)
class TableEdit:
    """What changes in obs or var beside the selection.

    ``names``: a new name, ``add``: new columns (a column of the same name is replaced), each for
    every row of the *source* table, in its order; the selection is applied to them too.
    """

    names: pd.Index | None = None
    add: pd.DataFrame | None = None


@dataclass(frozen=True)
class Rewritten:
    """What was written: shape, entries stored in X and the layers, size, and what changed form."""

    path: Path
    n_obs: int
    n_vars: int
    n_stored: int
    n_bytes: int
    notes: list[str] = field(default_factory=list)

    def sentence(self) -> str:
        """What was written, for people."""
        return (
            f"wrote {self.path}: {self.n_obs:,} cells × {self.n_vars:,} genes, "
            f"{readable_bytes(self.n_bytes)}"
        )


def readable_bytes(n: int) -> str:
    """Such as 3.7 MB."""
    size = float(n)
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def rewrite(
    source: Path | str,
    out: Path | str,
    *,
    rows: NDArray[Any] | None = None,
    columns: NDArray[Any] | None = None,
    merge: NDArray[Any] | None = None,
    obs: TableEdit | None = None,
    var: TableEdit | None = None,
    uns: Mapping[str, Any] | None = None,
    stage: tuple[str, Mapping[str, Any]] | None = None,
    keep_raw: bool = True,
    compression: Compression = "gzip",
    memory: int = DEFAULT_MEMORY,
    force: bool = False,
    blocks: Mapping[str, Blocks] | None = None,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
    dask: str | None = None,
) -> Rewritten:
    """Write the selected cells and genes of an AnnData on disk with all that hangs on them.

    obs, var, obsm, varm, obsp, varp, every layer and raw are cut along; uns is carried over. Read
    back, the file is what ``read_h5ad(source)[rows, columns].copy()`` would be, except that a
    matrix stored by gene (CSC) is written by cell (CSR), and that columns standing twice in a row
    are summed. The bytes written depend neither on ``memory`` nor on the number of cores.

    Parameters
    ----------
    source, out
        .h5ad or .zarr; ``out`` appears under its name only when complete.
    rows, columns
        Sorted distinct positions of the cells and genes wanted, None for all. ``raw`` keeps all
        its genes.
    merge
        (g,) for every gene of the source the position in ``columns`` into whose column its values
        are added, -1 for none: for genes that stand several times.
    obs, var
        New names and columns.
    uns
        Entries to set.
    stage
        Name and facts of a record for ``uns["cellwright"]``.
    memory
        Bytes that matrices in work may take together; the tables come on top, a column at a time.
    workers, dask
        Processes of this machine, or the address of a Dask scheduler, to share the reading: the
        same bytes are written. A matrix stored by gene is read by one process all the same.
    progress
        Called with the cells written so far and how many there will be, each matrix counted.

    Raises
    ------
    DataError
        If the source is damaged, ``out`` cannot be written or is the source, or a position lies
        outside it.
    RunError
        If ``out`` exists and ``force`` is False.
    SettingsError
        If ``memory`` is too small to work in.
    """
    if memory < LEAST_MEMORY:
        raise SettingsError(
            f"memory is {memory:,} bytes, expected at least {LEAST_MEMORY:,} to hold a block"
        )
    target = check_target(out, source, force=force)
    check_crew(workers, dask)
    with open_source(source) as opened, new_pool() as pool, ExitStack() as stack:
        job = _Job(
            opened,
            _positions(rows, opened.obs.n, "cell"),
            _positions(columns, opened.var.n, "gene"),
            None if merge is None else np.asarray(merge, np.int64),
            compression,
            memory,
            pool,
            target.absolute().parent,
            blocks or {},
            progress,
            # Workers take seconds to start: only when there is something for them to read.
            lambda: stack.enter_context(crew(workers, dask)),
        )
        with open_target(target, force=force) as root:
            job.tables(root, obs or TableEdit(), var or TableEdit(), uns or {}, stage)
            for name in opened.matrices():
                job.matrix(root, name)
            job.graphs(root)
            if keep_raw and opened.n_raw is not None:
                job.raw(root)
        shape = job.n_rows, job.n_columns
    return Rewritten(target, *shape, job.n_stored, file_bytes(target), job.notes)


class _Job:
    """One rewriting: what is selected, and how much is done."""

    def __init__(
        self,
        source: Source,
        rows: NDArray[np.int64] | None,
        columns: NDArray[np.int64] | None,
        merge: NDArray[np.int64] | None,
        compression: Compression,
        memory: int,
        pool: ThreadPoolExecutor,
        folder: Path,
        blocks: Mapping[str, Blocks],
        progress: Callable[[int, int], None] | None,
        call_crew: Callable[[], Crew | None],
    ) -> None:
        self.source, self.rows, self.columns, self.merge = source, rows, columns, merge
        self.compression, self.memory, self.pool, self.folder = compression, memory, pool, folder
        self.blocks, self._call_crew = blocks, call_crew
        self.n_rows = source.obs.n if rows is None else int(rows.size)
        self.n_columns = source.var.n if columns is None else int(columns.size)
        self.notes: list[str] = []
        self.n_stored = 0
        self._progress, self._done = progress, 0
        self._whole = self.n_rows * len(source.matrices())

    @cached_property
    def _helpers(self) -> Crew | None:
        return self._call_crew()

    def tables(
        self,
        root: Any,
        obs: TableEdit,
        var: TableEdit,
        uns: Mapping[str, Any],
        stage: tuple[str, Mapping[str, Any]] | None,
    ) -> None:
        """obs, var, obsm, varm and uns."""
        old, path = self.source.root, self.source.path
        with translated(path):
            notes = dict(read_elem(old["uns"])) if "uns" in old else {}
        for table, rows, edit in (("obs", self.rows, obs), ("var", self.columns, var)):
            lost = carry_table(old[table], root, table, rows, names=edit.names, add=edit.add)
            trim_colors(notes, lost)
        notes.update(uns)
        if stage is not None:
            notes["cellwright"] = noted(notes.get("cellwright", {}), *stage)
        write_elem(root, "uns", notes)
        for key, n, rows, edit in (
            ("obsm", self.source.obs.n, self.rows, obs),
            ("varm", self.source.var.n, self.columns, var),
        ):
            group = root.create_group(key)
            _as_mapping(group)
            for name, node in self.source.nodes(key):
                carry_array(node, group, name, rows, n, names=edit.names)
        for key in ("layers", "obsp", "varp"):
            _as_mapping(root.create_group(key))

    def matrix(self, root: Any, name: str) -> None:
        """X or a layer."""
        stored = self.source.matrix(name)
        columns, merge = self.columns, self.merge
        if name in self.blocks:
            rows = self.blocks[name](stored)
        elif merge is not None:
            rows = merged_rows(self._stream(stored, self.rows, None), merge, self.n_columns)
        else:
            rows = self._stream(stored, self.rows, columns)
        self.n_stored += self._write(root, stored, rows, self.n_columns, merge is not None)

    def graphs(self, root: Any) -> None:
        """obsp and varp, cut on both sides."""
        for key, rows in (("obsp", self.rows), ("varp", self.columns)):
            for name, node in self.source.nodes(key):
                if not is_sparse_square(node):
                    continue
                stored = self.source.matrix(f"{key}/{name}")
                width = stored.shape[1] if rows is None else int(rows.size)
                self._write(root, stored, self._stream(stored, rows, rows), width)

    def raw(self, root: Any) -> None:
        """raw: the selected cells, all its genes."""
        old = self.source.root["raw"]
        group = root.create_group("raw")
        group.attrs["encoding-type"], group.attrs["encoding-version"] = "raw", "0.1.0"
        stored = self.source.matrix("raw/X")
        self._write(root, stored, self._stream(stored, self.rows, None), stored.shape[1])
        carry_table(old["var"], group, "var", None)
        varm = group.create_group("varm")
        _as_mapping(varm)
        for name, node in self.source.nodes("raw/varm"):
            carry_array(node, varm, name, None, stored.shape[1])

    def _stream(
        self,
        stored: StoredMatrix,
        rows: NDArray[np.int64] | None,
        columns: NDArray[np.int64] | None,
    ) -> Iterator[Rows]:
        how: dict[str, Any] = {"memory": self.memory, "folder": self.folder}
        if stored.format != "csc" and (helpers := self._helpers) is not None:
            return shared_rows(helpers, self.source.path, stored, rows, columns, **how)
        return stream_rows(stored, rows, columns, pool=self.pool, **how)

    def _write(
        self,
        root: Any,
        stored: StoredMatrix,
        blocks: Iterator[Rows],
        width: int,
        merged: bool = False,
    ) -> int:
        parent, last = new_parent(root, stored.name)
        dtype = np.dtype(stored.dtype).newbyteorder("=")
        dtype = merged_dtype(dtype) if merged else dtype
        dense = stored.format == "dense"
        most = stored.shape[0] if dense else stored.n_stored
        kind = DenseSink if dense else SparseSink
        sink = kind(parent, last, width, dtype, self.compression, self.pool, most)
        twice = False
        for block in blocks:
            sink.append(block.counts)
            twice |= block.merged
            if self._progress and stored.name in self.source.matrices():
                self._done += block.counts.shape[0]
                self._progress(self._done, self._whole)
        if stored.format == "csc":
            self.notes.append(
                f"{stored.name} was stored by gene (CSC) and is written by cell (CSR)"
            )
        if twice and not merged:
            self.notes.append(f"{stored.name} held a gene twice in a cell; such values were summed")
        return sink.close()


def merged_rows(blocks: Iterator[Rows], merge: NDArray[np.int64], n_columns: int) -> Iterator[Rows]:
    """Blocks whose columns are added into others, in a type wide enough for the sums.

    Parameters
    ----------
    merge
        The new position of every column, -1 for one that is left out.
    n_columns
        How many new columns there are.
    """
    kept = np.flatnonzero(merge >= 0)
    target_of = merge[kept].astype(np.int32)
    for block in blocks:
        part = sp.csr_matrix(block.counts[:, kept])
        counts = sp.csr_matrix(
            (part.data.astype(merged_dtype(part.dtype)), target_of[part.indices], part.indptr),
            shape=(part.shape[0], n_columns),
        )
        counts.sum_duplicates()
        yield Rows(counts, block.start, block.merged)


def merged_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """A type in which columns of ``dtype`` can be summed: whole numbers get eight bytes."""
    if dtype.kind in "bi":
        return np.dtype(np.int64)
    if dtype.kind == "u":
        return np.dtype(np.uint64)
    return np.dtype(np.float32) if dtype.itemsize < 4 else dtype


def _positions(wanted: NDArray[Any] | None, n: int, what: str) -> NDArray[np.int64] | None:
    if wanted is None:
        return None
    found = np.asarray(wanted, dtype=np.int64)
    if found.size == 0:
        raise DataError(f"no {what} is selected; nothing is written")
    if (np.diff(found) <= 0).any() or found[0] < 0 or found[-1] >= n:
        raise DataError(
            f"the positions of the {what}s run from {found.min()} to {found.max()}; expected "
            f"distinct ones in rising order from 0 to {n - 1}"
        )
    return None if found.size == n else found


def _as_mapping(group: Any) -> None:
    group.attrs["encoding-type"], group.attrs["encoding-version"] = "dict", "0.1.0"
