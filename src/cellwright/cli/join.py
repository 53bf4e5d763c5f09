"""``cellwright join``: tables beside an atlas joined to its cells."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console, prepare_options, table_options
from cellwright.cli.cells_bar import cells_bar


def join(
    file: Annotated[Path, typer.Argument(help="The .h5ad or .zarr.", metavar="FILE")],
    table: table_options.Tables = None,
    on: table_options.On = None,
    add: Annotated[
        str | None,
        typer.Option(
            help="Columns to add (a,b,c). Default: all but the keys.", rich_help_panel="Tables"
        ),
    ] = None,
    min_match: table_options.MinMatch = 0.9,
    duplicates: table_options.Duplicates = table_options.Rows.refuse,
    replace_columns: table_options.ReplaceColumns = False,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The .h5ad or .zarr to write.", rich_help_panel="Output"),
    ] = None,
    sidecar: Annotated[
        bool,
        typer.Option(
            "--sidecar",
            help="Write only the new columns, to FILE.sidecar.h5 beside FILE; subset, crop and "
            "split read it.",
            rich_help_panel="Output",
        ),
    ] = False,
    compression: prepare_options.Compress = prepare_options.Compression.gzip,
    raw: prepare_options.KeepRaw = prepare_options.Raw.keep,
    force: prepare_options.Force = False,
    memory: prepare_options.Memory = "512MB",
    workers: prepare_options.Workers = None,
    dask: prepare_options.Dask = None,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Join tables to the cells of an atlas, and say how well they match.

    Tables are streamed. A later table may be joined on what an earlier one brought.

    Example: cellwright join neurons.h5ad --table cell_metadata.csv --table cluster.csv -o joined.h5ad
    """
    from cellwright.data.prepare.join import join as put_together

    console.start(verbose, quiet)
    with cells_bar("writing", quiet) as progress:
        result = put_together(
            file,
            table or [],
            on=on or [],
            add=table_options.names_in(add),
            out=out,
            sidecar=sidecar,
            min_match=min_match,
            duplicates=duplicates.value,
            replace_columns=replace_columns,
            keep_raw=raw == prepare_options.Raw.keep,
            compression=compression.value,
            memory=prepare_options.bytes_of(memory),
            force=force,
            progress=progress,
            workers=workers,
            dask=dask,
        )
    console.emit(result.to_dict(), as_json, result.text())
