"""``cellwright ldvae``: a linearly decoded variational autoencoder, from counts to gene loadings."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from cellwright.cli import console

_CELLS, _MODEL, _TRAINING, _HARDWARE = "Cells and split", "Model", "Training", "Hardware"

log = logging.getLogger("cellwright.training")


def ldvae(
    file: Annotated[Path, typer.Argument(help="The .h5ad with raw counts.", metavar="FILE")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Run folder to write.", rich_help_panel="Output")
    ],
    latent: Annotated[
        int | None, typer.Option(help="Latent axes. Default: 10.", rich_help_panel=_MODEL)
    ] = None,
    fit_on: Annotated[
        str | None,
        typer.Option(
            help="normal (cells that the state column calls so) or train (training cells of every "
            "state). Default: normal.",
            rich_help_panel=_CELLS,
        ),
    ] = None,
    state_column: Annotated[
        str | None,
        typer.Option(
            help="Column with the state; without it all cells are normal. Default: state.",
            rich_help_panel=_CELLS,
        ),
    ] = None,
    split_by: Annotated[
        str | None,
        typer.Option(
            help="Column whose groups stay whole; 'auto' takes obs['split'], else donor, library "
            "or batch; 'none' splits single cells. Default: auto.",
            rich_help_panel=_CELLS,
        ),
    ] = None,
    stratify: Annotated[
        str | None,
        typer.Option(help="Label column kept in proportion.", rich_help_panel=_CELLS),
    ] = None,
    val: Annotated[
        float | None,
        typer.Option(help="Share of validation cells. Default: 0.1.", rich_help_panel=_CELLS),
    ] = None,
    test: Annotated[
        float | None,
        typer.Option(help="Share of test cells. Default: 0.2.", rich_help_panel=_CELLS),
    ] = None,
    batch_key: Annotated[
        str | None,
        typer.Option(
            help="Column of batches that the decoder corrects for.", rich_help_panel=_MODEL
        ),
    ] = None,
    library: Annotated[
        str | None,
        typer.Option(
            help="Library size: observed, or latent with a prior per batch. Default: observed.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    likelihood: Annotated[
        str | None,
        typer.Option(
            help="nb, or zinb (zero-inflated; no fast kernel). Default: nb.",
            rich_help_panel=_MODEL,
        ),
    ] = None,
    decoder_norm: Annotated[
        bool | None,
        typer.Option(
            "--decoder-norm/--no-decoder-norm",
            help="Batch norm behind the linear decoder. Default: decoder-norm.",
            show_default=False,
            rich_help_panel=_MODEL,
        ),
    ] = None,
    hidden: Annotated[
        int | None,
        typer.Option(help="Hidden units of the encoder. Default: 128.", rich_help_panel=_MODEL),
    ] = None,
    dropout: Annotated[
        float | None,
        typer.Option(help="Dropout of the encoder. Default: 0.1.", rich_help_panel=_MODEL),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Most epochs. Default: 400, fewer above 20,000 cells.", rich_help_panel=_TRAINING
        ),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Cells per step. Default: 128.", rich_help_panel=_TRAINING)
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate",
            "--lr",
            help="Adam's rate. Default: 0.001.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(help="Adam's decay. Default: 1e-6.", rich_help_panel=_TRAINING),
    ] = None,
    kl_warmup: Annotated[
        int | None,
        typer.Option(
            help="Epochs over which the KL gains weight. Default: 400, at most half the epochs.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Stop after so many epochs without a better validation ELBO, behind the warm-up. "
            "Default: 45.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="Of the first layer: auto, bf16 or float32. Default: auto.",
            rich_help_panel=_HARDWARE,
        ),
    ] = None,
    accelerator: Annotated[
        str | None,
        typer.Option(help="auto, cpu, cuda or mps. Default: auto.", rich_help_panel=_HARDWARE),
    ] = None,
    from_disk: Annotated[
        bool | None,
        typer.Option(
            "--from-disk/--in-memory",
            help="Read each batch from a packed copy on disk instead of memory; the result is the "
            "same. Default: where the counts would take a quarter of the free memory.",
            show_default=False,
            rich_help_panel=_HARDWARE,
        ),
    ] = None,
    gene_sets: Annotated[
        Path | None,
        typer.Option(
            help="A GMT file: test the loadings of every axis for its sets (extra: enrichment).",
            rich_help_panel="Output",
        ),
    ] = None,
    label: Annotated[
        str | None,
        typer.Option(help="Column that colours the map.", rich_help_panel="Output"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="Settings from a TOML file; flags win over it.", rich_help_panel="Settings"
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Random seed. Default: 0.", rich_help_panel="Settings"),
    ] = None,
    layer: console.Layer = None,
    assume_counts: console.AssumeCounts = False,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Continue a stopped run.", rich_help_panel="Output"),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing run.", rich_help_panel="Output")
    ] = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Fit a linearly decoded variational autoencoder, whose axes are read off as gene loadings.

    Example: cellwright ldvae cortex.h5ad --latent 36 --fit-on normal -o runs/ldvae
    """
    flags: dict[str, Any] = {k: v for k, v in locals().items() if k not in _NOT_SETTINGS}
    console.start(verbose, quiet)
    from cellwright.cli.training_progress import training_progress
    from cellwright.workflows.ldvae import ldvae as run

    def on_epoch(row: dict[str, float]) -> None:
        every = 10 if row["epoch"] > 10 else 1
        if row["epoch"] % every == 0:
            log.info(
                "epoch %d: negative ELBO %.2f, validation %.2f (KL %.2f), KL weight %.2f, %.0f cells/s",
                int(row["epoch"]),
                row["train_elbo_loss"],
                row["val_loss"],
                row["val_kl_latent"] + row["val_kl_library"],
                row["kl_weight"],
                row["cells_per_second"],
            )

    with training_progress(quiet=quiet) as shown:
        result = run(
            file,
            out,
            config=config,
            gene_sets=gene_sets,
            label=label,
            layer=layer,
            assume_counts=assume_counts,
            force=force,
            resume=resume,
            on_epoch=on_epoch,
            on_step=shown.step,
            **flags,
        )
    console.emit(result.metrics, as_json, result.text())


_NOT_SETTINGS = {"file", "out", "config", "gene_sets", "label", "layer", "assume_counts"}
_NOT_SETTINGS |= {"resume", "force", "as_json", "verbose", "quiet"}
