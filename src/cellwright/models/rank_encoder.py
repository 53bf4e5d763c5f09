"""A BERT encoder over ranked genes that spends nothing on padding.

Cells come packed: their tokens one after another, without pads, and the number of tokens of each.
Linear layers and norms see one long list of tokens; only attention looks at cells, each at its own
tokens. Post-norm layers and learned positions as in BERT (Devlin et al. 2018, arXiv:1810.04805),
the architecture of Geneformer (Theodoris et al. 2023, doi:10.1038/s41586-023-06139-9); hidden
states equal those of ``transformers.BertModel``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional

from cellwright.errors import SettingsError

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_new": partial(functional.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(functional.gelu, approximate="tanh"),
    "silu": functional.silu,
    "swish": functional.silu,
}
# Tokens that pass the wide feed-forward layer together: its activations then stay in cache, and
# no fresh pages are asked for.
_CHUNK_TOKENS = 1024


@dataclass(frozen=True)
class RankShape:
    """The shape of a rank encoder.

    tokens: size of the vocabulary, special tokens included; positions: most tokens in a cell;
    types: rows of BERT's segment embedding, of which only the first is used; dropout: after the
    embedding and each block; attention_dropout: of attention weights; both only in training.

    Raises
    ------
    SettingsError
        If the width does not divide by the heads, the activation is unknown, or a size is below 1.
    """

    tokens: int
    width: int
    layers: int
    heads: int
    feedforward: int
    positions: int
    activation: str = "relu"
    norm_eps: float = 1e-12
    dropout: float = 0.02
    attention_dropout: float = 0.02
    types: int = 2
    initial_std: float = 0.02

    def __post_init__(self) -> None:
        for name in ("tokens", "width", "layers", "heads", "feedforward", "positions", "types"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.width % self.heads:
            raise SettingsError(
                f"width {self.width} does not divide by {self.heads} heads; choose a width that is "
                "a multiple"
            )
        if self.activation not in ACTIVATIONS:
            raise SettingsError(
                f"activation is {self.activation!r}, expected one of {', '.join(ACTIVATIONS)}"
            )
        for name in ("dropout", "attention_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected 0 up to below 1")


class RankEncoder(nn.Module):
    """Packed cells in, one vector per token out, of any layer.

    ``head`` predicts masked tokens with the token embeddings themselves as output weights; None in
    an encoder that came without one.
    """

    def __init__(self, shape: RankShape, *, head: bool = True) -> None:
        super().__init__()
        self.shape = shape
        self.tokens = nn.Embedding(shape.tokens, shape.width)
        self.positions = nn.Embedding(shape.positions, shape.width)
        self.types = nn.Embedding(shape.types, shape.width)
        self.embedding_norm = nn.LayerNorm(shape.width, eps=shape.norm_eps)
        self.layers = nn.ModuleList(RankLayer(shape) for _ in range(shape.layers))
        self.head = MaskedTokenHead(shape) if head else None

    def embed(self, ids_t: Tensor, lengths_n: Sequence[int]) -> Tensor:
        """What enters the first layer, (tokens, width): token + position + the first segment.

        Raises
        ------
        SettingsError
            If a cell has more tokens than there are positions, or the lengths do not add up.
        """
        longest, total = max(lengths_n, default=0), sum(lengths_n)
        if longest > self.shape.positions:
            raise SettingsError(
                f"a cell has {longest:,} tokens, but the model has {self.shape.positions:,} "
                "positions; cut cells to that many tokens"
            )
        if total != len(ids_t):
            raise SettingsError(f"lengths add up to {total:,}, but there are {len(ids_t):,} tokens")
        place_t = torch.cat([torch.arange(0), *(torch.arange(length) for length in lengths_n)]).to(
            ids_t.device
        )
        x_td = self.tokens(ids_t) + self.types.weight[0] + self.positions(place_t)
        x_td = self.embedding_norm(x_td)
        return functional.dropout(x_td, self.shape.dropout, self.training)

    def forward(
        self,
        ids_t: Tensor,
        lengths_n: Sequence[int],
        hidden_layers: Sequence[int] = (-1,),
    ) -> tuple[Tensor, ...]:
        """Hidden states of some layers; layers above the highest asked for are not computed.

        Parameters
        ----------
        ids_t
            int64 token ids of all cells, one after another, no pads.
        lengths_n
            Tokens of each cell, plain numbers. Neighbours of equal length are attended to in one
            call, so cells sorted by length are fastest; the order changes no result.
        hidden_layers
            Which, counted as ``transformers`` counts them: 0 is the embedding, 1 the first layer,
            -1 the last, -2 the last but one.

        Returns
        -------
        One (tokens, width) tensor per layer asked for, in that order.

        Raises
        ------
        SettingsError
            If there is no such layer, or the cells do not fit.
        """
        wanted = [self.layer_index(layer) for layer in hidden_layers]
        x_td = self.embed(ids_t, lengths_n)
        kept = {0: x_td}
        for number, layer in enumerate(self.layers[: max(wanted, default=0)], start=1):
            x_td = layer(x_td, lengths_n)
            if number in wanted:
                kept[number] = x_td
        return tuple(kept[number] for number in wanted)

    def layer_index(self, layer: int) -> int:
        """The place of a layer among the hidden states, 0 to the number of layers.

        Raises
        ------
        SettingsError
            If there is no such layer.
        """
        states = self.shape.layers + 1
        if not -states <= layer < states:
            raise SettingsError(
                f"there is no layer {layer}: the model has {self.shape.layers} layers, so 0 (the "
                f"embedding) to {states - 1}, or -1 (the last) to -{states}"
            )
        return layer % states

    def logits(self, hidden_td: Tensor) -> Tensor:
        """Scores of every token of the vocabulary, (t, vocabulary), from last hidden states.

        Raises
        ------
        SettingsError
            If the model has no head.
        """
        if self.head is None:
            raise SettingsError(
                "this model has no head that predicts masked tokens: it was saved without one"
            )
        return functional.linear(self.head(hidden_td), self.tokens.weight, self.head.bias)


class RankLayer(nn.Module):
    """Attention inside each cell, then a feed-forward block; the norm comes after each sum."""

    def __init__(self, shape: RankShape) -> None:
        super().__init__()
        self.shape = shape
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.out = nn.Linear(shape.width, shape.width)
        self.attention_norm = nn.LayerNorm(shape.width, eps=shape.norm_eps)
        self.up = nn.Linear(shape.width, shape.feedforward)
        self.down = nn.Linear(shape.feedforward, shape.width)
        self.norm = nn.LayerNorm(shape.width, eps=shape.norm_eps)

    def forward(self, x_td: Tensor, lengths_n: Sequence[int]) -> Tensor:
        """(tokens, width) to (tokens, width)."""
        shape = self.shape
        query, key, value = (
            self.qkv(x_td).view(len(x_td), 3, shape.heads, shape.width // shape.heads).unbind(1)
        )
        dropped = shape.attention_dropout if self.training else 0.0
        attended = attend_inside(query, key, value, lengths_n, dropped).reshape(x_td.shape)
        rest = functional.dropout(self.out(attended), shape.dropout, self.training)
        x_td = self.attention_norm(x_td + rest)
        if torch.is_grad_enabled() and (x_td.requires_grad or _learns(self)):
            return self._feed(x_td)
        return torch.cat([self._feed(part) for part in torch.split(x_td, _CHUNK_TOKENS)])

    def _feed(self, x_td: Tensor) -> Tensor:
        rest = self.down(ACTIVATIONS[self.shape.activation](self.up(x_td)))
        return self.norm(x_td + functional.dropout(rest, self.shape.dropout, self.training))


def _learns(layer: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in layer.parameters())


class MaskedTokenHead(nn.Module):
    """BERT's prediction head up to the product with the token embeddings, and its output bias."""

    def __init__(self, shape: RankShape) -> None:
        super().__init__()
        self.activation = shape.activation
        self.dense = nn.Linear(shape.width, shape.width)
        self.norm = nn.LayerNorm(shape.width, eps=shape.norm_eps)
        self.bias = nn.Parameter(torch.zeros(shape.tokens))

    def forward(self, hidden_td: Tensor) -> Tensor:
        """(t, width) to (t, width)."""
        transformed: Tensor = self.norm(ACTIVATIONS[self.activation](self.dense(hidden_td)))
        return transformed


