"""``cellwright fetch``: public data sets by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console


def fetch(
    name: Annotated[
        str | None,
        typer.Argument(help="The data set; without it all are listed.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="The folder to fetch into.", rich_help_panel="Output"),
    ] = None,
    show: Annotated[
        bool,
        typer.Option(
            "--list", help="List all data sets with size, licence, source.", rich_help_panel="Data"
        ),
    ] = False,
    registry: Annotated[
        Path | None,
        typer.Option(
            "--registry",
            help="Another list of data sets: TOML in the form of the package's own.",
            rich_help_panel="Data",
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Replace a file of the same name that is another one.",
            rich_help_panel="Output",
        ),
    ] = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Fetch a public data set by name, or list what there is.

    A fetch that broke off continues with the same command. Behind a proxy, set HTTPS_PROXY.

    Example: cellwright fetch norman2019 -o data
    """
    from cellwright.data.datasets.listing import listing
    from cellwright.data.datasets.registry import find, read_registry

    console.start(verbose, quiet)
    if show or name is None:
        known = read_registry(registry)
        if name is not None:
            known = {name: find(name, known)}
        datasets = [dataset.to_dict() for dataset in known.values()]
        listed = {"schema": "cellwright.fetch/1", "datasets": datasets}
        console.emit(listed, as_json, listing(known))
        return
    if out is None:
        raise typer.BadParameter(f"give the folder to fetch {name} into: -o DIR", param_hint="-o")
    from cellwright.cli.fetching_progress import fetching_progress
    from cellwright.data.datasets.fetch import fetch as bring

    with fetching_progress(quiet=quiet) as progress:
        result = bring(name, out, registry=registry, force=force, progress=progress)
    console.emit(result.to_dict(), as_json, result.text())
