"""``cellwright reverse``: from the expression after a perturbation back to the gene."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console, screen_options
from cellwright.cli.reverse_ablate import ablate
from cellwright.cli.reverse_forward import forward
from cellwright.cli.reverse_predict import predict
from cellwright.cli.reverse_train import train

app = typer.Typer(
    help="Rank the genes that may have been perturbed.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_DESIGN, _AUDIT, _NETWORKS = "Design", "Own transcripts", "Networks"


@app.callback()
def _root() -> None:
    """Rank the genes that may have been perturbed."""


@app.command("benchmark")
def benchmark(
    file: Annotated[Path, typer.Argument(help="The .h5ad of a screen.", metavar="FILE")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder to write.", rich_help_panel="Output")
    ],
    split: Annotated[
        str,
        typer.Option(
            help="leave-one-double-out, ahlmann-eltze-2025, mambaperturb-2025, unseen-singles, "
            "guides-held-out, contexts-held-out, or a split file (.json).",
            rich_help_panel=_DESIGN,
        ),
    ] = "leave-one-double-out",
    k: Annotated[
        str,
        typer.Option("--k", help="Cells in a query, with commas.", rich_help_panel=_DESIGN),
    ] = "1,5,20,all",
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Repeatable: frequency, own-z, nearest-centroid, knn, additive, "
            "additive-strength, linear-inverted, logistic-regression, random-forest, xgboost "
            "(default: all of these), and the networks mlp, attention, multi-head, graph, "
            "cross-attention, encoder (--pretrained).",
            rich_help_panel=_DESIGN,
        ),
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option(
            help="Times a random split is drawn. Default: 5 (mambaperturb-2025: 1, guides: 2).",
            min=1,
            rich_help_panel=_DESIGN,
        ),
    ] = None,
    most: Annotated[
        int,
        typer.Option(help="Queries of a perturbation, at most.", min=1, rich_help_panel=_DESIGN),
    ] = 50,
    permutations: Annotated[
        int,
        typer.Option(
            help="Exchanges of truths among test perturbations, for p; 0 for none.",
            min=0,
            rich_help_panel=_DESIGN,
        ),
    ] = 2000,
    network: Annotated[
        Path | None,
        typer.Option(
            help="Settings of networks (.toml), such as epochs and hidden; defaults as in reverse "
            "train.",
            rich_help_panel=_NETWORKS,
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Epochs of networks, at most.", min=1, rich_help_panel=_NETWORKS),
    ] = None,
    pretrained: Annotated[
        Path | None,
        typer.Option(
            help="Run folder or Geneformer checkpoint that encoder is made of; the same network "
            "from random weights stands beside it.",
            rich_help_panel=_NETWORKS,
        ),
    ] = None,
    freeze_layers: Annotated[
        int | None,
        typer.Option(
            help="Keep what enters its first layer and so many of its lowest layers as they are.",
            min=0,
            rich_help_panel=_NETWORKS,
        ),
    ] = None,
    knowledge: Annotated[
        list[str] | None,
        typer.Option(
            help="What graph and cross-attention know of genes: positions, fourier, gmt:FILE, "
            "tf:FILE, vectors:RUN, table:FILE, var; repeatable.",
            rich_help_panel=_NETWORKS,
        ),
    ] = None,
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
    kind: Annotated[
        str,
        typer.Option(
            help="activation (own transcripts go up), interference (down) or auto: as most "
            "training targets went.",
            rich_help_panel=_AUDIT,
        ),
    ] = "auto",
    hide_within: Annotated[
        int | None,
        typer.Option(
            help="Hide genes within so many base pairs of a candidate too.",
            rich_help_panel=_AUDIT,
        ),
    ] = None,
    gene_table: Annotated[
        Path | None,
        typer.Option(
            help="Coordinates of genes for it: a GTF, a table with chr, start and end, or "
            "pyensembl:110.",
            rich_help_panel=_AUDIT,
        ),
    ] = None,
    build: Annotated[
        str, typer.Option(help="GRCh38 or GRCh37.", rich_help_panel=_AUDIT)
    ] = "GRCh38",
    values: screen_options.Values = None,
    gene_sets: screen_options.GeneSets = None,
    layer: console.Layer = None,
    assume_counts: console.AssumeCounts = False,
    seed: console.Seed = 0,
    force: console.ReplaceFolder = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Rank perturbed genes by every baseline, with own transcripts visible and hidden.

    Example: cellwright reverse benchmark norman.h5ad --split leave-one-double-out -o reverse
    """
    console.start(verbose, quiet)
    from cellwright.config import read_toml
    from cellwright.workflows.reverse_benchmark import reverse_benchmark

    of_network = {} if network is None else read_toml(network)
    if epochs is not None:
        of_network["epochs"] = epochs
    result = reverse_benchmark(
        file,
        split=split,
        k=k,
        methods=method,
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
        kind=kind,
        gene_table=gene_table,
        build=build,
        hide_within=hide_within,
        values="log" if values is None else values,
        most=most,
        permutations=permutations,
        network=of_network,
        knowledge=knowledge or (),
        gene_sets=gene_sets,
        pretrained=pretrained,
        freeze_layers=freeze_layers,
        layer=layer,
        assume_counts=assume_counts,
        seed=seed,
        out=out,
        force=force,
    )
    console.emit(result.to_dict(), as_json, result.text())


app.command("forward")(forward)
app.command("ablate")(ablate)
app.command("predict")(predict)
app.command("train")(train)
