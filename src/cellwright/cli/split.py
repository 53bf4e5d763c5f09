"""``cellwright split``: train, validation and test cells, whole groups on one side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console


def split(
    file: Annotated[Path, typer.Argument(help="The .h5ad to split.", metavar="FILE")],
    out: Annotated[
        Path,
        typer.Option(
            "-o", "--out", help="The .h5ad to write, with obs['split'].", rich_help_panel="Output"
        ),
    ],
    by: Annotated[
        str,
        typer.Option(
            help="Column whose groups stay whole; 'auto' takes donor, library or batch; 'none' "
            "splits single cells.",
            rich_help_panel="Settings",
        ),
    ] = "auto",
    label: Annotated[
        str | None,
        typer.Option(
            help="Label column whose classes keep their shares.", rich_help_panel="Settings"
        ),
    ] = None,
    val: Annotated[
        float, typer.Option(help="Share of all cells for val.", rich_help_panel="Settings")
    ] = 0.1,
    test: Annotated[
        float, typer.Option(help="Share of all cells for test.", rich_help_panel="Settings")
    ] = 0.2,
    seed: console.Seed = 0,
    layer: Annotated[
        str | None,
        typer.Option(
            help="Where the counts are, to find copies of cells.", rich_help_panel="Settings"
        ),
    ] = None,
    cells: Annotated[
        bool,
        typer.Option(
            "--cells",
            help="Also write the list of cells, OUT.split.cells.txt.gz.",
            rich_help_panel="Output",
        ),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Write nothing and exit with 3 if a check fails.",
            rich_help_panel="Output",
        ),
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace files that exist.", rich_help_panel="Output"),
    ] = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Divide cells into train, val and test, and check the split for leaks.

    OUT gets obs['split']; OUT.split.toml beside it holds settings and a hash.

    Example: cellwright split neurons.h5ad -o split.h5ad --label subtype
    """
    from cellwright.workflows.split import split_file

    console.start(verbose, quiet)
    report = split_file(
        file,
        out,
        by=by,
        label=label,
        val=val,
        test=test,
        seed=seed,
        layer=layer,
        list_cells=cells,
        strict=strict,
        force=force,
    )
    console.emit(report.to_dict(), as_json, report.text())
