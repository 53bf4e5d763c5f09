"""From packed ranked cells to one vector per cell, or one per gene."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellwright.models.rank_encoder import RankEncoder

POOLINGS = ("mean", "cls")
# Tokens in one batch: enough to keep every core busy, few enough to stay near the cache.
BATCH_TOKENS = 4096


@dataclass(frozen=True)
class PackedCells:
    """Tokens of cells one after another.

    ids_t: token ids of all cells; offsets_n: (n + 1,) where each cell starts, and the end.
    """

    ids_t: NDArray[np.int32]
    offsets_n: NDArray[np.int64]

    @property
    def lengths_n(self) -> NDArray[np.int64]:
        return np.diff(self.offsets_n)


def batches_by_length(
    lengths_n: NDArray[np.int64], tokens: int = BATCH_TOKENS, cells: int = 128
) -> list[NDArray[np.int64]]:
    """Rows in batches, the longest cells first; at least one cell in each.

    Parameters
    ----------
    tokens, cells
        Most tokens and most cells in a batch.
    """
    batches: list[NDArray[np.int64]] = []
    order = np.argsort(-lengths_n, kind="stable")
    start, held = 0, 0
    for place, row in enumerate(order):
        if place > start and (held + lengths_n[row] > tokens or place - start == cells):
            batches.append(order[start:place])
            start, held = place, 0
        held += int(lengths_n[row])
    if len(order):
        batches.append(order[start:])
    return batches


def cell_means(
    model: RankEncoder,
    cells: PackedCells,
    *,
    hidden_layer: int,
    pooling: str,
    special_ids: list[int],
    batch_size: int = 128,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """One vector per cell, (n, width), of one layer's hidden states.

    Parameters
    ----------
    pooling
        ``mean`` over the tokens that are not special, or ``cls``: the first token.
    progress
        Called with the number of cells done after each batch.

    Returns
    -------
    Zeros for a cell without a token to take.
    """
    vectors_nd = np.zeros((len(cells.lengths_n), model.shape.width), dtype=np.float32)
    done = 0
    for rows, ids_t, lengths, hidden_td in _hidden(model, cells, hidden_layer, batch_size):
        if pooling == "cls":
            starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
            filled = np.asarray(lengths) > 0
            vectors_nd[rows[filled]] = hidden_td[torch.from_numpy(starts[filled])].cpu().numpy()
        else:
            vectors_nd[rows] = _gene_means(ids_t, lengths, hidden_td, special_ids).cpu().numpy()
        done += len(rows)
        if progress is not None:
            progress(done)
    return vectors_nd


def _gene_means(
    ids_t: Tensor, lengths: list[int], hidden_td: Tensor, special_ids: list[int]
) -> Tensor:
    gene_t = ~torch.isin(ids_t, torch.tensor(special_ids, device=ids_t.device))
    cell_t = torch.repeat_interleave(torch.tensor(lengths)).to(ids_t.device)
    sum_nd = hidden_td.new_zeros(len(lengths), hidden_td.shape[1])
    sum_nd.index_add_(0, cell_t, hidden_td * gene_t.unsqueeze(1))
    count_n = torch.bincount(cell_t[gene_t], minlength=len(lengths)).clamp_min(1)
    return sum_nd / count_n.unsqueeze(1)


def token_sums(
    model: RankEncoder, cells: PackedCells, *, hidden_layer: int, batch_size: int = 128
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Hidden states of each token of the vocabulary, summed over cells, and in how many it stood."""
    size = (model.shape.tokens, model.shape.width)
    sum_vd = torch.zeros(size, dtype=torch.float64, device=model.tokens.weight.device)
    for _, ids_t, _, hidden_td in _hidden(model, cells, hidden_layer, batch_size):
        sum_vd.index_add_(0, ids_t, hidden_td.double())
    return sum_vd.cpu().numpy(), np.bincount(cells.ids_t, minlength=size[0])


def _hidden(
    model: RankEncoder, cells: PackedCells, hidden_layer: int, batch_size: int
) -> Iterator[tuple[NDArray[np.int64], Tensor, list[int], Tensor]]:
    """Rows, token ids, lengths and hidden states of one batch after another, in float32."""
    device = model.tokens.weight.device
    starts, ends = cells.offsets_n[:-1], cells.offsets_n[1:]
    for rows in batches_by_length(cells.lengths_n, cells=batch_size):
        ids = np.concatenate([cells.ids_t[starts[row] : ends[row]] for row in rows])
        ids_t = torch.from_numpy(ids.astype(np.int64)).to(device)
        lengths = cells.lengths_n[rows].tolist()
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            (hidden_td,) = model(ids_t, lengths, hidden_layers=(hidden_layer,))
        yield rows, ids_t, lengths, hidden_td
