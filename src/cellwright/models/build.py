"""One dial sets the size of an encoder; every part can be overridden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from cellwright.errors import SettingsError
from cellwright.models.full import FullEncoder
from cellwright.models.latent import LatentEncoder
from cellwright.models.rank_encoder import RankEncoder, RankShape, random_rank_encoder

Size = Literal["tiny", "small", "base"]

SIZES: dict[str, dict[str, int]] = {
    "tiny": {"width": 64, "latents": 8, "layers": 1, "heads": 4},
    "small": {"width": 128, "latents": 16, "layers": 1, "heads": 4},
    "base": {"width": 256, "latents": 32, "layers": 4, "heads": 8},
}

# Layers of an encoder of ranks, whose width and heads are those above; base has Geneformer's.
RANK_LAYERS: dict[str, int] = {"tiny": 2, "small": 3, "base": 6}


@dataclass(frozen=True)
class EncoderSettings:
    """The shape of an encoder; None takes the value that ``size`` sets.

    ``feedforward`` defaults to twice the width.

    Raises
    ------
    SettingsError
        If the width does not divide by the heads, a part is below one, or dropout is no share.
    """

    size: Size = "small"
    attention: Literal["latent", "full"] = "latent"
    width: int | None = None
    latents: int | None = None
    layers: int | None = None
    heads: int | None = None
    feedforward: int | None = None
    dropout: float = 0.1

    def __post_init__(self) -> None:
        for name in ("width", "latents", "heads", "feedforward"):
            if self.part(name) < 1:
                raise SettingsError(f"{name} is {self.part(name)}, expected at least 1")
        if self.part("layers") < 0:
            raise SettingsError(f"layers is {self.part('layers')}, expected 0 or more")
        if self.part("width") % self.part("heads"):
            raise SettingsError(
                f"width {self.part('width')} does not divide by {self.part('heads')} heads; "
                "choose a width that is a multiple"
            )
        if not 0.0 <= self.dropout < 1.0:
            raise SettingsError(f"dropout is {self.dropout}, expected 0 up to below 1")

    def part(self, name: str) -> int:
        """A part of the shape: as given, else as ``size`` sets it."""
        given = getattr(self, name)
        if given is not None:
            return int(given)
        return 2 * self.part("width") if name == "feedforward" else SIZES[self.size][name]


def build_encoder(
    settings: EncoderSettings, log_frequencies_gk: Tensor, seed: int
) -> LatentEncoder | FullEncoder:
    """An encoder with weights drawn from ``seed`` (the global generator is left as it was)."""
    shape = {
        "width": settings.part("width"),
        "heads": settings.part("heads"),
        "layers": settings.part("layers"),
        "feedforward": settings.part("feedforward"),
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if settings.attention == "full":
            return FullEncoder(log_frequencies_gk, dropout=settings.dropout, **shape)
        return LatentEncoder(
            log_frequencies_gk,
            dropout=settings.dropout,
            latents=settings.part("latents"),
            **shape,
        )


def rank_shape(settings: EncoderSettings, tokens: int, positions: int) -> RankShape:
    """The shape of an encoder of ranks: width, heads and feed-forward as ``size`` sets them.

    Parameters
    ----------
    tokens
        Size of the vocabulary, special tokens included.
    positions
        Most tokens of a cell.
    """
    width = settings.part("width")
    return RankShape(
        tokens=tokens,
        width=width,
        layers=RANK_LAYERS[settings.size] if settings.layers is None else settings.layers,
        heads=settings.part("heads"),
        feedforward=settings.part("feedforward"),
        positions=positions,
        dropout=settings.dropout,
        # Attention with dropout keeps tokens × tokens weights of every cell for the gradient.
        attention_dropout=0.0,
        # BERT's 0.02 is for widths near 1,000; at 64 attention would not leave its start.
        initial_std=0.5 / width**0.5,
    )


def build_rank_encoder(shape: RankShape, log_frequencies_v: Tensor, seed: int) -> RankEncoder:
    """An encoder of ranks with weights drawn from ``seed``, which at first predicts token
    frequencies.

    Parameters
    ----------
    log_frequencies_v
        (tokens,) log of how often each token stands in training cells.
    """
    model = random_rank_encoder(shape, seed)
    if model.head is not None:
        with torch.no_grad():
            model.head.bias.copy_(log_frequencies_v)
    return model
