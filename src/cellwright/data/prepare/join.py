"""Tables beside an atlas joined to its cells: a chain of CSVs of any length, in the memory of the cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellwright.data.atomic import refuse_existing
from cellwright.data.disk.rewrite import (
    DEFAULT_MEMORY,
    Rewritten,
    TableEdit,
    readable_bytes,
    rewrite,
)
from cellwright.data.disk.sink import Compression
from cellwright.data.disk.source import open_source
from cellwright.data.disk.target import check_target
from cellwright.data.prepare.cell_table import Joined, On, cell_table, listed
from cellwright.data.prepare.match_report import MatchReport
from cellwright.data.prepare.matching import Duplicates
from cellwright.data.prepare.sidecar import sidecar_path, write_sidecar
from cellwright.errors import DataError, SettingsError

__all__ = ["JoinResult", "Joined", "MatchReport", "cell_table", "join", "refuse_inputs"]


@dataclass(frozen=True)
class JoinResult:
    """A join that was written, to a file of its own or beside the source."""

    report: MatchReport
    n_obs: int
    out: Path
    sidecar: bool
    n_bytes: int
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {
            "schema": "cellwright.join/1",
            "n_obs": self.n_obs,
            "out": str(self.out),
            "sidecar": self.sidecar,
            "bytes": self.n_bytes,
            **self.report.to_dict(),
            "notes": self.notes,
        }

    def text(self) -> str:
        """Everything as lines for people."""
        what = "a table beside it" if self.sidecar else f"{self.n_obs:,} cells"
        wrote = f"wrote {self.out}: {what}, {readable_bytes(self.n_bytes)}"
        return "\n".join([self.report.text(), *self.notes, wrote])


def join(
    file: Path | str,
    tables: Sequence[Path | str] | Path | str,
    *,
    on: On = (),
    add: Sequence[str] | None = None,
    out: Path | str | None = None,
    sidecar: bool = False,
    min_match: float = 0.9,
    duplicates: Duplicates = "refuse",
    replace_columns: bool = False,
    keep_raw: bool = True,
    compression: Compression = "gzip",
    memory: int = DEFAULT_MEMORY,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
    dask: str | None = None,
) -> JoinResult:
    """Join tables to the cells of a file and write them to a new file, or beside the old one.

    Parameters
    ----------
    tables, on, add, min_match, duplicates, replace_columns
        As ``cell_table``.
    out
        The file to write, with the new columns in ``obs``.
    sidecar
        Instead write only the new columns, to ``FILE.sidecar.h5`` beside the file; ``subset``,
        ``crop`` and ``split`` then read it.
    keep_raw, compression, memory, force, progress, workers, dask
        As ``data.disk.rewrite.rewrite``.

    Raises
    ------
    SettingsError
        If neither or both of ``out`` and ``sidecar`` are given.
    DataError, RunError
        As ``cell_table`` and ``rewrite``.
    """
    file = Path(file)
    if (out is None) == (not sidecar):
        raise SettingsError(
            "a join is written either to a file (-o OUT) or beside it (--sidecar); give one of both"
        )
    target = sidecar_path(file) if out is None else Path(out)
    paths = listed(tables)
    refuse_inputs(target, paths)
    if sidecar:
        refuse_existing(target, force=force)
    else:
        check_target(target, file, force=force)
    with open_source(file) as source:
        joined = cell_table(
            source,
            paths,
            on=on,
            add=add,
            min_match=min_match,
            duplicates=duplicates,
            replace_columns=replace_columns,
        )
        if sidecar:
            write_sidecar(source, joined.columns, joined.report.facts(), force=force)
        n = source.obs.n
    if sidecar:
        return JoinResult(joined.report, n, target, True, target.stat().st_size, [])
    written: Rewritten = rewrite(
        file,
        target,
        obs=TableEdit(add=joined.columns),
        stage=("join", joined.report.facts()),
        keep_raw=keep_raw,
        compression=compression,
        memory=memory,
        force=force,
        progress=progress,
        workers=workers,
        dask=dask,
    )
    return JoinResult(joined.report, n, target, False, written.n_bytes, written.notes)


def refuse_inputs(target: Path, inputs: Sequence[Path]) -> None:
    """Raise DataError if a file to be written is one of those that are read."""
    for path in inputs:
        same = target.exists() and path.exists() and target.samefile(path)
        if same or target.absolute() == path.absolute():
            raise DataError(f"cannot write {target}: it is read from; name another file")
