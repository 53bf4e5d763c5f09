"""What a chain of tables says of each cell: found by keys, in the order of the cells."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from cellwright.config import nearest
from cellwright.data.disk.source import Source
from cellwright.data.prepare.chains import (
    Candidate,
    choose,
    parse_on,
    require_left,
    try_names,
    try_pairs,
)
from cellwright.data.prepare.csv_table import CsvTable, open_csv
from cellwright.data.prepare.keys import NAMES, Keys, keys_of
from cellwright.data.prepare.match_report import MatchReport, TableMatch
from cellwright.data.prepare.matching import Duplicates, look_up
from cellwright.data.prepare.same_values import equal_values, same_values
from cellwright.data.tables import Table
from cellwright.errors import DataError, SettingsError

_log = logging.getLogger("cellwright.data")

On = Sequence[str | tuple[str, str]] | str


@dataclass(frozen=True)
class Joined:
    """``columns``: one row per cell of the source, in its order; ``report``: how they were found."""

    columns: pd.DataFrame
    report: MatchReport


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
    opened = [open_csv(path) for path in listed(tables)]
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
    row = int(np.flatnonzero(~equal_values(before, after))[0])
    return (
        f"obs has a column {name!r} already, with other values ({before.iloc[row]!s} there, "
        f"{after.iloc[row]!s} in the table, in cell {row + 1}); leave it out with --add, or pass "
        "--replace-columns"
    )


def _require_offered(add: Sequence[str], tables: Sequence[CsvTable]) -> None:
    offered = list(dict.fromkeys(column for table in tables for column in table.columns))
    for name in add:
        if name not in offered:
            close = nearest(name, offered)
            hint = f"did you mean {close!r}? There are" if close else "there are"
            files = " or ".join(table.name for table in tables)
            raise DataError(f"{files} has no column {name!r} to add: {hint}: {_some(offered, 40)}")


def listed(tables: Sequence[Path | str] | Path | str) -> list[Path]:
    """One or several paths as a list."""
    return [Path(t) for t in ([tables] if isinstance(tables, str | Path) else tables)]


def _some(values: Any, most: int = 8) -> str:
    given = list(values)
    return ", ".join(map(str, given[:most])) + (", …" if len(given) > most else "")
