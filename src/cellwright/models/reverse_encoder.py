"""A pretrained encoder of cells fine-tuned to name perturbed genes: groups as cells, then the set head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from cellwright.models.full import FullEncoder
from cellwright.models.heads import rank_vectors
from cellwright.models.latent import LatentEncoder
from cellwright.models.rank_encoder import RankEncoder
from cellwright.models.reverse_mlp import GroupInput, Inputs, StartsLinear, Trunk
from cellwright.models.reverse_sets import SetHead, SetScores

# Bounds lie so far above the shifts that they are taken from, in units of log expression: a shift
# that is computed in another order of sums is then on the same side.
_ABOVE = 1e-5


class GroupLevels(nn.Module):
    """Shifts of groups as levels among those of control groups, gene by gene.

    A group of k cells is no cell: its mean has hardly a zero and a fraction of a cell's noise, and
    an encoder of cells has never seen the like. What carries over is where a value lies among
    those that are usual: a gene whose shift is above 90 % of those of control groups of as many
    cells stands where single cells above 90 % of others stand. The pseudo-cells of control groups
    are then like single cells, gene for gene, and a perturbed group is one that shifted by
    :math:`\\sqrt k` times as many of its standard deviations as its cells did.

    Parameters
    ----------
    genes
        Genes that the encoder knows and the network may look at.
    bounds
        Bounds between levels.
    """

    column_m: Tensor
    bound_mb: Tensor

    def __init__(self, genes: int, bounds: int) -> None:
        super().__init__()
        self.register_buffer("column_m", torch.zeros(genes, dtype=torch.int64))
        self.register_buffer("bound_mb", torch.full((genes, bounds), torch.inf))

    @torch.no_grad()
    def set_bounds(self, column_m: Tensor, bound_mb: Tensor) -> None:
        """Where the genes stand in a shift, and the bounds, ascending; a level begins above its bound."""
        self.column_m.copy_(column_m)
        self.bound_mb.copy_(bound_mb + _ABOVE)

    @torch.no_grad()
    def levels(self, shift_qg: Tensor) -> Tensor:
        """(q, genes of the encoder), 0 to the number of bounds."""
        shift_mq = shift_qg[:, self.column_m].T.contiguous()
        return torch.searchsorted(self.bound_mb, shift_mq).T


class BinGroups(nn.Module):
    """Groups through an encoder of bins: the level of a gene is its bin.

    Bounds are set so that every bin is as frequent among control groups as it was among the cells
    the encoder was trained on. Genes that may not be looked at or are not measured are hidden from
    the encoder as masked genes are.

    Parameters
    ----------
    encoder
        What is fine-tuned.
    genes
        Genes of its vocabulary that the network may look at.
    pooling
        As ``LatentEncoder.pool`` takes it.
    """

    row_m: Tensor

    def __init__(self, encoder: LatentEncoder | FullEncoder, genes: int, pooling: str) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        self.levels = GroupLevels(genes, encoder.log_frequencies_gk.shape[1] - 1)
        self.register_buffer("row_m", torch.zeros(genes, dtype=torch.int64))

    def forward(self, shift_qg: Tensor) -> Tensor:
        """One vector per group, (q, width)."""
        level_qm = self.levels.levels(shift_qg)
        shape = (len(level_qm), len(self.encoder.log_frequencies_gk))
        bin_qv = torch.zeros(shape, dtype=torch.int64, device=level_qm.device)
        hidden_qv = torch.ones(shape, dtype=torch.bool, device=level_qm.device)
        bin_qv[:, self.row_m] = level_qm
        hidden_qv[:, self.row_m] = False
        return self.encoder.pool(bin_qv, hidden_qv, self.pooling)


class RankGroups(nn.Module):
    """Groups through an encoder of ranks: genes in the order of the values that their levels stand for.

    A level's value is what control cells at that level of the gene have, over the gene's median in
    the vocabulary; genes that are silent at their level have no token, as in a cell.

    Parameters
    ----------
    encoder, pooling
        As :class:`BinGroups`, pooling ``mean`` or ``cls``.
    genes, bounds
        As :class:`GroupLevels`.
    special_ids
        Ids of special tokens, not pooled.
    frame_ids
        Those that stand before and behind the genes of a cell; empty for none.
    """

    token_m: Tensor
    value_mb: Tensor

    def __init__(
        self,
        encoder: RankEncoder,
        genes: int,
        bounds: int,
        pooling: str,
        special_ids: tuple[int, ...],
        frame_ids: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.encoder, self.pooling = encoder, pooling
        self.special_ids, self.frame_ids = special_ids, frame_ids
        self.levels = GroupLevels(genes, bounds)
        self.register_buffer("token_m", torch.zeros(genes, dtype=torch.int64))
        self.register_buffer("value_mb", torch.zeros(genes, bounds + 1))

    @torch.no_grad()
    def tokens(self, shift_qg: Tensor) -> tuple[Tensor, list[int]]:
        """Token ids of all groups one after another, and how many each has."""
        level_qm = self.levels.levels(shift_qg)
        value_qm = self.value_mb.gather(1, level_qm.T).T
        order_qm = value_qm.argsort(dim=1, descending=True, stable=True)
        room = self.encoder.shape.positions - len(self.frame_ids)
        kept_q = (value_qm > 0).sum(dim=1).clamp_max(room).tolist()
        ids = []
        for order_m, kept in zip(self.token_m[order_qm], kept_q, strict=True):
            first, last = self.frame_ids[:1], self.frame_ids[1:]
            ids += [order_m.new_tensor(first), order_m[:kept], order_m.new_tensor(last)]
        return torch.cat(ids), [kept + len(self.frame_ids) for kept in kept_q]

    def forward(self, shift_qg: Tensor) -> Tensor:
        """One vector per group, (q, width)."""
        ids_t, lengths_q = self.tokens(shift_qg)
        return rank_vectors(self.encoder, ids_t, lengths_q, self.pooling, self.special_ids)


class ReverseEncoder(StartsLinear):
    """An encoder of cells beside the profile itself, the trunk behind both, and a head that scores sets.

    Parameters
    ----------
    cells
        :class:`BinGroups` or :class:`RankGroups`.
    vector
        Length of its vectors.
    genes
        In a profile; 0 for a network that has the encoder's vectors alone.
    candidates, hidden, width, dropout, inputs
        As :class:`~cellwright.models.reverse_mlp.ReverseMLP`; inputs are what the profile is.
    """

    centre_v: Tensor
    spread_v: Tensor

    def __init__(
        self,
        cells: BinGroups | RankGroups,
        vector: int,
        genes: int,
        candidates: int,
        hidden: Sequence[int],
        width: int,
        dropout: float,
        inputs: Inputs = "shift",
    ) -> None:
        super().__init__()
        self.cells = cells
        self.register_buffer("centre_v", torch.zeros(vector))
        self.register_buffer("spread_v", torch.ones(vector))
        self.input = GroupInput(genes, inputs)
        self.trunk = Trunk(self.input.width + vector, hidden, width, dropout)
        self.head = SetHead(candidates, width)

    @property
    def alone(self) -> bool:
        """Whether there is no profile beside the encoder's vectors."""
        return self.input.genes == 0

    def vectors(self, shift_qg: Tensor) -> Tensor:
        """Vectors in spreads of those of control groups, (q, vector)."""
        vector_qv: Tensor = self.cells(shift_qg)
        return (vector_qv - self.centre_v) / self.spread_v

    @torch.no_grad()
    def standardise(self, control_qg: Tensor) -> None:
        """Take mean and spread of vectors from control groups; a dim without spread keeps one."""
        vector_qv: Tensor = self.cells(control_qg).float()
        self.centre_v.copy_(vector_qv.mean(dim=0))
        spread_v = vector_qv.std(dim=0, correction=0)
        self.spread_v.copy_(torch.where(spread_v > 1e-6, spread_v, torch.ones_like(spread_v)))

    def forward(self, shift_qg: Tensor, mean_qg: Tensor) -> SetScores:
        """Groups to scores of genes and sets."""
        x_qi = self.vectors(shift_qg)
        if not self.alone:
            # The profile first: a linear start is one of shifts.
            x_qi = torch.cat([self.input(shift_qg, mean_qg), x_qi], dim=1)
        scores: SetScores = self.head(self.trunk(x_qi))
        return scores
