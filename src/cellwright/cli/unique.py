"""``cellwright unique``: every name of a cell and of a gene once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console, prepare_options
from cellwright.cli.cells_bar import cells_bar


class GeneRule(StrEnum):
    make_unique = "make_unique"
    collapse = "collapse"


class CellRule(StrEnum):
    make_unique = "make_unique"
    drop = "drop"


def unique(
    file: Annotated[Path, typer.Argument(help="The .h5ad or .zarr.", metavar="FILE")],
    out: prepare_options.Out,
    genes: Annotated[
        GeneRule,
        typer.Option(
            help="Genes of one name: add -1, -2, … to the name, or add up their values in X and "
            "every layer.",
            rich_help_panel="Settings",
        ),
    ] = GeneRule.make_unique,
    cells: Annotated[
        CellRule,
        typer.Option(
            help="Cells of one name: add -1, -2, …, or keep the first.", rich_help_panel="Settings"
        ),
    ] = CellRule.make_unique,
    raw: prepare_options.KeepRaw = prepare_options.Raw.keep,
    compression: prepare_options.Compress = prepare_options.Compression.gzip,
    memory: prepare_options.Memory = "512MB",
    workers: prepare_options.Workers = None,
    dask: prepare_options.Dask = None,
    force: prepare_options.Force = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Make the names of cells and genes unique, and say how many were not.

    Example: cellwright unique neurons.h5ad -o unique.h5ad --genes collapse --cells drop
    """
    from cellwright.data.prepare.unique import unique as make

    console.start(verbose, quiet)
    with cells_bar("writing", quiet) as tell:
        result = make(
            file,
            out,
            genes=genes.value,
            cells=cells.value,
            keep_raw=raw.value == "keep",
            compression=compression.value,
            memory=prepare_options.bytes_of(memory),
            force=force,
            progress=tell,
            workers=workers,
            dask=dask,
        )
    console.emit(result.to_dict(), as_json, result.text())
