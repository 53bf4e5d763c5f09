"""``cellwright embed``: vectors of cells and genes from a pretrained run or a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console
from cellwright.cli.cells_bar import cells_bar


def embed(
    run: Annotated[
        Path,
        typer.Argument(
            help="Run folder of a pretraining, or Hugging Face folder of a Geneformer checkpoint.",
            metavar="RUN",
        ),
    ],
    file: Annotated[Path, typer.Argument(help="The .h5ad with counts.", metavar="FILE")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The .h5ad to write.", rich_help_panel="Output")
    ],
    name: Annotated[
        str | None,
        typer.Option(
            help="Store under obsm['X_NAME'] and varm['NAME']. Default: the run's folder name.",
            rich_help_panel="Output",
        ),
    ] = None,
    pooling: Annotated[
        str | None,
        typer.Option(
            help="mean over the latents or concat of all; of a checkpoint, mean over genes or cls. "
            "Default: the run's.",
            rich_help_panel="Settings",
        ),
    ] = None,
    layer_of: Annotated[
        int | None,
        typer.Option(
            help="Layer of a checkpoint: 0 the embedding, -1 the last. Default: -2.",
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
    min_coverage: Annotated[
        float | None,
        typer.Option(
            help="Share of the run's genes that the data must have (default 0.8); for a "
            "checkpoint, share of the counts that are of its genes (default 0.1).",
            min=0.0,
            max=1.0,
            rich_help_panel="Settings",
        ),
    ] = None,
    layer: console.Layer = None,
    assume_counts: console.AssumeCounts = False,
    batch_size: Annotated[
        int, typer.Option(help="Cells per batch.", min=1, rich_help_panel="Settings")
    ] = 128,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing file.", rich_help_panel="Output")
    ] = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Embed cells with a run or a Geneformer checkpoint; report how much of them it knows.

    Example: cellwright embed runs/neurons neurons.h5ad -o embedded.h5ad
    """
    console.start(verbose, quiet)
    from cellwright.workflows.embed import embed as run_embed

    with cells_bar("embedding", quiet) as tell:
        result = run_embed(
            run,
            file,
            out,
            name=name,
            pooling=pooling,
            layer_of=layer_of,
            vocabulary=vocabulary,
            min_coverage=min_coverage,
            layer=layer,
            assume_counts=assume_counts,
            batch_size=batch_size,
            force=force,
            progress=tell,
        )
    console.emit(result.to_dict(), as_json, result.text())
