"""``cellwright reverse ablate``: what knowledge of genes adds to naming perturbed ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console, screen_options

_DESIGN, _KNOWLEDGE = "Design", "Knowledge"


def ablate(
    file: Annotated[Path, typer.Argument(help="The .h5ad of a screen.", metavar="FILE")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder to write.", rich_help_panel="Output")
    ],
    knowledge: Annotated[
        list[str],
        typer.Option(
            help="Repeatable: positions, fourier (with --gene-table), tf:FILE, gmt:FILE, "
            "vectors:RUN, table:FILE, var or var:COLUMN,COLUMN.",
            rich_help_panel=_KNOWLEDGE,
        ),
    ],
    gene_table: Annotated[
        Path | None,
        typer.Option(
            help="Coordinates of genes: a GTF, a table with chr, start and end, or pyensembl:110.",
            rich_help_panel=_KNOWLEDGE,
        ),
    ] = None,
    build: Annotated[
        str, typer.Option(help="GRCh38 or GRCh37.", rich_help_panel=_KNOWLEDGE)
    ] = "GRCh38",
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Repeatable: linear-knowledge, graph, cross-attention. Default: linear-knowledge.",
            rich_help_panel=_DESIGN,
        ),
    ] = None,
    split: Annotated[
        str,
        typer.Option(
            help="unseen-singles, leave-one-double-out, ahlmann-eltze-2025, mambaperturb-2025, "
            "guides-held-out, contexts-held-out, or a split file (.json).",
            rich_help_panel=_DESIGN,
        ),
    ] = "unseen-singles",
    k: Annotated[int, typer.Option("--k", help="Cells in a query.", rich_help_panel=_DESIGN)] = 20,
    shuffles: Annotated[
        int,
        typer.Option(
            help="Times each source is shuffled between genes; networks once.",
            rich_help_panel=_DESIGN,
        ),
    ] = 5,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Epochs of networks. Default: as in reverse train.",
            min=1,
            rich_help_panel=_DESIGN,
        ),
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option(
            help="Times a random split is drawn. Default: 5 (mambaperturb-2025: 1).",
            min=1,
            rich_help_panel=_DESIGN,
        ),
    ] = None,
    most: Annotated[
        int,
        typer.Option(help="Queries of a perturbation, at most.", min=1, rich_help_panel=_DESIGN),
    ] = 50,
    perturbation: screen_options.Perturbation = None,
    control: screen_options.Control = None,
    separator: screen_options.Separator = "+",
    aliases: screen_options.Aliases = None,
    candidates: screen_options.Candidates = None,
    leave_out: screen_options.LeaveOut = None,
    batch: screen_options.Batch = None,
    guide: screen_options.Guide = None,
    context: screen_options.Context = None,
    min_cells: screen_options.MinCells = 2,
    layer: console.Layer = None,
    assume_counts: console.AssumeCounts = False,
    seed: console.Seed = 0,
    force: console.ReplaceFolder = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Ask what positions, pathways, regulators or gene vectors add to naming perturbed genes.

    Example: cellwright reverse ablate norman.h5ad --knowledge positions --gene-table g.tsv -o abl
    """
    console.start(verbose, quiet)
    from cellwright.workflows.reverse_ablation import LINEAR, reverse_ablate

    result = reverse_ablate(
        file,
        knowledge,
        split=split,
        methods=method or (LINEAR,),
        k=k,
        shuffles=shuffles,
        epochs=epochs,
        perturbation=perturbation,
        control=control,
        separator=separator,
        aliases=aliases,
        candidates=candidates,
        leave_out=leave_out or (),
        batch=batch,
        guide=guide,
        context=context,
        min_cells=min_cells,
        partitions=partitions,
        gene_table=gene_table,
        build=build,
        most=most,
        layer=layer,
        assume_counts=assume_counts,
        seed=seed,
        out=out,
        force=force,
    )
    console.emit(result.to_dict(), as_json, result.text())
