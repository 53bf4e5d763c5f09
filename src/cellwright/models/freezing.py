"""Freeze the lower layers of an encoder: no gradients, and nothing kept for them."""

from __future__ import annotations

import copy
from dataclasses import replace

from torch import nn

from cellwright.errors import SettingsError
from cellwright.models.full import FullEncoder
from cellwright.models.latent import LatentEncoder
from cellwright.models.rank_encoder import RankEncoder, RankLayer

Encoder = RankEncoder | LatentEncoder | FullEncoder


def layers_of(model: Encoder) -> nn.ModuleList:
    """The transformer layers of an encoder, the lowest first."""
    layers = model.encoder.layers if isinstance(model, FullEncoder) else model.layers
    if not isinstance(layers, nn.ModuleList):
        raise TypeError(f"the layers are a {type(layers).__name__}, expected a ModuleList")
    return layers


def freeze_layers(model: Encoder, k: int) -> None:
    """Leave what enters the first layer and the first ``k`` layers as they are; 0 freezes nothing.

    What no longer needs gradients keeps no activations either, so a frozen layer costs its
    forward pass and nothing else. With all layers frozen the head is what is trained (and, in an
    encoder of bins, the norm after the layers). The head that predicts masked genes takes no part
    and is frozen always.

    Raises
    ------
    SettingsError
        If there are not so many layers.
    """
    layers = layers_of(model)
    if not 0 <= k <= len(layers):
        raise SettingsError(
            f"--freeze-layers is {k}, but the encoder has {len(layers)} of them: give 0 (nothing "
            f"frozen) to {len(layers)} (all frozen, the head alone learns)"
        )
    for name, parameter in model.named_parameters():
        below = k > 0 and not _is_layer(name) and not _is_after(name)
        if below or _is_output(name):
            parameter.requires_grad_(False)
    for layer in layers[:k]:
        layer.requires_grad_(False)


def quick_copy(model: RankEncoder) -> RankEncoder:
    """A copy that does not drop attention weights in training.

    Dropping them keeps every cell's attention map in memory and draws a random number for each
    entry, which takes longer than all the rest; the dropout of hidden states stays.
    """
    made = copy.deepcopy(model)
    made.shape = replace(model.shape, attention_dropout=0.0)
    for layer in made.layers:
        if isinstance(layer, RankLayer):
            layer.shape = made.shape
    return made


def _is_layer(name: str) -> bool:
    return name.startswith(("layers.", "encoder.layers."))


def _is_after(name: str) -> bool:
    """The norm between the last layer and what is pooled."""
    return name.startswith(("latent_norm.", "norm."))


def _is_output(name: str) -> bool:
    """What only the prediction of masked genes uses."""
    return name.split(".", 1)[0] in _OUTPUTS


_OUTPUTS = {
    "head",
    "head_norm",
    "mlp",
    "mlp_norm",
    "query_gd",
    "to_query",
    "to_key",
    "to_value",
    "back_out",
}
