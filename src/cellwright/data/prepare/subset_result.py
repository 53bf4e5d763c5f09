"""What a subset holds and what it leaves out, counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.data.columns import CrossTable, as_labels, summarize_column
from cellwright.data.disk.rewrite import readable_bytes
from cellwright.data.inspection_text import cross_lines
from cellwright.data.prepare.gene_list import GeneMatch
from cellwright.data.prepare.match_report import MatchReport
from cellwright.data.prepare.where import Met
from cellwright.data.tables import table_of_frame


@dataclass(frozen=True)
class ValueCount:
    """Cells with one value of a column, in the source and among those chosen."""

    column: str
    value: str
    before: int
    after: int


@dataclass(frozen=True)
class SubsetResult:
    """A subset that was written.

    ``cross``: the cells that meet every condition but one on its column ``by``, so that it shows
    what that condition left out. ``genes`` is None where all were kept, ``tables`` where none was
    joined.
    """

    out: Path
    n_obs: tuple[int, int]
    n_vars: tuple[int, int]
    n_stored: int
    n_bytes: int
    counts: list[ValueCount]
    crossed: str | None
    cross: CrossTable | None
    genes: GeneMatch | None
    tables: MatchReport | None
    columns: list[str]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {
            "schema": "cellwright.subset/1",
            "out": str(self.out),
            "n_obs": {"before": self.n_obs[0], "after": self.n_obs[1]},
            "n_vars": {"before": self.n_vars[0], "after": self.n_vars[1]},
            "n_stored": self.n_stored,
            "bytes": self.n_bytes,
            "counts": [count.__dict__ for count in self.counts],
            "cross": None
            if self.cross is None
            else {"column": self.crossed, **self.cross.to_dict()},
            "genes": None if self.genes is None else self.genes.to_dict(),
            "join": None if self.tables is None else self.tables.to_dict(),
            "columns": self.columns,
            "notes": self.notes,
        }

    def text(self) -> str:
        """Everything as lines for people."""
        lines = [] if self.tables is None else [*self.tables.text(brief=True).split("\n"), ""]
        if self.counts:
            width = max(len(f"{c.column} {c.value}") for c in self.counts)
            lines.append(f"{'cells':<{width}}  {'before':>11}  {'after':>11}")
            for c in self.counts:
                lines.append(f"{f'{c.column} {c.value}':<{width}}  {c.before:>11,}  {c.after:>11,}")
            lines.append(f"{'all':<{width}}  {self.n_obs[0]:>11,}  {self.n_obs[1]:>11,}")
            lines.append("")
        if self.cross is not None and self.crossed is not None:
            lines += [*cross_lines(self.crossed, self.cross), ""]
        if self.genes is not None:
            lines += [self.genes.text(), ""]
        if self.columns:
            lines.append(f"new in obs: {', '.join(self.columns)}")
        lines += self.notes
        lines.append(
            f"wrote {self.out}: {self.n_obs[1]:,} cells × {self.n_vars[1]:,} genes, "
            f"{readable_bytes(self.n_bytes)}"
        )
        return "\n".join(lines)


def count_values(met: Sequence[Met], rows: NDArray[np.int64]) -> list[ValueCount]:
    """Cells with each value asked for, before and among the chosen ``rows``."""
    found = []
    for one in met:
        before = one.labels.value_counts()
        after = one.labels.iloc[rows].value_counts()
        found += [
            ValueCount(
                one.condition.column, value, int(before.get(value, 0)), int(after.get(value, 0))
            )
            for value in one.condition.values
        ]
    return found


def cross_counts(
    met: Sequence[Met], by: str | None, column: Callable[[str], pd.Series]
) -> tuple[str | None, CrossTable | None]:
    """The first condition's values by ``by``, in the cells that meet every condition but those on it."""
    if not met:
        return None, None
    first = met[0]
    if by is None:
        by = next(
            (m.condition.column for m in met if m.condition.column != first.condition.column), None
        )
    if by is None or by == first.condition.column:
        return None, None
    mask = np.ones(len(first.mask_n), dtype=bool)
    for one in met:
        if one.condition.column != by:
            mask &= one.mask_n
    across = next((m.labels for m in met if m.condition.column == by), None)
    across = as_labels(column(by)) if across is None else across
    name = first.condition.column
    frame = pd.DataFrame({name: first.labels.to_numpy()[mask], by: across.to_numpy()[mask]})
    there = set(frame[name])
    values = [value for value in first.condition.values if value in there]
    summary = summarize_column(table_of_frame(frame, "cells"), name, by=by, values=values)
    return name, summary.cross
