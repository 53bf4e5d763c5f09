"""Options of a network that names perturbed genes, and of its training."""

from __future__ import annotations

from typing import Annotated

import typer

from cellwright.training.reverse_settings import NetworkSettings

_D = NetworkSettings()
_MODEL, _TRAINING = "Network", "Training and search"

Kind = Annotated[
    str | None,
    typer.Option(
        help="mlp, attention, multi-head, graph, cross-attention, encoder (a pretrained run "
        f"fine-tuned) or encoder-untrained. Default: {_D.kind}.",
        rich_help_panel=_MODEL,
    ),
]
Pretrained = Annotated[
    str | None,
    typer.Option(
        help="Run folder or Geneformer checkpoint that encoder is made of.",
        rich_help_panel=_MODEL,
    ),
]
FreezeLayers = Annotated[
    int | None,
    typer.Option(
        help="encoder: keep what enters its first layer and so many of its lowest layers as "
        f"they are. Default: {_D.freeze_layers}.",
        min=0,
        rich_help_panel=_MODEL,
    ),
]
EncoderAlone = Annotated[
    bool | None,
    typer.Option(
        "--encoder-alone/--encoder-beside",
        help="encoder: its vectors alone, or beside the profile itself. Default: beside.",
        rich_help_panel=_MODEL,
    ),
]
Hidden = Annotated[
    str | None,
    typer.Option(
        help="Hidden layers of the trunk, with commas; none for a linear one. "
        f"Default: {','.join(map(str, _D.hidden)) or 'none'}.",
        rich_help_panel=_MODEL,
    ),
]
Width = Annotated[
    int | None,
    typer.Option(
        help=f"Length of the code of a gene. Default: {_D.width}.", rich_help_panel=_MODEL
    ),
]
Heads = Annotated[
    int | None,
    typer.Option(help=f"Attention heads. Default: {_D.heads}.", rich_help_panel=_MODEL),
]
Layers = Annotated[
    int | None,
    typer.Option(help=f"Attention layers. Default: {_D.layers}.", rich_help_panel=_MODEL),
]
Dropout = Annotated[
    float | None, typer.Option(help=f"Dropout. Default: {_D.dropout}.", rich_help_panel=_MODEL)
]
Members = Annotated[
    int | None,
    typer.Option(
        help=f"Networks from other starts, averaged. Default: {_D.members}.",
        rich_help_panel=_MODEL,
    ),
]
Inputs = Annotated[
    str | None,
    typer.Option(
        help=f"shift (from matched controls), expression or both. Default: {_D.inputs}.",
        rich_help_panel=_MODEL,
    ),
]
Loss = Annotated[
    str | None,
    typer.Option(
        help="sets (all sets of up to two genes compete), softmax, bce or focal. "
        f"Default: {_D.loss}.",
        rich_help_panel=_MODEL,
    ),
]
Groups = Annotated[
    int | None,
    typer.Option(
        help=f"Groups of a condition in an epoch. Default: {_D.groups}.",
        rich_help_panel=_TRAINING,
    ),
]
Sums = Annotated[
    float | None,
    typer.Option(
        help=f"Share of synthetic doubles, sums of two genes' effects. Default: {_D.sums}.",
        rich_help_panel=_TRAINING,
    ),
]
Epochs = Annotated[
    int | None,
    typer.Option(help=f"Most epochs. Default: {_D.epochs}.", rich_help_panel=_TRAINING),
]
Patience = Annotated[
    int | None,
    typer.Option(
        help=f"Stop after so many epochs without a better validation loss. Default: {_D.patience}.",
        rich_help_panel=_TRAINING,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(help=f"Groups per step. Default: {_D.batch_size}.", rich_help_panel=_TRAINING),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--learning-rate",
        "--lr",
        help=f"AdamW's peak rate. Default: {_D.learning_rate}.",
        rich_help_panel=_TRAINING,
    ),
]
WeightDecay = Annotated[
    float | None,
    typer.Option(help=f"AdamW's decay. Default: {_D.weight_decay}.", rich_help_panel=_TRAINING),
]
Search = Annotated[
    int,
    typer.Option(
        help="Settings to try on validation perturbations with Optuna before training; test "
        "perturbations are not looked at.",
        min=0,
        rich_help_panel=_TRAINING,
    ),
]
