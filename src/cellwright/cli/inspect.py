"""``cellwright inspect``: look at an .h5ad without loading its matrix."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console


def inspect(
    file: Annotated[Path, typer.Argument(help="The .h5ad or .zarr.", show_default=False)],
    column: Annotated[
        str | None,
        typer.Option(
            "--column",
            help="Column of obs to summarize; default the first found of cluster, subtype, "
            "cluster_alias, cluster_label, label.",
            rich_help_panel="Column",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option("--by", help="Cross the column with this one.", rich_help_panel="Column"),
    ] = None,
    values: Annotated[
        str | None,
        typer.Option(
            "--values",
            help="Count the cells with these values of the column (a,b,c; quote a value that "
            "holds a comma).",
            rich_help_panel="Column",
        ),
    ] = None,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Look at an .h5ad without loading its matrix: its scale, columns, genes and problems.

    Also recommends the column to split by. Needs seconds, whatever the size of the file.

    Example: cellwright inspect neurons.h5ad --column subtype --by library_label
    """
    from cellwright.data.inspect import inspect as look

    console.start(verbose, quiet)
    wanted = None
    if values is not None:
        wanted = [v.strip() for v in next(csv.reader([values], skipinitialspace=True), [])]
    found = look(file, column=column, by=by, values=wanted)
    console.emit(found.to_dict(), as_json, found.text())
