"""Tables beside an atlas joined to its cells: a chain of CSVs of any length, in the memory of the cells."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from cellwright.config import nearest
from cellwright.data.atomic import refuse_existing
from cellwright.data.columns import as_labels
from cellwright.data.disk.rewrite import (
    DEFAULT_MEMORY,
    Rewritten,
    TableEdit,
    readable_bytes,
    rewrite,
)
from cellwright.data.disk.sink import Compression
from cellwright.data.disk.source import Source, open_source
from cellwright.data.disk.target import check_target
from cellwright.data.prepare.chains import (
    Candidate,
    choose,
    parse_on,
    require_left,
    try_names,
    try_pairs,
)
from cellwright.data.prepare.csv_table import CsvTable, open_csv
from cellwright.data.prepare.matching import (
    NAMES,
    Duplicates,
    Keys,
    TableMatch,
    keys_of,
    look_up,
)
from cellwright.data.prepare.sidecar import sidecar_path, write_sidecar
from cellwright.data.tables import Table
from cellwright.errors import DataError, SettingsError

_log = logging.getLogger("cellwright.data")

On = Sequence[str | tuple[str, str]] | str


@dataclass(frozen=True)
class MatchReport:
    """How each table of a chain fits the cells, in order, and what came of it.

    ``added``: the new columns; ``replaced`` those of them that were there before; ``kept``: columns
    that were there before with the same values.
    """

    tables: list[TableMatch]
    added: list[str]
    replaced: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "tables": [match.to_dict() for match in self.tables],
            "added": self.added,
            "replaced": self.replaced,
            "kept": self.kept,
        }

    def text(self) -> str:
        lines = [line for match in self.tables for line in match.lines()]
        lines.append(f"adds: {', '.join(self.added) or 'nothing'}")
        if self.replaced:
            lines.append(f"replaces: {', '.join(self.replaced)}")
        if self.kept:
            lines.append(f"there already, with the same values: {', '.join(self.kept)}")
        return "\n".join(lines)

    def facts(self) -> dict[str, Any]:
        """What a record of the stage says: file names without folders, keys, counts."""
        return {
            "tables": [match.table for match in self.tables],
            "keys": [f"{match.left}={match.right}" for match in self.tables],
            "matched": [match.n_matched for match in self.tables],
            "left_over": [match.n_left_over for match in self.tables],
            "added": self.added,
        }


@dataclass(frozen=True)
class Joined:
    """``columns``: one row per cell of the source, in its order; ``report``: how they were found."""

    columns: pd.DataFrame
    report: MatchReport


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
    listed = _listed(tables)
    refuse_inputs(target, listed)
    if sidecar:
        refuse_existing(target, force=force)
    else:
        check_target(target, file, force=force)
    with open_source(file) as source:
        joined = cell_table(
            source,
            listed,
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


def cell_table(
    source: Source,
    tables: Sequence[Path | str] | Path | str,
    on: On = (),
    add: Sequence[str] | None = None,
    *,
    min_match: float = 0.9,
    duplicates: Duplicates = "refuse",
    replace_columns: bool = False,
) -> Joined:
    """The columns that a chain of tables has for the cells of an open source.

    Parameters
    ----------
    tables
        CSV, TSV or semicolon files, ``.gz`` or not. Each is streamed; a later one may be keyed by
        a column that an earlier one brought.
    on
        ``"LEFT=RIGHT"`` for each table in order: LEFT is ``obs_names``, a column of obs or one that
        an earlier table brought, RIGHT a column of the table. Without it, the first table's columns
        are all tried against ``obs_names``, and a later table's against columns of the same name.
    add
        The columns wanted; None for all but the keys.
    min_match
        The smallest share of cells with a key that must have a row, per table, 0 to 1.
    duplicates
        ``"first"`` takes the first of several rows for one key that differ.
    replace_columns
        Let a new column replace one of obs with other values.

    Raises
    ------
    DataError
        If the tables do not fit: a missing column (the nearest is named), too few cells matched or
        none (examples of both sides are shown), several ways to match, differing rows for one key, a
        column that obs has with other values.
    SettingsError
        For an ``on`` that is not LEFT=RIGHT, more of them than tables, or a share outside 0 to 1.
    """
    if not 0 <= min_match <= 1:
        raise SettingsError(f"the least share to match is {min_match}, expected 0 to 1")
    opened = [open_csv(path) for path in _listed(tables)]
    if not opened:
        raise SettingsError("there is no table to join; name one with --table")
    given = [parse_on(o) for o in ([on] if isinstance(on, str) else on)]
    if len(given) > len(opened):
        raise SettingsError(
            f"{len(given)} --on are given for {len(opened)} tables; expected one per table, in order"
        )
    if add is not None:
        _require_offered(add, opened)
    chain = _Chain(source.obs)
    matches = []
    for i, table in enumerate(opened):
        if i < len(given):
            left, right = given[i]
            require_left(left, right, chain.names(), table)
            table.require(right)
            chosen: Literal["given", "found"] = "given"
        else:
            found = _find(table, chain)
            left, right, chosen = found.left, found.right, "found"
        keys = chain.keys(left)
        columns = _wanted(table, right, add, opened[i + 1 :], given[i + 1 :])
        frame, match = look_up(table, right, keys, columns, chosen=chosen, duplicates=duplicates)
        _log.info("%s", match.headline())
        if match.share < min_match or match.n_matched == 0:
            raise DataError(_refusal(table, match, chain, min_match))
        chain.bring(frame, table, right, left, replace_columns)
        matches.append(match)
    return _result(chain, add, matches, replace_columns)


class _Chain:
    """The cells and what the tables so far have brought."""

    def __init__(self, obs: Table) -> None:
        self.obs = obs
        self.brought: dict[str, pd.Series] = {}
        self.aliases: dict[str, str] = {}
        self._keys: dict[str, Keys] = {}

    def names(self) -> list[str]:
        return list(dict.fromkeys([*self.brought, *self.aliases, *self.obs.kinds]))

    def values(self, name: str) -> pd.Series | pd.Index:
        name = name if name in self.brought else self.aliases.get(name, name)
        if name == NAMES:
            return self.obs.index()
        return self.brought[name] if name in self.brought else self.obs.column(name)

    def keys(self, name: str) -> Keys:
        """What the cells are looked up by; a key of an earlier table goes by its first name."""
        name = name if name in self.brought else self.aliases.get(name, name)
        if name not in self._keys:
            self._keys[name] = keys_of(name, self.values(name))
        return self._keys[name]

    def bring(
        self, frame: pd.DataFrame, table: CsvTable, right: str, left: str, replace: bool
    ) -> None:
        for column in frame.columns:
            before = self.brought.get(column)
            if before is not None and not same_values(before, frame[column]) and not replace:
                raise DataError(
                    f"{table.name} brings a column {column!r} that an earlier table has with other "
                    "values; name the columns to add with --add, or pass --replace-columns"
                )
            self.brought[column] = frame[column]
            self._keys.pop(column, None)
        if right not in self.brought:
            self.aliases.setdefault(right, left)


def _wanted(
    table: CsvTable,
    right: str,
    add: Sequence[str] | None,
    later: Sequence[CsvTable],
    later_on: Sequence[tuple[str, str]],
) -> list[str]:
    """The columns to read: those to add, and those that a later table may be keyed by."""
    if add is None:
        return [column for column in table.columns if column != right]
    keys = {left for left, _ in later_on}
    keys |= {column for other in later[len(later_on) :] for column in other.columns}
    return [c for c in table.columns if c in add or (c in keys and c != right)]


def _find(table: CsvTable, chain: _Chain) -> Candidate:
    """The columns that belong together, by trying."""
    shared = [column for column in table.columns if column in chain.names()]
    first = not chain.brought and not chain.aliases
    fitting: list[Candidate] = []
    for by_name in (True, False) if first else (False, True):
        if by_name:
            tried = try_names(table, chain.obs.index())
        else:
            tried = try_pairs(table, {column: chain.keys(column) for column in shared})
        best = choose(table, tried)
        if best is not None:
            fitting.append(best)
            if best.share >= 0.5:
                return best
    if fitting:
        return max(fitting, key=lambda candidate: candidate.share)
    names = chain.obs.index()
    raise DataError(
        f"{table.path} and the cells have nothing in common: none of its columns holds the names of "
        f"the cells ({_some(map(str, names[:3]))}), and "
        + (
            f"those of the same name ({_some(shared)}) share no value"
            if shared
            else f"no column of the cells has the name of one of its own ({_some(table.columns)})"
        )
        + "; say which belong together with --on LEFT=RIGHT"
    )


def _refusal(table: CsvTable, match: TableMatch, chain: _Chain, min_match: float) -> str:
    """Why too few cells match, with examples and what would match better."""
    cells = match.examples["unmatched_cells"] or match.examples["cells"]
    rows = match.examples["left_over_rows"] or match.examples["rows"]
    few = (
        "no cell matches"
        if match.n_matched == 0
        else f"only {match.n_matched:,} of {match.n_keyed:,} cells ({100 * match.share:.4g} %) match"
    )
    if match.n_keyed == 0:
        return f"no cell has a value in {match.left!r}, so {table.path} cannot be joined on it"
    better = try_names(table, chain.obs.index()) if match.left == NAMES else []
    hint = "choose other columns with --on LEFT=RIGHT"
    if better and better[0].share > match.share and better[0].right != match.right:
        best = better[0]
        hint = (
            f"the column {best.right!r} matches {100 * best.share:.4g} %: pass --on "
            f"{best.left}={best.right}"
        )
    if match.n_matched:
        hint += f", or pass --min-match {_floor(match.share)} to join what there is"
    return (
        f"{few} {table.path} on {match.left}={match.right}, below the least share of "
        f"{min_match:g}: cells are called {_some(cells[:3])}, the table has {_some(rows[:3])}; {hint}"
    )


def _floor(share: float) -> str:
    return f"{int(share * 1000) / 1000:g}"


def _result(
    chain: _Chain, add: Sequence[str] | None, matches: list[TableMatch], replace: bool
) -> Joined:
    wanted = list(chain.brought) if add is None else list(dict.fromkeys(add))
    added, kept, replaced = [], [], []
    for name in wanted:
        if "/" in name or name == "_index":
            raise DataError(
                f"the column {name!r} cannot stand in an .h5ad under this name; name the columns to "
                "add with --add, or rename it in the table"
            )
        if name in chain.obs.kinds:
            before = chain.obs.column(name)
            if same_values(before, chain.brought[name]):
                kept.append(name)
                continue
            if not replace:
                raise DataError(_clash(name, before, chain.brought[name]))
            replaced.append(name)
        added.append(name)
    frame = pd.DataFrame({name: chain.brought[name] for name in added})
    if not added:
        frame = pd.DataFrame(index=pd.RangeIndex(chain.obs.n))
    return Joined(frame, MatchReport(matches, added, replaced, kept))


def _clash(name: str, before: pd.Series, after: pd.Series) -> str:
    row = int(np.flatnonzero(~_equal(before, after))[0])
    return (
        f"obs has a column {name!r} already, with other values ({before.iloc[row]!s} there, "
        f"{after.iloc[row]!s} in the table, in cell {row + 1}); leave it out with --add, or pass "
        "--replace-columns"
    )


def same_values(one: pd.Series, other: pd.Series) -> bool:
    """Whether two columns say the same of every cell, as numbers or as text."""
    return bool(_equal(one, other).all())


def _equal(one: pd.Series, other: pd.Series) -> Any:
    numbers = all(pd.api.types.is_float_dtype(s.dtype) for s in (one, other))
    if numbers:
        # A table cannot hold more digits than the narrower of the two.
        narrow = np.float32 if np.float32 in (one.dtype, other.dtype) else np.float64
        a, b = one.to_numpy(dtype=narrow), other.to_numpy(dtype=narrow)
        return (a == b) | (np.isnan(a) & np.isnan(b))
    a, b = as_labels(one).to_numpy(dtype=object), as_labels(other).to_numpy(dtype=object)
    return a == b


def _require_offered(add: Sequence[str], tables: Sequence[CsvTable]) -> None:
    offered = list(dict.fromkeys(column for table in tables for column in table.columns))
    for name in add:
        if name not in offered:
            close = nearest(name, offered)
            hint = f"did you mean {close!r}? There are" if close else "there are"
            files = " or ".join(table.name for table in tables)
            raise DataError(f"{files} has no column {name!r} to add: {hint}: {_some(offered, 40)}")


def _listed(tables: Sequence[Path | str] | Path | str) -> list[Path]:
    return [Path(t) for t in ([tables] if isinstance(tables, str | Path) else tables)]


def _some(values: Any, most: int = 8) -> str:
    listed = list(values)
    return ", ".join(map(str, listed[:most])) + (", …" if len(listed) > most else "")
