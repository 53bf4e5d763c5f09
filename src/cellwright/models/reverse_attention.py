"""Attention over genes: as weights on the profile, or by several heads over tokens of genes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cellwright.models.reverse_mlp import GroupInput, Inputs, StartsLinear, Trunk
from cellwright.models.reverse_sets import SetHead, SetScores


class ReverseAttention(StartsLinear):
    """The profile weighted by attention over its genes, then a multilayer perceptron.

    Weights are a softmax over genes times their number, all one at first.
    """

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
        wide = self.input.width
        self.question = nn.Sequential(nn.Linear(wide, width), nn.GELU(), nn.Linear(width, wide))
        last = self.question[-1]
        if isinstance(last, nn.Linear):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.trunk = Trunk(wide, hidden, width, dropout)
        self.head = SetHead(candidates, width)

    def forward(self, shift_qg: Tensor, mean_qg: Tensor) -> SetScores:
        """Groups to scores of genes and sets."""
        x_qi = self.input(shift_qg, mean_qg)
        weight_qi = torch.softmax(self.question(x_qi), dim=1) * x_qi.shape[1]
        scores: SetScores = self.head(self.trunk(x_qi * weight_qi))
        return scores


class TokenAttention(nn.Module):
    """Questions that attend over tokens of genes, where a token is what a gene is plus its value.

    Key and value of gene g with value x are ``key_g + x · slope_g`` and ``value_g + x · gain_g``:
    scores and answers are affine in x, so that no token need ever be formed.

    Parameters
    ----------
    genes, heads, width
        Tokens, heads and length of an answer, which heads share out.
    """

    def __init__(self, genes: int, heads: int, width: int) -> None:
        super().__init__()
        self.heads, self.part = heads, width // heads
        self.gene_gd = nn.Parameter(torch.randn(genes, width) * 0.1)
        self.to_key = nn.Linear(width, 2 * width)
        self.to_value = nn.Linear(width, 2 * width)

    def forward(self, x_qg: Tensor, question_cd: Tensor, extra_gd: Tensor | None = None) -> Tensor:
        """Answers to c questions about each query, (q, c, width); ``extra_gd`` is added to genes."""
        gene_gd = self.gene_gd if extra_gd is None else self.gene_gd + extra_gd
        shape = (len(gene_gd), 2, self.heads, self.part)
        key_hdg, slope_hdg = self.to_key(gene_gd).view(shape).permute(1, 2, 3, 0)
        value_hgd, gain_hgd = self.to_value(gene_gd).view(shape).permute(1, 2, 0, 3)
        asked_hcd = question_cd.view(-1, self.heads, self.part).transpose(0, 1) / self.part**0.5
        # (heads, c, genes): the score of a token without a value, and its change with the value.
        level_hcg, change_hcg = asked_hcd @ key_hdg, asked_hcd @ slope_hdg
        x_q11g = x_qg[:, None, None, :]
        weight_qhcg = torch.softmax(torch.addcmul(level_hcg, change_hcg, x_q11g), dim=-1)
        answer_qhcd = weight_qhcg @ value_hgd + (weight_qhcg * x_q11g) @ gain_hgd
        return answer_qhcd.transpose(1, 2).flatten(2)


class ReverseMultiHead(StartsLinear):
    """Learned questions attend over tokens of all genes by several heads; answers join the trunk's code."""

    def __init__(
        self,
        genes: int,
        candidates: int,
        hidden: Sequence[int],
        width: int,
        dropout: float,
        heads: int,
        inputs: Inputs = "shift",
        questions: int = 8,
    ) -> None:
        super().__init__()
        self.input = GroupInput(genes, inputs)
        self.trunk = Trunk(self.input.width, hidden, width, dropout)
        self.attention = TokenAttention(self.input.width, heads, width)
        self.question_cd = nn.Parameter(torch.randn(questions, width))
        self.join = nn.Sequential(
            nn.LayerNorm(questions * width),
            nn.Dropout(dropout),
            nn.Linear(questions * width, width),
        )
        last = self.join[-1]
        if isinstance(last, nn.Linear):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.head = SetHead(candidates, width)

    def forward(self, shift_qg: Tensor, mean_qg: Tensor) -> SetScores:
        """Groups to scores of genes and sets."""
        x_qi = self.input(shift_qg, mean_qg)
        answer_qcd = self.attention(x_qi, self.question_cd)
        scores: SetScores = self.head(self.trunk(x_qi) + self.join(answer_qcd.flatten(1)))
        return scores
