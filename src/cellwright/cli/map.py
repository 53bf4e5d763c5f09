"""``cellwright map``: published coordinates coloured by the most frequent types."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console, prepare_options

_TABLES = "What to draw"
_SETTINGS = "Settings"


def map(
    metadata: Annotated[
        Path,
        typer.Option(
            help="Table of cells with coordinates and cluster (.csv, .tsv, .gz); or an .h5ad with "
            "them in obs.",
            rich_help_panel=_TABLES,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            help="What to write: .png, .pdf, .svg, or .html (interactive).",
            rich_help_panel="Output",
        ),
    ],
    clusters: Annotated[
        Path | None,
        typer.Option(
            help="Table from cluster_alias to label. Without it clusters keep their alias.",
            rich_help_panel=_TABLES,
        ),
    ] = None,
    terms: Annotated[
        Path | None,
        typer.Option(
            help="Table from label to description, whose base type gives the colour.",
            rich_help_panel=_TABLES,
        ),
    ] = None,
    top_k: Annotated[
        int,
        typer.Option(
            help="Types in colour, by number of cells; at most 40.", rich_help_panel=_SETTINGS
        ),
    ] = 10,
    highlight: Annotated[
        list[str] | None,
        typer.Option(
            help="Clusters to circle, such as 2523,210; repeatable.", rich_help_panel=_SETTINGS
        ),
    ] = None,
    title: Annotated[
        str | None, typer.Option(help="Title of the figure.", rich_help_panel=_SETTINGS)
    ] = None,
    x: Annotated[str, typer.Option("--x", help="Column across.", rich_help_panel=_TABLES)] = "x",
    y: Annotated[str, typer.Option("--y", help="Column up.", rich_help_panel=_TABLES)] = "y",
    cluster: Annotated[
        str, typer.Option(help="Column with the cluster of a cell.", rich_help_panel=_TABLES)
    ] = "cluster_alias",
    force: prepare_options.Force = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Draw the cells of an atlas at their published coordinates.

    The most frequent types get a colour, the others are grey, clusters of interest are circled.

    Example: cellwright map --metadata cell_metadata.csv --clusters cluster.csv --terms
    cluster_annotation_term.csv --top-k 10 --highlight 2523,210 -o map.png
    """
    from cellwright.workflows.map import draw_map

    console.start(verbose, quiet)
    result = draw_map(
        metadata,
        clusters=clusters,
        terms=terms,
        top_k=top_k,
        highlight=highlight or (),
        title=title,
        x=x,
        y=y,
        cluster=cluster,
        out=out,
        force=force,
    )
    console.emit(result.to_dict(), as_json, result.text())
