"""A network that names perturbed genes: members from different starts, and which genes they may name."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cellwright.models.reverse_sets import SetScores, gene_scores, set_marginals


class ReverseNetwork(nn.Module):
    """Members that are trained side by side and answer as one.

    seen_c: genes that a training condition perturbs, the only ones that are learned to be told
    apart; scored_c: genes that can be named, which are more where a member knows something of
    every gene. sets: whether members score sets of genes or genes one by one.
    """

    seen_c: Tensor
    scored_c: Tensor

    def __init__(self, members: Sequence[nn.Module], candidates: int, *, sets: bool) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.sets = sets
        self.register_buffer("seen_c", torch.ones(candidates, dtype=torch.bool))
        self.register_buffer("scored_c", torch.ones(candidates, dtype=torch.bool))

    def forward(self, shift_qg: Tensor, mean_qg: Tensor) -> list[SetScores]:
        """Scores of each member."""
        return [member(shift_qg, mean_qg) for member in self.members]

    def logits(self, shift_qg: Tensor, mean_qg: Tensor) -> Tensor:
        """Log-odds of each gene from the mean of the members' scores, (q, c); -inf if not scored."""
        scores = SetScores(
            *(
                torch.stack(parts).mean(dim=0)
                for parts in zip(*self(shift_qg, mean_qg), strict=True)
            )
        )
        if self.sets:
            return set_marginals(scores, self.scored_c)
        return gene_scores(scores).double().masked_fill(~self.scored_c, -torch.inf)
