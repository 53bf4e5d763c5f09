"""``cellwright reverse train``: a network that names perturbed genes, from a screen to a run folder."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from cellwright.cli import console, screen_options
from cellwright.cli import reverse_network_options as network_options
from cellwright.training.reverse_settings import NetworkSettings

_D = NetworkSettings()
_DESIGN, _GENES = "Design", "Gene knowledge"

log = logging.getLogger("cellwright.training")


def train(
    file: Annotated[Path, typer.Argument(help="The .h5ad of a screen.", metavar="FILE")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Run folder to write.", rich_help_panel="Output")
    ],
    kind: network_options.Kind = None,
    pretrained: network_options.Pretrained = None,
    freeze_layers: network_options.FreezeLayers = None,
    encoder_alone: network_options.EncoderAlone = None,
    hidden: network_options.Hidden = None,
    width: network_options.Width = None,
    heads: network_options.Heads = None,
    layers: network_options.Layers = None,
    dropout: network_options.Dropout = None,
    members: network_options.Members = None,
    inputs: network_options.Inputs = None,
    loss: network_options.Loss = None,
    k: Annotated[
        int | None,
        typer.Option(
            "--k", help=f"Cells of a training group. Default: {_D.k}.", rich_help_panel=_DESIGN
        ),
    ] = None,
    groups: network_options.Groups = None,
    sums: network_options.Sums = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="ahlmann-eltze-2025, mambaperturb-2025, leave-one-double-out, unseen-singles, "
            "guides-held-out, contexts-held-out, a split file (.json), none (train on everything) or "
            "auto. Default: auto.",
            rich_help_panel=_DESIGN,
        ),
    ] = None,
    partition: Annotated[
        int | None,
        typer.Option(
            help="Which partition of a random split, guide or context. Default: 0.",
            rich_help_panel=_DESIGN,
        ),
    ] = None,
    held_out: Annotated[
        float | None,
        typer.Option(
            help="Share of the cells of training conditions that is kept back. Default: 0.1.",
            rich_help_panel=_DESIGN,
        ),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(
            help="Queries of a perturbation, at most. Default: 20.", rich_help_panel=_DESIGN
        ),
    ] = None,
    own_genes: Annotated[
        str | None,
        typer.Option(
            help="Candidates' own transcripts: hidden or visible. Default: hidden.",
            rich_help_panel=_DESIGN,
        ),
    ] = None,
    values: screen_options.Values = None,
    epochs: network_options.Epochs = None,
    patience: network_options.Patience = None,
    batch_size: network_options.BatchSize = None,
    learning_rate: network_options.LearningRate = None,
    weight_decay: network_options.WeightDecay = None,
    search: network_options.Search = 0,
    perturbation: screen_options.Perturbation = None,
    control: screen_options.Control = None,
    separator: Annotated[
        str | None,
        typer.Option(
            help="Between the genes of a double. Default: +.", rich_help_panel=screen_options.PANEL
        ),
    ] = None,
    batch: screen_options.Batch = None,
    guide: screen_options.Guide = None,
    context: screen_options.Context = None,
    min_cells: Annotated[
        int | None,
        typer.Option(
            help="Leave perturbations with fewer cells out. Default: 2.",
            rich_help_panel=screen_options.PANEL,
        ),
    ] = None,
    aliases: screen_options.Aliases = None,
    candidates: screen_options.Candidates = None,
    leave_out: screen_options.LeaveOut = None,
    knowledge: Annotated[
        list[str] | None,
        typer.Option(
            help="Repeatable: positions, fourier, gmt:FILE, tf:FILE, vectors:RUN, table:FILE, var.",
            rich_help_panel=_GENES,
        ),
    ] = None,
    gene_table: Annotated[
        str | None,
        typer.Option(
            help="Coordinates of genes: a GTF, a table with chr, start and end, or pyensembl:110.",
            rich_help_panel=_GENES,
        ),
    ] = None,
    build: Annotated[
        str | None,
        typer.Option(help="GRCh38 or GRCh37. Default: GRCh38.", rich_help_panel=_GENES),
    ] = None,
    gene_sets: screen_options.GeneSets = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Settings from a TOML file; flags win over it.", rich_help_panel="Settings"
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help=f"Random seed. Default: {_D.seed}.", rich_help_panel="Settings"),
    ] = None,
    layer: console.Layer = None,
    assume_counts: console.AssumeCounts = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Continue a stopped run or search.", rich_help_panel="Output"
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing run.", rich_help_panel="Output")
    ] = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Train a network that names perturbed genes, and judge it on unseen perturbations.

    Example: cellwright reverse train norman.h5ad --split ahlmann-eltze-2025 -o runs/reverse
    """
    flags: dict[str, Any] = {k: v for k, v in locals().items() if k not in _NOT_SETTINGS}
    console.start(verbose, quiet)
    from cellwright.errors import SettingsError
    from cellwright.workflows.reverse_train import reverse_train

    if hidden is not None:
        sizes = [part.strip() for part in hidden.split(",") if part.strip() not in ("", "none")]
        if not all(size.isdigit() for size in sizes):
            raise SettingsError(
                f"--hidden {hidden!r} is no list of layers: expected sizes with commas, or none"
            )
        flags["hidden"] = [int(size) for size in sizes]

    def on_epoch(row: dict[str, float]) -> None:
        unseen = f", unseen {row['unseen_mrr']:.3f}" if "unseen_mrr" in row else ""
        log.info(
            "epoch %d: loss %.3f, validation %.3f; mean reciprocal rank of training perturbations "
            "%.3f%s",
            int(row["epoch"]),
            row["train_loss"],
            row["val_loss"],
            row["train_mrr"],
            unseen,
        )

    def on_trial(number: int, best: float | None) -> None:
        said = "no value" if best is None else f"validation loss {best:.3f}"
        log.info("trial %d of %d: %s", number, search, said)

    result = reverse_train(
        file,
        out,
        config=config,
        search_trials=search,
        gene_sets=gene_sets,
        aliases=aliases,
        candidates=candidates,
        leave_out=leave_out or (),
        layer=layer,
        assume_counts=assume_counts,
        force=force,
        resume=resume,
        on_epoch=on_epoch,
        on_trial=on_trial,
        **flags,
    )
    console.emit(result.metrics, as_json, result.text())


_NOT_SETTINGS = {"file", "out", "config", "search", "gene_sets", "aliases", "candidates"}
_NOT_SETTINGS |= {"leave_out", "layer", "assume_counts", "resume", "force", "as_json"}
_NOT_SETTINGS |= {"verbose", "quiet"}
