"""``cellwright perturb``: delete, raise or scale genes on paper and see what the model makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console
from cellwright.cli.cells_bar import cells_bar


def perturb(
    run: Annotated[
        Path,
        typer.Argument(
            help="Hugging Face folder of a Geneformer checkpoint, or folder of a run on ranks.",
            metavar="RUN",
        ),
    ],
    file: Annotated[Path, typer.Argument(help="The .h5ad with counts.", metavar="FILE")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder to write.", rich_help_panel="Output")
    ],
    delete: Annotated[
        list[str] | None,
        typer.Option(
            help="Take genes out: one, a set with commas, or all. Repeat for more, each by itself.",
            metavar="GENES",
            rich_help_panel="Edit (one of three)",
        ),
    ] = None,
    raise_: Annotated[
        list[str] | None,
        typer.Option(
            "--raise",
            help="Put genes in front of all others; named as for --delete.",
            metavar="GENES",
            rich_help_panel="Edit (one of three)",
        ),
    ] = None,
    scale: Annotated[
        list[str] | None,
        typer.Option(
            help="Multiply genes by --factor and rank them anew; named as for --delete.",
            metavar="GENES",
            rich_help_panel="Edit (one of three)",
        ),
    ] = None,
    factor: Annotated[
        float | None,
        typer.Option(
            help="What --scale multiplies by, above 0.", rich_help_panel="Edit (one of three)"
        ),
    ] = None,
    states: Annotated[
        str | None,
        typer.Option(
            help="Column of obs that holds the states of --goal.",
            metavar="COLUMN",
            rich_help_panel="Goal",
        ),
    ] = None,
    goal: Annotated[
        str | None,
        typer.Option(
            help="Edit cells of A, and measure how far they go toward B.",
            metavar="A:B",
            rich_help_panel="Goal",
        ),
    ] = None,
    group: Annotated[
        str,
        typer.Option(
            help="Column of donors or libraries; auto finds one, none for cells.",
            rich_help_panel="Settings",
        ),
    ] = "auto",
    null: Annotated[
        int,
        typer.Option(
            help="Matched random genes for each edit; with all, other genes stand in.",
            min=0,
            rich_help_panel="Settings",
        ),
    ] = 100,
    cells_per_gene: Annotated[
        int,
        typer.Option(help="Most cells an edit is measured in.", min=1, rich_help_panel="Settings"),
    ] = 50,
    max_cells: Annotated[
        int,
        typer.Option(
            help="Most cells drawn from the file (of each state).",
            min=1,
            rich_help_panel="Settings",
        ),
    ] = 1000,
    min_cells: Annotated[
        int,
        typer.Option(
            help="Leave out of all and of the null genes that fewer cells rank.",
            min=1,
            rich_help_panel="Settings",
        ),
    ] = 10,
    pooling: Annotated[
        str | None,
        typer.Option(
            help="mean over genes or cls. Default: the run's.", rich_help_panel="Settings"
        ),
    ] = None,
    layer_of: Annotated[
        int | None,
        typer.Option(
            help="Layer to read: 0 the embedding, -1 the last. Default: the run's.",
            rich_help_panel="Settings",
        ),
    ] = None,
    vocabulary: Annotated[
        Path | None,
        typer.Option(
            help="Table of a checkpoint's genes, tokens and medians. Default: in its folder.",
            rich_help_panel="Settings",
        ),
    ] = None,
    layer: console.Layer = None,
    assume_counts: console.AssumeCounts = False,
    batch_tokens: Annotated[
        int,
        typer.Option(
            help="Most tokens that pass the model together.", min=1, rich_help_panel="Settings"
        ),
    ] = 4096,
    device: Annotated[
        str, typer.Option(help="Where the model runs: cpu, cuda.", rich_help_panel="Settings")
    ] = "cpu",
    seed: console.Seed = 0,
    force: console.ReplaceFolder = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Edit genes of cells in silico; rank the shifts beside matched random genes.

    Example: cellwright perturb geneformer pbmc.h5ad --delete SPI1 --delete CEBPA,CEBPB -o edits
    """
    console.start(verbose, quiet)
    from cellwright.workflows.perturb import perturb as run_perturb

    with cells_bar("edited cells", quiet) as tell:
        result = run_perturb(
            run,
            file,
            delete=delete,
            raise_=raise_,
            scale=scale,
            factor=factor,
            states=states,
            goal=goal,
            group=group,
            null=null,
            cells_per_gene=cells_per_gene,
            max_cells=max_cells,
            min_cells=min_cells,
            vocabulary=vocabulary,
            pooling=pooling,
            layer_of=layer_of,
            layer=layer,
            assume_counts=assume_counts,
            batch_tokens=batch_tokens,
            device=device,
            seed=seed,
            out=out,
            force=force,
            progress=tell,
        )
    console.emit(result.to_dict(), as_json, result.text())
