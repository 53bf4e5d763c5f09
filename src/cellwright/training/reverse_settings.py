"""Every setting of a network that names perturbed genes, with its default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cellwright.errors import SettingsError

NetworkKind = Literal[
    "mlp", "attention", "multi-head", "graph", "cross-attention", "encoder", "encoder-untrained"
]
NETWORKS: tuple[NetworkKind, ...] = ("mlp", "attention", "multi-head", "graph", "cross-attention")
# The same encoder with random weights stands beside a pretrained one: what pretraining is worth.
UNTRAINED: NetworkKind = "encoder-untrained"
ENCODERS: tuple[NetworkKind, ...] = ("encoder", UNTRAINED)
LOSSES = ("sets", "softmax", "bce", "focal")


@dataclass(frozen=True)
class NetworkSettings:
    """Settings of a network for the reverse problem.

    The groups in order: the network, what it is shown, the loss, the optimisation.

    ``hidden`` are the layers of the trunk behind the input, ``width`` the length of the code that
    cells and genes share, ``members`` networks from other starts whose answers are averaged.
    ``pretrained`` is the folder of the run that the kinds ``encoder`` and ``encoder-untrained``
    (its shape and tokens with random weights) are made of, and ``freeze_layers`` leaves what enters
    its first layer and so many of its lowest layers as they are. The profile itself
    stands beside the encoder's vectors, as in the other kinds, unless ``encoder_alone``.
    ``k`` cells make a training group, ``groups`` of which are drawn from every training condition
    in an epoch; the share ``sums`` of the examples are synthetic doubles, sums of the effects of two
    genes with the noise of a group. ``inputs`` are the shift from matched controls, the expression, or both.
    ``loss``: ``sets`` is cross-entropy over all sets of up to two genes, ``softmax`` over genes,
    ``bce`` and ``focal`` over yes and no of each gene. ``patience`` stops after so many epochs
    without a better loss on validation conditions; without such conditions all ``epochs`` are run.

    Raises
    ------
    SettingsError
        If a value cannot work; the sentence holds it.
    """

    seed: int = 0

    kind: NetworkKind = "mlp"
    hidden: tuple[int, ...] = (128,)
    width: int = 64
    heads: int = 4
    layers: int = 1
    dropout: float = 0.2
    members: int = 1

    pretrained: str | None = None
    freeze_layers: int = 0
    encoder_alone: bool = False

    k: int = 20
    groups: int = 2
    sums: float = 0.95
    inputs: Literal["shift", "expression", "both"] = "shift"

    loss: Literal["sets", "softmax", "bce", "focal"] = "sets"

    epochs: int = 10
    patience: int | None = 4
    batch_size: int = 64
    learning_rate: float = 1e-4
    weight_decay: float = 1e-2
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    warmup_share: float = 0.1
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        positive = ("width", "heads", "layers", "members", "k", "groups", "epochs", "batch_size")
        for name in positive:
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected at least 1")
        for size in self.hidden:
            if size < 1:
                raise SettingsError(f"hidden holds {size}, expected sizes of layers, at least 1")
        if self.patience is not None and self.patience < 1:
            raise SettingsError(f"patience is {self.patience}, expected at least 1 epoch")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected above 0")
        for name in ("dropout", "sums", "warmup_share"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingsError(
                    f"{name} is {getattr(self, name)}, expected a share, 0 or more and below 1"
                )
        if not self.weight_decay >= 0:
            raise SettingsError(f"weight_decay is {self.weight_decay}, expected 0 or more")
        for name in ("seed", "freeze_layers"):
            if getattr(self, name) < 0:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if self.width % self.heads:
            raise SettingsError(
                f"width is {self.width} and heads {self.heads}, expected a width that heads divide"
            )
