"""Which column of a table belongs to which column of the cells: given, or found by trying."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cellwright.config import nearest
from cellwright.data.prepare.csv_table import CsvTable
from cellwright.data.prepare.keys import NAMES, Keys, keys_of
from cellwright.errors import DataError, SettingsError

_SAMPLE = 10_000
_MANY = 100


@dataclass(frozen=True)
class Candidate:
    """One pair of columns tried.

    ``share`` of the cells tried that have a key have a row; ``repeats`` tells whether the table
    has several rows for one of these keys.
    """

    left: str
    right: str
    share: float
    repeats: bool


def parse_on(on: str | tuple[str, str]) -> tuple[str, str]:
    """``"obs_names=cell_label"`` -> its two sides; a single name stands for both.

    Raises
    ------
    SettingsError
        If a side is empty.
    """
    left, right = on if isinstance(on, tuple) else (on.split("=", 1) * 2)[:2]
    if not left.strip() or not right.strip():
        raise SettingsError(
            f"--on is {on!r}, expected LEFT=RIGHT such as obs_names=cell_label: a column of the "
            "cells and the column of the table that matches it"
        )
    return left.strip(), right.strip()


def try_names(table: CsvTable, names: pd.Index) -> list[Candidate]:
    """Every column of a table against the names of the cells, on a sample of them; best first."""
    step = max(1, -(-len(names) // _SAMPLE))
    keys = keys_of(NAMES, names[::step])
    return _tried(table, [(column, keys) for column in table.columns])


def try_pairs(table: CsvTable, keys: Mapping[str, Keys]) -> list[Candidate]:
    """Columns of a table against those of the cells, by name of the table's column; best first."""
    return _tried(table, list(keys.items()))


def _tried(table: CsvTable, pairs: Sequence[tuple[str, Keys]]) -> list[Candidate]:
    """One reading of the table; a column that finds no cell where another finds many is given up."""
    hits = [np.zeros(len(keys.values), dtype=np.int64) for _, keys in pairs]
    tried: Sequence[int] = range(len(pairs))
    for piece in table.chunks([column for column, _ in pairs]):
        for i in tried:
            (column, keys), hit = pairs[i], hits[i]
            texts, _ = keys.clean(piece[column].to_numpy(dtype=object))
            positions = keys.values.get_indexer(pd.Index(texts, dtype=object))
            np.add.at(hit, positions[positions >= 0], 1)
        if any((hits[i] > 0).sum() >= _MANY for i in tried):
            tried = [i for i in tried if hits[i].any()]
    found = []
    for (column, keys), hit in zip(pairs, hits, strict=True):
        known = keys.codes_n[keys.codes_n >= 0]
        share = float((hit[known] > 0).mean()) if len(known) else 0.0
        found.append(Candidate(keys.name, column, share, bool((hit > 1).any())))
    return sorted(found, key=_rank)


def _rank(candidate: Candidate) -> tuple[bool, bool, float]:
    """A column that most cells are found by goes first, then one whose rows are single."""
    return candidate.share < 0.5, candidate.repeats, -candidate.share


def choose(table: CsvTable, tried: Sequence[Candidate]) -> Candidate | None:
    """The best of what was tried, None if no cell was found by any.

    The names of the cells win over columns that fit as well.

    Raises
    ------
    DataError
        If two columns fit equally well.
    """
    fitting = [candidate for candidate in tried if candidate.share > 0]
    if not fitting:
        return None
    equal = [c for c in fitting if _rank(c) == _rank(fitting[0])]
    named = [c for c in equal if c.left == NAMES]
    if named:
        return named[0]
    if len(equal) > 1:
        listed = " and ".join(f"{c.left}={c.right}" for c in equal[:3])
        raise DataError(
            f"{table.path} fits the cells by several columns equally well ({listed}, "
            f"{100 * equal[0].share:.4g} % each); say which with --on {equal[0].left}="
            f"{equal[0].right}"
        )
    return fitting[0]


def require_left(left: str, right: str, known: Sequence[str], table: CsvTable) -> None:
    """Raise DataError if the left side of --on is no column of the cells or of an earlier table."""
    if left == NAMES or left in known:
        return
    if left in table.columns and (right in known or right == NAMES):
        raise DataError(
            f"--on {left}={right} stands the wrong way round: {left!r} is a column of "
            f"{table.name}; write --on {right}={left}"
        )
    close = nearest(left, [NAMES, *known])
    hint = f"did you mean {close!r}? There are" if close else "there are"
    raise DataError(
        f"no column {left!r} among the cells or the tables before {table.name}: {hint}: "
        f"{', '.join([NAMES, *known][:40])}"
    )
