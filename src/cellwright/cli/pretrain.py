"""``cellwright pretrain``: masked bins or ranks, from counts or tokens to a finished run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from cellwright.cli import console

_SPLIT, _TOKENS, _RANKS, _ENCODER = "Split", "Tokens and mask", "Ranked tokens", "Encoder"
_TRAINING, _HARDWARE = "Training", "Hardware"


def pretrain(
    file: Annotated[
        Path,
        typer.Argument(
            help="The .h5ad with raw counts, or a folder of rank tokens.", metavar="FILE"
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Run folder to write.", rich_help_panel="Output")
    ],
    preset: Annotated[
        str | None,
        typer.Option(
            help="Settings by name: neurons-2025, neurons-2025-published.",
            rich_help_panel="Settings",
        ),
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
    split_by: Annotated[
        str | None,
        typer.Option(
            help="Column whose groups stay whole; 'auto' takes obs['split'], else donor, library "
            "or batch; 'none' splits single cells. Default: auto.",
            rich_help_panel=_SPLIT,
        ),
    ] = None,
    stratify: Annotated[
        str | None,
        typer.Option(help="Label column kept in proportion.", rich_help_panel=_SPLIT),
    ] = None,
    val: Annotated[
        float | None,
        typer.Option(help="Share of validation cells. Default: 0.1.", rich_help_panel=_SPLIT),
    ] = None,
    test: Annotated[
        float | None,
        typer.Option(help="Share of test cells. Default: 0.2.", rich_help_panel=_SPLIT),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="binned (per gene), cell-binned (scGPT) or ranked (Geneformer). Default: binned.",
            rich_help_panel=_TOKENS,
        ),
    ] = None,
    num_bins: Annotated[
        int | None, typer.Option(help="Bins per gene. Default: 20.", rich_help_panel=_TOKENS)
    ] = None,
    target_sum: Annotated[
        float | None,
        typer.Option(help="Counts a cell is scaled to. Default: 10000.", rich_help_panel=_TOKENS),
    ] = None,
    log1p: Annotated[
        bool | None,
        typer.Option("--log1p/--no-log1p", help="Take log(1 + x).", rich_help_panel=_TOKENS),
    ] = None,
    zero_bin: Annotated[
        bool | None,
        typer.Option(
            "--zero-bin/--no-zero-bin",
            help="Zero is a bin of its own, or shares the lowest (published rule).",
            rich_help_panel=_TOKENS,
        ),
    ] = None,
    vocabulary: Annotated[
        str | None,
        typer.Option(
            help="Ranked: a table of genes and medians, a run, or 'fit': nonzero medians of the "
            "training cells (of a folder of tokens: its own). Default: fit.",
            rich_help_panel=_RANKS,
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            help="Ranked: most tokens of a cell. Default: 2048, or 4096 with <cls>.",
            rich_help_panel=_RANKS,
        ),
    ] = None,
    sort_dtype: Annotated[
        str | None,
        typer.Option(
            help="Ranked: float64, or float32 as some published copies sort. Default: float64.",
            rich_help_panel=_RANKS,
        ),
    ] = None,
    with_cls: Annotated[
        bool | None,
        typer.Option(
            "--cls/--no-cls",
            help="Ranked: frame cells by <cls> and <eos>. Default: no-cls.",
            show_default=False,
            rich_help_panel=_RANKS,
        ),
    ] = None,
    mask_share: Annotated[
        float | None,
        typer.Option(help="Share of genes masked. Default: 0.15.", rich_help_panel=_TOKENS),
    ] = None,
    mask_nonzero_share: Annotated[
        float | None,
        typer.Option(
            help="Share of the masked taken from nonzero genes. Default: 0.5.",
            rich_help_panel=_TOKENS,
        ),
    ] = None,
    mask_nonzero: Annotated[
        str | None,
        typer.Option(
            help="Nonzero by 'bin' (above the lowest) or 'count'. Default: bin.",
            rich_help_panel=_TOKENS,
        ),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option(help="tiny, small or base. Default: small.", rich_help_panel=_ENCODER),
    ] = None,
    attention: Annotated[
        str | None,
        typer.Option(
            help="latent (linear in genes) or full. Default: latent.", rich_help_panel=_ENCODER
        ),
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Dims of a token.", rich_help_panel=_ENCODER)
    ] = None,
    latents: Annotated[
        int | None, typer.Option(help="Number of latents.", rich_help_panel=_ENCODER)
    ] = None,
    layers: Annotated[
        int | None, typer.Option(help="Transformer layers.", rich_help_panel=_ENCODER)
    ] = None,
    heads: Annotated[
        int | None, typer.Option(help="Attention heads.", rich_help_panel=_ENCODER)
    ] = None,
    feedforward: Annotated[
        int | None, typer.Option(help="Dims of the feed-forward.", rich_help_panel=_ENCODER)
    ] = None,
    dropout: Annotated[
        float | None, typer.Option(help="Dropout. Default: 0.1.", rich_help_panel=_ENCODER)
    ] = None,
    pooling: Annotated[
        str | None,
        typer.Option(
            help="A cell's vector: mean (of latents, or of ranked genes), concat (latents) or "
            "cls (ranked). Default: mean.",
            rich_help_panel=_ENCODER,
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs. Default: 30.", rich_help_panel=_TRAINING)
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Cells per step. Default: 32.", rich_help_panel=_TRAINING)
    ] = None,
    val_batch_size: Annotated[
        int | None,
        typer.Option(help="Cells per validation batch. Default: 128.", rich_help_panel=_TRAINING),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            "--learning-rate", "--lr", help="Peak rate. Default: 0.003.", rich_help_panel=_TRAINING
        ),
    ] = None,
    weight_decay: Annotated[
        float | None,
        typer.Option(help="AdamW's decay. Default: 0.01.", rich_help_panel=_TRAINING),
    ] = None,
    schedule: Annotated[
        str | None,
        typer.Option(help="one-cycle or constant. Default: one-cycle.", rich_help_panel=_TRAINING),
    ] = None,
    warmup_share: Annotated[
        float | None,
        typer.Option(help="Share of steps warming up. Default: 0.15.", rich_help_panel=_TRAINING),
    ] = None,
    clip_norm: Annotated[
        float | None,
        typer.Option(help="Largest gradient norm. Default: 1.", rich_help_panel=_TRAINING),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Stop after so many epochs without a better validation loss.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    accelerator: Annotated[
        str | None,
        typer.Option(help="auto, cpu, cuda or mps. Default: auto.", rich_help_panel=_HARDWARE),
    ] = None,
    devices: Annotated[
        int | None, typer.Option(help="Processes per machine.", rich_help_panel=_HARDWARE)
    ] = None,
    num_nodes: Annotated[
        int | None, typer.Option(help="Machines.", rich_help_panel=_HARDWARE)
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(help="auto, bf16 or float32. Default: auto.", rich_help_panel=_HARDWARE),
    ] = None,
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
    """Pretrain an encoder by predicting masked bins or ranks, beside what needs no network.

    Example: cellwright pretrain neurons.h5ad --tokenizer ranked --epochs 30 -o runs/neurons
    """
    flags: dict[str, Any] = {k: v for k, v in locals().items() if k not in _NOT_SETTINGS}
    console.start(verbose, quiet)
    from cellwright.cli.training_progress import training_progress
    from cellwright.workflows.pretrain import pretrain as run

    with training_progress(quiet=quiet) as shown:
        result = run(
            file,
            out,
            preset=preset,
            config=config,
            layer=layer,
            assume_counts=assume_counts,
            force=force,
            resume=resume,
            on_epoch=shown.epoch,
            on_step=shown.step,
            **flags,
        )
    if result.first_process:
        console.emit(result.metrics, as_json, result.text())


_NOT_SETTINGS = {"file", "out", "preset", "config", "layer", "assume_counts", "resume", "force"}
_NOT_SETTINGS |= {"as_json", "verbose", "quiet"}
