"""What every network of the reverse problem shares: inputs on one scale and the trunk behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from cellwright.models.reverse_sets import SetHead, SetScores

Inputs = Literal["shift", "expression", "both"]


class GroupInput(nn.Module):
    """Shift and expression of a group on one scale: the spread of control groups of that size, over all genes.

    Genes keep their own spread: on the log scale those that vary most also tell most, and a
    spread of one for each would raise the noise of silent genes to their level.
    """

    scale: Tensor
    centre_g: Tensor

    def __init__(self, genes: int, inputs: Inputs = "shift") -> None:
        super().__init__()
        self.genes, self.inputs = genes, inputs
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("centre_g", torch.zeros(genes))

    @property
    def width(self) -> int:
        return self.genes * (2 if self.inputs == "both" else 1)

    @torch.no_grad()
    def standardise(self, sd_g: Tensor, centre_g: Tensor, k: int) -> None:
        """From the spread of control cells, the mean of controls, and cells in a group."""
        spread = float((sd_g**2).mean()) ** 0.5
        self.scale.fill_(k**0.5 / spread if spread > 0 else 1.0)
        self.centre_g.copy_(centre_g)

    def forward(self, shift_qg: Tensor, mean_qg: Tensor) -> Tensor:
        """(q, width)."""
        parts = []
        if self.inputs in ("shift", "both"):
            parts.append(shift_qg * self.scale)
        if self.inputs in ("expression", "both"):
            parts.append((mean_qg - self.centre_g) * self.scale)
        return torch.cat(parts, dim=1)


class Trunk(nn.Module):
    """Hidden layers beside a linear way around them, on top of which they begin at nothing.

    What is linear need not be learned twice, and the way around may start where a linear model is.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], width: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.around = nn.Linear(inputs, width)
        layers: list[nn.Module] = []
        for size in hidden:
            layers += [nn.Linear(inputs, size), nn.GELU(), nn.Dropout(dropout)]
            inputs = size
        if hidden:
            last = nn.Linear(inputs, width)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            layers.append(last)
        self.hidden = nn.Sequential(*layers) if hidden else None

    def forward(self, x_qi: Tensor) -> Tensor:
        """(q, inputs) to (q, width)."""
        x_qi = self.dropout(x_qi)
        code_qd: Tensor = self.around(x_qi)
        return code_qd if self.hidden is None else code_qd + self.hidden(x_qi)

    @torch.no_grad()
    def start(self, weight_di: Tensor, bias_d: Tensor) -> None:
        """Begin at a linear map into the first dims of the code; the other dims begin at zero."""
        nn.init.zeros_(self.around.weight)
        nn.init.zeros_(self.around.bias)
        self.around.weight[: len(weight_di), : weight_di.shape[1]] = weight_di
        self.around.bias[: len(bias_d)] = bias_d


class StartsLinear(nn.Module):
    """Input, trunk and head that may start where a linear forward model is."""

    input: GroupInput
    trunk: Trunk
    head: SetHead

    @torch.no_grad()
    def start_at(self, project_dg: Tensor, common_d: Tensor, code_cd: Tensor) -> None:
        """A query is told by the cosine of its shift, less the common one, and sums of effects."""
        self.trunk.start(project_dg, -self.input.scale * common_d)
        self.head.code_cd.zero_()
        self.head.code_cd[:, : code_cd.shape[1]] = code_cd


class ReverseMLP(StartsLinear):
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
