"""Rows of a table found for the cells of a file: by one key, streamed, with a report of what matched."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.data.prepare.csv_table import CsvTable
from cellwright.data.prepare.keys import NAMES, Keys
from cellwright.data.prepare.match_report import TableMatch
from cellwright.data.prepare.typed_column import Kind, TypedColumn, kind_of, widen
from cellwright.errors import DataError

Duplicates = Literal["refuse", "first"]

_log = logging.getLogger("cellwright.data")
_EXAMPLES = 5


def look_up(
    table: CsvTable,
    right: str,
    keys: Keys,
    columns: Sequence[str],
    *,
    chosen: Literal["given", "found"] = "given",
    duplicates: Duplicates = "refuse",
) -> tuple[pd.DataFrame, TableMatch]:
    """Stream a table once and keep, for each cell, the row whose ``right`` is the cell's key.

    Memory is bounded by the cells, not by the rows. Types are those of whole columns, so the table
    is streamed a second time where a late row is of another kind than the first ones.

    Returns
    -------
    One row per cell with ``columns`` (missing where no row matches), and how it matched.

    Raises
    ------
    DataError
        If a key stands in several rows that differ in ``columns``, unless ``duplicates`` is
        ``"first"``; or the table cannot be read.
    """
    kinds: dict[str, Kind] = dict.fromkeys(columns, "empty")
    pass_ = _Pass(table, right, keys, kinds, duplicates)
    if not pass_.run():
        pass_ = _Pass(table, right, keys, pass_.kinds, duplicates)
        pass_.run()
    found = pd.DataFrame(
        {column: typed.series(pass_.codes_n()) for column, typed in pass_.typed.items()},
        index=pd.RangeIndex(len(keys.codes_n)),
    )
    return found, pass_.match(chosen)


class _Pass:
    """One reading of the table, with the kinds its columns are believed to have."""

    def __init__(
        self,
        table: CsvTable,
        right: str,
        keys: Keys,
        kinds: dict[str, Kind],
        duplicates: Duplicates,
    ) -> None:
        self.table, self.right, self.keys = table, right, keys
        self.kinds, self.duplicates = dict(kinds), duplicates
        self.typed = {c: TypedColumn(kind, len(keys.values)) for c, kind in kinds.items()}
        self.seen = np.zeros(len(keys.values), dtype=bool)
        self.n_rows = self.n_left_over = self.n_repeated = self.n_conflicts = self.n_stripped = 0
        self.first_rows: list[str] = []
        self.left_over: list[str] = []

    def run(self) -> bool:
        """Read everything; False if the kinds turned out to be wider than believed."""
        sound, said = True, time.monotonic()
        for piece in self.table.chunks([self.right, *self.typed]):
            for column, typed in self.typed.items():
                kind = widen(self.kinds[column], kind_of(piece[column].to_numpy(dtype=object)))
                if kind == self.kinds[column]:
                    continue
                self.kinds[column] = kind
                if typed.kind == "empty":
                    self.typed[column] = TypedColumn(kind, len(self.keys.values))
                elif {typed.kind, kind} != {"int", "long"}:
                    sound = False
            if sound:
                self._take(piece)
            self.n_rows += len(piece)
            if time.monotonic() - said > 5:
                said = time.monotonic()
                _log.info("reading %s: %s rows", self.table.name, f"{self.n_rows:,}")
        return sound

    def _take(self, piece: pd.DataFrame) -> None:
        texts, stripped = self.keys.clean(piece[self.right].to_numpy(dtype=object))
        self.n_stripped += stripped
        self.first_rows = _more(self.first_rows, texts)
        positions = self.keys.values.get_indexer(pd.Index(texts, dtype=object))
        self.n_left_over += int((positions < 0).sum())
        self.left_over = _more(self.left_over, texts[positions < 0])
        hit = np.flatnonzero(positions >= 0)
        where = positions[hit]
        again = self.seen[where] | pd.Series(where).duplicated().to_numpy()
        first, repeats = hit[~again], hit[again]
        self.seen[positions[first]] = True
        for column, typed in self.typed.items():
            typed.put(positions[first], piece[column].to_numpy(dtype=object)[first])
        if len(repeats):
            self._compare(piece, positions, repeats)

    def _compare(
        self, piece: pd.DataFrame, positions: NDArray[np.int64], repeats: NDArray[np.int64]
    ) -> None:
        self.n_repeated += len(repeats)
        differs = np.zeros(len(repeats), dtype=bool)
        for column, typed in self.typed.items():
            other = typed.differs(positions[repeats], piece[column].to_numpy(dtype=object)[repeats])
            if self.duplicates == "refuse" and other.any():
                row = repeats[np.flatnonzero(other)[0]]
                key = self.keys.values[positions[row]]
                raise DataError(
                    f"{self.table.path} has several rows for {self.right} {key!r} that differ in "
                    f"{column!r} (one says {str(piece[column].iloc[row])!r}); choose a column that "
                    "names each row once with --on, or pass --duplicates first"
                )
            differs |= other
        self.n_conflicts += int(differs.sum())

    def codes_n(self) -> NDArray[np.int64]:
        """For each cell the position of its values, -1 where no row matched."""
        return self._per_cell(self.seen, self.keys.codes_n)

    @staticmethod
    def _per_cell(seen: NDArray[np.bool_], codes_n: NDArray[np.int64]) -> NDArray[np.int64]:
        if not len(seen):
            return codes_n
        return np.where((codes_n >= 0) & seen[codes_n], codes_n, -1)

    def match(self, chosen: Literal["given", "found"]) -> TableMatch:
        keys = self.keys
        matched = self.codes_n() >= 0
        sizes = np.bincount(keys.codes_n[keys.codes_n >= 0], minlength=len(keys.values))
        shared = int(sizes[sizes > 1].sum()) if keys.name == NAMES else 0
        return TableMatch(
            table=self.table.name,
            left=keys.name,
            right=self.right,
            chosen=chosen,
            n_cells=len(keys.codes_n),
            n_keyed=keys.n_keyed,
            n_matched=int(matched.sum()),
            n_rows=self.n_rows,
            n_left_over=self.n_left_over,
            n_repeated=self.n_repeated,
            n_conflicts=self.n_conflicts,
            n_shared=shared,
            n_stripped={"table": self.n_stripped, "cells": keys.n_stripped},
            examples={
                "cells": [str(v) for v in keys.values[:_EXAMPLES]],
                "rows": self.first_rows,
                "unmatched_cells": [str(v) for v in keys.values[~self.seen][:_EXAMPLES]],
                "left_over_rows": self.left_over,
            },
        )


def _more(examples: list[str], texts: NDArray[Any]) -> list[str]:
    """Up to five different examples."""
    if len(examples) >= _EXAMPLES:
        return examples
    return list(dict.fromkeys([*examples, *map(str, texts[: 4 * _EXAMPLES])]))[:_EXAMPLES]
