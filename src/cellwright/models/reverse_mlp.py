"""What every network of the reverse problem shares: inputs on one scale and the trunk behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from cellwright.models.reverse_sets import SetHead, SetScores

FLOOR = 0.25
Inputs = Literal["shift", "expression", "both"]


class GroupInput(nn.Module):
    """Shift and expression of a group in units of the spread of control groups of that size.

    Standard deviations are floored at a quarter of the median over genes that vary.
    """

    scale_g: Tensor
    centre_g: Tensor

    def __init__(self, genes: int, inputs: Inputs = "shift") -> None:
        super().__init__()
        self.genes, self.inputs = genes, inputs
        self.register_buffer("scale_g", torch.ones(genes))
        self.register_buffer("centre_g", torch.zeros(genes))

    @property
    def width(self) -> int:
        return self.genes * (2 if self.inputs == "both" else 1)

    @torch.no_grad()
    def standardise(self, sd_g: Tensor, centre_g: Tensor, k: int) -> None:
        """From the spread of control cells, the mean of controls, and cells in a group."""
        varies = sd_g[sd_g > 0]
        floor = FLOOR * float(varies.median()) if len(varies) else 1.0
        self.scale_g.copy_(k**0.5 / sd_g.clamp(min=floor))
        self.centre_g.copy_(centre_g)

    def forward(self, shift_qg: Tensor, mean_qg: Tensor) -> Tensor:
        """(q, width)."""
        parts = []
        if self.inputs in ("shift", "both"):
            parts.append(shift_qg * self.scale_g)
        if self.inputs in ("expression", "both"):
            parts.append((mean_qg - self.centre_g) * self.scale_g)
        return torch.cat(parts, dim=1)


class Trunk(nn.Module):
    """Hidden layers beside a linear way around them, so that what is linear need not be learned twice."""

    def __init__(self, inputs: int, hidden: Sequence[int], width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.around = nn.Linear(inputs, width)
        layers: list[nn.Module] = []
        for size in hidden:
            layers += [nn.Linear(inputs, size), nn.GELU(), nn.Dropout(dropout)]
            inputs = size
        if hidden:
            layers.append(nn.Linear(inputs, width))
        self.hidden = nn.Sequential(*layers) if hidden else None

    def forward(self, x_qi: Tensor) -> Tensor:
        """(q, inputs) to (q, width)."""
        x_qi = self.dropout(x_qi)
        code_qd: Tensor = self.around(x_qi)
        return code_qd if self.hidden is None else code_qd + self.hidden(x_qi)


class ReverseMLP(nn.Module):
    """A multilayer perceptron on the whole profile with a head that scores sets."""

    def __init__(
        self,
        genes: int,
        candidates: int,
        hidden: Sequence[int],
        width: int,
        dropout: float,
        inputs: Inputs = "shift",
    ) -> None:
        super().__init__()
        self.input = GroupInput(genes, inputs)
        self.trunk = Trunk(self.input.width, hidden, width, dropout)
        self.head = SetHead(candidates, width)

    def forward(self, shift_qg: Tensor, mean_qg: Tensor) -> SetScores:
        """Groups to scores of genes and sets."""
        scores: SetScores = self.head(self.trunk(self.input(shift_qg, mean_qg)))
        return scores