def attend_inside(
    query_thd: Tensor,
    key_thd: Tensor,
    value_thd: Tensor,
    lengths_n: Sequence[int],
    dropout: float = 0.0,
) -> Tensor:
    """Softmax attention of each cell's tokens to that cell's tokens, (tokens, heads, dims).

    Cells that follow each other with the same length go through one call; there is no mask,
    because there are no pads.
    """
    parts = []
    start = 0
    for length, cells in groupby(lengths_n):
        n = sum(1 for _ in cells)
        stop = start + n * length
        query, key, value = (
            x[start:stop].view(n, length, *x.shape[1:]).transpose(1, 2)
            for x in (query_thd, key_thd, value_thd)
        )
        if length:
            attended = functional.scaled_dot_product_attention(query, key, value, dropout_p=dropout)
            parts.append(attended.transpose(1, 2).reshape(n * length, *query_thd.shape[1:]))
        start = stop
    return torch.cat(parts) if parts else torch.zeros_like(query_thd)


def random_rank_encoder(shape: RankShape, seed: int, *, head: bool = True) -> RankEncoder:
    """An encoder with BERT's starting weights drawn from ``seed``.

    Normal with the shape's ``initial_std``, zero biases; the global generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = RankEncoder(shape, head=head)
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=shape.initial_std)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
    return model
