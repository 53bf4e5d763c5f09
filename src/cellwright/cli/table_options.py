"""Options of the commands that join tables to cells."""

from __future__ import annotations

import csv
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Rows(StrEnum):
    refuse = "refuse"
    first = "first"


Tables = Annotated[
    list[Path] | None,
    typer.Option(
        "--table",
        help="A CSV or TSV (.gz or not) to join; repeat for a chain, in order.",
        rich_help_panel="Tables",
    ),
]
On = Annotated[
    list[str] | None,
    typer.Option(
        "--on",
        metavar="LEFT=RIGHT",
        help="What each table is joined on, in order: obs_names or a column so far, and the "
        "table's column. Default: found by trying, and said.",
        rich_help_panel="Tables",
    ),
]
MinMatch = Annotated[
    float,
    typer.Option(
        "--min-match",
        help="Refuse if a smaller share of the cells has a row, 0 to 1.",
        rich_help_panel="Tables",
    ),
]
Duplicates = Annotated[
    Rows,
    typer.Option(
        "--duplicates",
        help="Where a table has several rows for one key that differ: refuse, or take the first.",
        rich_help_panel="Tables",
    ),
]
ReplaceColumns = Annotated[
    bool,
    typer.Option(
        "--replace-columns",
        help="Let a new column replace one of obs that has other values.",
        rich_help_panel="Tables",
    ),
]


def names_in(text: str | None) -> list[str] | None:
    """``a,b`` -> the names; one that holds a comma stands in double quotes."""
    if text is None:
        return None
    rows = csv.reader([text], skipinitialspace=True)
    return [name.strip() for row in rows for name in row if name.strip()]
