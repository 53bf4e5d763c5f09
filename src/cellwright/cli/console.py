"""What commands share on the terminal: verbosity, JSON on standard output, one-line errors."""

from __future__ import annotations

import json
import logging
import sys
from typing import Annotated, Any

import typer

from cellwright.errors import CellwrightError

Json = Annotated[
    bool,
    typer.Option(
        "--json",
        help="Print the result as one JSON object on standard output, nothing else there.",
        rich_help_panel="Output",
    ),
]
Verbose = Annotated[
    int,
    typer.Option("-v", "--verbose", count=True, help="Say more.", rich_help_panel="Output"),
]
Quiet = Annotated[
    bool,
    typer.Option("-q", "--quiet", help="Say only what went wrong.", rich_help_panel="Output"),
]
Seed = Annotated[int, typer.Option("--seed", help="Random seed.", rich_help_panel="Settings")]

ReplaceFolder = Annotated[
    bool,
    typer.Option("--force", help="Replace an existing folder.", rich_help_panel="Output"),
]

Layer = Annotated[
    str | None,
    typer.Option("--layer", help="Where the counts are.", rich_help_panel="Settings"),
]
AssumeCounts = Annotated[
    bool,
    typer.Option("--assume-counts", help="Take fractions as counts.", rich_help_panel="Settings"),
]


def start(verbose: int = 0, quiet: bool = False) -> None:
    """Send the package's log to standard error at the level asked for."""
    level = logging.WARNING if quiet else (logging.DEBUG if verbose else logging.INFO)
    logger = logging.getLogger("cellwright")
    logger.setLevel(level)
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
        logger.propagate = False


def emit(result: dict[str, Any], as_json: bool, text: str) -> None:
    """Print ``result`` as JSON, or ``text`` for people, on standard output."""
    typer.echo(json.dumps(result, allow_nan=False) if as_json else text)


def fail(error: CellwrightError) -> None:
    """One sentence on standard error."""
    typer.echo(f"cellwright: {error}", err=True)
