"""Genes with labels: the class of a token, wherever it stands in a cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellwright.training.labelled import (
    LabelledBatch,
    RankTokens,
    measures,
    on_device,
    shuffled,
    weighted_loss,
)

IGNORED = -100
"""The label of a token that has none."""
_BATCH_TOKENS = 16_384


@dataclass(frozen=True)
class TokenLabels:
    """Objective: the class of each labelled token, in every cell that holds it.

    tokens: cells by rank; label_v: class of each token id of the vocabulary to learn from, -100
    none; val_label_v: of those to validate on; cells: rows to learn from (each holds a labelled
    token); val_cells: rows to validate on; weight_k: what a gene of each class weighs.
    """

    tokens: RankTokens
    label_v: NDArray[np.int64]
    val_label_v: NDArray[np.int64]
    cells: NDArray[np.int64]
    val_cells: NDArray[np.int64]
    weight_k: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.cells)

    def training_batches(
        self,
        *,
        batch_size: int,
        epoch: int,
        seed: int,
        first: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> Iterator[LabelledBatch]:
        """The batches of one epoch, shuffled by (seed, epoch); in a batch the longest cell first."""
        for rows, share in shuffled(
            self.cells, batch_size, epoch=epoch, seed=seed, first=first, rank=rank, world=world
        ):
            by_length = rows[np.argsort(-self.tokens.lengths_n[rows], kind="stable")]
            ids_t, lengths = self.tokens.inputs(by_length)
            label_t = torch.from_numpy(self.label_v)[ids_t]
            at_m = torch.nonzero(label_t >= 0).squeeze(1)
            yield LabelledBatch((ids_t, lengths, at_m), label_t[at_m], share)

    def loss(self, model: nn.Module, batch: LabelledBatch) -> Tensor:
        """Mean weighted cross-entropy over the labelled tokens."""
        return weighted_loss(model(*batch.inputs), batch.codes_m, self.weight_k)

    def measure(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Loss and accuracies of the validation genes, each the mean over its cells."""
        wanted = self.val_label_v if (self.val_label_v >= 0).any() else self.label_v
        probability_vk = gene_probability(
            model, self.tokens, device, wanted=wanted >= 0, cells=self.val_cells
        )
        genes = np.flatnonzero((wanted >= 0) & np.isfinite(probability_vk).all(axis=1))
        logits = torch.from_numpy(np.log(np.maximum(probability_vk[genes], 1e-12)))
        return measures(logits, wanted[genes], self.weight_k)


def gene_probability(
    model: nn.Module,
    tokens: RankTokens,
    device: torch.device,
    *,
    wanted: NDArray[np.bool_] | None = None,
    cells: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """(tokens of the vocabulary, k): class probabilities of each token, mean over its cells.

    NaN for a token that is not ``wanted`` or stands in no cell.
    """

    def probability(*inputs: Any) -> Tensor:
        logits_mk: Tensor = model(*inputs)
        return logits_mk.softmax(-1)

    mean_vk = token_means(model, probability, tokens, device, wanted=wanted, cells=cells)
    return np.asarray(mean_vk.numpy(), dtype=np.float64)


@torch.no_grad()
def token_means(
    model: Any,
    call: Callable[..., Tensor],
    tokens: RankTokens,
    device: torch.device,
    *,
    wanted: NDArray[np.bool_] | None = None,
    cells: NDArray[np.int64] | None = None,
) -> Tensor:
    """What ``call`` makes of each token of the vocabulary, float64, mean over the cells that hold it.

    NaN for a token that is not ``wanted`` or stands in no cell. The model computes in float32 and
    without dropout; its mode is restored.
    """
    training = model.training
    model.eval()
    rows = np.arange(len(tokens)) if cells is None else cells
    order = rows[np.argsort(-tokens.lengths_n[rows], kind="stable")]
    size_v = int(model.encoder.shape.tokens)
    count_v = torch.zeros(size_v, dtype=torch.int64)
    sum_vd: Tensor | None = None
    start = 0
    while start < len(order):
        longest = max(int(tokens.lengths_n[order[start]]), 1)
        stop = start + max(1, min(128, _BATCH_TOKENS // longest))
        ids_t, lengths = tokens.inputs(order[start:stop])
        start = stop
        at_m = torch.arange(len(ids_t))
        if wanted is not None:
            at_m = at_m[torch.from_numpy(wanted)[ids_t]]
        with torch.autocast(device.type, enabled=False):
            found_md = call(*on_device((ids_t, lengths, at_m), device)).cpu().double()
        if sum_vd is None:
            sum_vd = torch.zeros(size_v, found_md.shape[1], dtype=torch.float64)
        sum_vd.index_add_(0, ids_t[at_m], found_md)
        count_v += torch.bincount(ids_t[at_m], minlength=size_v)
    model.train(training)
    if sum_vd is None:
        return torch.full((size_v, 1), torch.nan, dtype=torch.float64)
    # 0 / 0 is the NaN of a token that stands nowhere.
    return sum_vd / count_v.unsqueeze(1)
