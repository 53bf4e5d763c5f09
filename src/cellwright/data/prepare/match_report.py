"""How the rows of tables fit the cells, for people and for JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class TableMatch:
    """How the rows of one table fit the cells.

    ``n_keyed`` of ``n_cells`` have a key, ``n_matched`` of those a row; ``n_left_over`` of
    ``n_rows`` belong to no cell; ``n_repeated`` rows repeat an earlier row of a cell and
    ``n_conflicts`` of them say something else; ``n_shared`` cells have a name that another cell has
    (0 where many cells share a key by nature); ``n_stripped`` ids had spaces around them.
    """

    table: str
    left: str
    right: str
    chosen: Literal["given", "found"]
    n_cells: int
    n_keyed: int
    n_matched: int
    n_rows: int
    n_left_over: int
    n_repeated: int
    n_conflicts: int
    n_shared: int
    n_stripped: dict[str, int]
    examples: dict[str, list[str]] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Cells with a row among the cells with a key, 0 to 1."""
        return self.n_matched / self.n_keyed if self.n_keyed else 0.0

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "share": self.share}

    def headline(self) -> str:
        """One line: what matches."""
        keyed = "" if self.n_keyed == self.n_cells else f" with {self.left}"
        return (
            f"{self.table}: {self.n_matched:,} of {self.n_keyed:,} cells{keyed} "
            f"({100 * self.share:.4g} %) match on {self.left} = {self.right}"
        )

    def lines(self) -> list[str]:
        """Everything as lines for people."""
        out = [self.headline() + (" (found)" if self.chosen == "found" else "")]
        rows = f"  rows       {self.n_rows:,}, {self.n_left_over:,} of them of no cell"
        if self.n_repeated:
            rows += f"; {self.n_repeated:,} repeat the row of a cell"
            rows += f", {self.n_conflicts:,} of them with other values: the first row was taken"
            rows = rows.replace(
                ", 0 of them with other values: the first row was taken", " exactly"
            )
        out.append(rows)
        if self.n_keyed < self.n_cells:
            out.append(f"  no key     {self.n_cells - self.n_keyed:,} cells have no {self.left}")
        if self.n_shared:
            out.append(f"  names      {self.n_shared:,} cells have the name of another cell")
        if any(self.n_stripped.values()):
            out.append(
                f"  spaces     around {self.n_stripped['table']:,} ids of the table and "
                f"{self.n_stripped['cells']:,} of the cells were left out of the comparison"
            )
        titles = {
            "cells": "cells",
            "rows": "table",
            "unmatched_cells": "not found",
            "left_over_rows": "left over",
        }
        for key, title in titles.items():
            if self.examples.get(key):
                out.append(f"  {title:<10} e.g. {', '.join(self.examples[key])}")
        return out


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

    def text(self, *, brief: bool = False) -> str:
        """Everything as lines for people; ``brief``: one line per table that fits every cell."""
        lines: list[str] = []
        for match in self.tables:
            full = match.lines()
            lines += full[:1] if brief and match.n_matched == match.n_cells else full
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
