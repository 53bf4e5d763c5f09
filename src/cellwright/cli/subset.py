"""``cellwright subset``: chosen cells and genes out of an atlas."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console, prepare_options, table_options
from cellwright.cli.cells_bar import cells_bar


def subset(
    file: Annotated[Path, typer.Argument(help="The .h5ad or .zarr.", metavar="FILE")],
    out: prepare_options.Out,
    where: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=VALUE,…",
            help="Cells whose value is one of these, exactly; a second --where must be met too. "
            "Quote a value that holds a comma: 'region=\"a, b\",c'.",
            rich_help_panel="Choice",
        ),
    ] = None,
    gene_list: Annotated[
        Path | None,
        typer.Option(
            help="File with one gene a line (name, Ensembl id or symbol).",
            rich_help_panel="Choice",
        ),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="Column to count the first --where by. Default: the second --where's.",
            rich_help_panel="Choice",
        ),
    ] = None,
    label_as: Annotated[
        str | None,
        typer.Option(
            help="New column of obs with the value of the first --where.",
            rich_help_panel="Labels",
        ),
    ] = None,
    label_prefix: Annotated[
        str,
        typer.Option(
            help="What stands before the value, such as cluster_.", rich_help_panel="Labels"
        ),
    ] = "",
    table: table_options.Tables = None,
    on: table_options.On = None,
    add: Annotated[
        str | None,
        typer.Option(
            help="Columns of the tables to add beside those used (a,b,c).",
            rich_help_panel="Tables",
        ),
    ] = None,
    min_match: table_options.MinMatch = 0.9,
    duplicates: table_options.Duplicates = table_options.Rows.refuse,
    replace_columns: table_options.ReplaceColumns = False,
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
    """Write the cells with the labels one wants, and the genes of a list, to a new file.

    Labels come from obs, from a table joined on the fly, or from what join --sidecar left.

    Example: cellwright subset neurons.h5ad --where cluster_alias=2523,210 -o two.h5ad
    """
    from cellwright.data.prepare.subset import subset as choose

    console.start(verbose, quiet)
    with cells_bar("writing", quiet) as progress:
        result = choose(
            file,
            out,
            where or [],
            tables=table or [],
            on=on or [],
            add=table_options.names_in(add) or [],
            by=by,
            gene_list=gene_list,
            label_as=label_as,
            label_prefix=label_prefix,
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
