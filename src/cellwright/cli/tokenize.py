"""``cellwright tokenize``: cells as rank tokens, in a Hugging Face datasets folder."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console
from cellwright.cli.cells_bar import cells_bar


class SortAs(StrEnum):
    float64 = "float64"
    float32 = "float32"


def tokenize(
    file: Annotated[Path, typer.Argument(help="The .h5ad with raw counts.", metavar="FILE")],
    vocabulary: Annotated[
        str,
        typer.Option(
            help="A vocabulary table (.tsv, .tsv.gz), a RUN, a folder of tokens, a pickled token "
            "dictionary (.pkl), or fit: medians of these cells' train part.",
            rich_help_panel="Settings",
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The folder to write.", rich_help_panel="Output")
    ],
    medians: Annotated[
        Path | None,
        typer.Option(help="Pickled medians, with a .pkl.", rich_help_panel="Settings"),
    ] = None,
    symbols: Annotated[
        Path | None,
        typer.Option(help="Pickled symbols -> gene ids, with a .pkl.", rich_help_panel="Settings"),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Column of obs to keep; repeatable.", rich_help_panel="Output"),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            help="Most tokens of a cell. Default: the run's, else 4,096 with <cls> and 2,048 "
            "without.",
            rich_help_panel="Settings",
        ),
    ] = None,
    sort_dtype: Annotated[
        SortAs | None,
        typer.Option(
            help="Sort as float64, or float32 as some published copies. Default: the run's, else "
            "float64.",
            rich_help_panel="Settings",
        ),
    ] = None,
    cls: Annotated[
        bool,
        typer.Option(
            "--cls", help="With fit: frame cells by <cls> and <eos>.", rich_help_panel="Settings"
        ),
    ] = False,
    total_counts: Annotated[
        str | None,
        typer.Option(
            help="Column of obs with all counts of a cell, where genes were cut away before.",
            rich_help_panel="Settings",
        ),
    ] = None,
    layer: console.Layer = None,
    assume_counts: console.AssumeCounts = False,
    threads: Annotated[
        int | None,
        typer.Option(
            help="Threads. Default: the cores at hand, at most 4.",
            min=1,
            rich_help_panel="Machine",
        ),
    ] = None,
    force: console.ReplaceFolder = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Rank the genes of each cell and write their tokens for Hugging Face datasets.

    Example: cellwright tokenize cells.h5ad --vocabulary gc30M.tsv.gz --column cell_type -o tokens
    """
    console.start(verbose, quiet)
    from cellwright.workflows.tokenize import tokenize as run_tokenize

    with cells_bar("tokens", quiet) as tell:
        result = run_tokenize(
            file,
            out,
            vocabulary=vocabulary,
            medians=medians,
            symbols=symbols,
            columns=column or (),
            max_tokens=max_tokens,
            sort_dtype=None if sort_dtype is None else sort_dtype.value,
            with_cls=cls,
            total_counts=total_counts,
            layer=layer,
            assume_counts=assume_counts,
            threads=threads,
            force=force,
            progress=tell,
        )
    console.emit(result.to_dict(), as_json, result.text())
