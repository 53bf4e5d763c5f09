"""The head that names a class: what fine-tuning puts on top of an encoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from cellwright.models.full import FullEncoder
from cellwright.models.latent import LatentEncoder
from cellwright.models.rank_encoder import RankEncoder


class ClassHead(nn.Module):
    """Vectors in, scores of classes out: standardised, dropped out, one linear layer.

    Pooled vectors hardly differ between cells beside what they have in common. With the mean and
    the spread of the training vectors taken out first, the layer learns as fast as a logistic
    regression does; without, it crawls. The weights start at zero, so that every class is equally
    likely at first, or where :meth:`start` puts them.

    Parameters
    ----------
    width, classes
        Dims of a vector and number of classes.
    dropout
        Share of dims dropped in training.
    """

    centre_d: Tensor
    spread_d: Tensor

    def __init__(self, width: int, classes: int, dropout: float = 0.1) -> None:
        super().__init__()
        self.classes, self.dropout = classes, dropout
        self.register_buffer("centre_d", torch.zeros(width))
        self.register_buffer("spread_d", torch.ones(width))
        self.linear = nn.Linear(width, classes)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x_nd: Tensor) -> Tensor:
        """(n, width) to logits (n, classes), float32."""
        scaled_nd = (x_nd - self.centre_d) / self.spread_d
        logits: Tensor = self.linear(functional.dropout(scaled_nd, self.dropout, self.training))
        return logits.float()

    @torch.no_grad()
    def standardise(self, x_nd: Tensor) -> None:
        """Take mean and standard deviation from the training vectors; a dim without spread keeps 1."""
        self.centre_d.copy_(x_nd.mean(0))
        spread_d = x_nd.std(0, correction=0)
        self.spread_d.copy_(torch.where(spread_d > 1e-6, spread_d, torch.ones_like(spread_d)))

    @torch.no_grad()
    def start(self, weight_kd: Tensor, bias_k: Tensor) -> None:
        """Start at a linear classifier of standardised vectors.

        Linear probing before fine-tuning keeps the first steps of a random head from spoiling
        the encoder (Kumar et al. 2022, arXiv:2202.10054).
        """
        self.linear.weight.copy_(weight_kd)
        self.linear.bias.copy_(bias_k)


class BinClassifier(nn.Module):
    """An encoder of bins with a class head on a cell's pooled vector."""

    def __init__(self, encoder: LatentEncoder | FullEncoder, head: ClassHead, pooling: str) -> None:
        super().__init__()
        self.encoder, self.head, self.pooling = encoder, head, pooling

    def vectors(self, value_ids_ng: Tensor, hidden_ng: Tensor) -> Tensor:
        """One vector per cell, (n, width)."""
        return self.encoder.pool(value_ids_ng, hidden_ng, self.pooling)

    def forward(self, value_ids_ng: Tensor, hidden_ng: Tensor) -> Tensor:
        """Logits, (n, classes)."""
        logits: Tensor = self.head(self.vectors(value_ids_ng, hidden_ng))
        return logits


class RankClassifier(nn.Module):
    """An encoder of ranks with a class head on a cell's pooled hidden states.

    Parameters
    ----------
    pooling
        ``mean`` over the tokens that are not special, or ``cls``: the first token.
    special_ids
        Ids of the special tokens.
    hidden_layer
        Which hidden states, as ``RankEncoder.forward`` counts them.
    """

    def __init__(
        self,
        encoder: RankEncoder,
        head: ClassHead,
        pooling: str,
        special_ids: Sequence[int],
        hidden_layer: int = -1,
    ) -> None:
        super().__init__()
        self.encoder, self.head, self.pooling = encoder, head, pooling
        self.special_ids, self.hidden_layer = list(special_ids), hidden_layer

    def vectors(self, ids_t: Tensor, lengths_n: Sequence[int]) -> Tensor:
        """One vector per cell, (n, width); zeros for a cell without a token to take."""
        return rank_vectors(
            self.encoder, ids_t, lengths_n, self.pooling, self.special_ids, self.hidden_layer
        )

    def forward(self, ids_t: Tensor, lengths_n: Sequence[int]) -> Tensor:
        """Logits, (n, classes)."""
        logits: Tensor = self.head(self.vectors(ids_t, lengths_n))
        return logits


def rank_vectors(
    encoder: RankEncoder,
    ids_t: Tensor,
    lengths_n: Sequence[int],
    pooling: str,
    special_ids: Sequence[int],
    hidden_layer: int = -1,
) -> Tensor:
    """One vector per packed cell, (n, width); zeros for a cell without a token to take.

    The arguments are those of :class:`RankClassifier`.
    """
    (hidden_td,) = encoder(ids_t, lengths_n, hidden_layers=(hidden_layer,))
    length_n = torch.tensor(lengths_n, device=ids_t.device)
    if pooling == "cls":
        start_n = (length_n.cumsum(0) - length_n).clamp_max(max(len(ids_t) - 1, 0))
        return hidden_td[start_n] * (length_n > 0).unsqueeze(1)
    gene_t = ~torch.isin(ids_t, torch.tensor(special_ids, device=ids_t.device))
    cell_t = torch.repeat_interleave(length_n)
    sum_nd = hidden_td.new_zeros(len(lengths_n), hidden_td.shape[1])
    sum_nd = sum_nd.index_add(0, cell_t, hidden_td * gene_t.unsqueeze(1))
    count_n = torch.bincount(cell_t[gene_t], minlength=len(lengths_n)).clamp_min(1)
    return sum_nd / count_n.unsqueeze(1)


class TokenClassifier(nn.Module):
    """An encoder of ranks with a class head on single tokens."""

    def __init__(self, encoder: RankEncoder, head: ClassHead, hidden_layer: int = -1) -> None:
        super().__init__()
        self.encoder, self.head, self.hidden_layer = encoder, head, hidden_layer

    def vectors(self, ids_t: Tensor, lengths_n: Sequence[int], at_m: Tensor) -> Tensor:
        """Hidden states of the tokens at positions ``at_m``, (m, width)."""
        (hidden_td,) = self.encoder(ids_t, lengths_n, hidden_layers=(self.hidden_layer,))
        chosen: Tensor = hidden_td[at_m]
        return chosen

    def forward(self, ids_t: Tensor, lengths_n: Sequence[int], at_m: Tensor) -> Tensor:
        """Logits of the tokens at positions ``at_m``, (m, classes)."""
        logits: Tensor = self.head(self.vectors(ids_t, lengths_n, at_m))
        return logits
