"""Batches of masked cells that depend on (seed, epoch, cell) and on nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellwright.tokens.masking import MaskRule, mask

VALIDATION_EPOCH = 2**62
"""The mask of a validation cell is that of this epoch, always."""


@dataclass(frozen=True)
class MaskedBatch:
    """value_ids_ng: int64 bins; hidden_ng: True where masked; targets_nm: the masked columns;
    truth_nm: their bins; share: this process's part of the whole batch, by cells."""

    value_ids_ng: Tensor
    hidden_ng: Tensor
    targets_nm: Tensor
    truth_nm: Tensor
    share: float

    def to(self, device: torch.device) -> MaskedBatch:
        return MaskedBatch(
            self.value_ids_ng.to(device),
            self.hidden_ng.to(device),
            self.targets_nm.to(device),
            self.truth_nm.to(device),
            self.share,
        )


@dataclass(frozen=True)
class BinnedCells:
    """Tokenized cells in memory: one byte per cell and gene.

    bins_ng: uint8 bins; nonzero_ng: where the gene counts as nonzero under the mask rule, or None
    where that is "bin above 0"; keys_n: one key per cell (``tokens.masking.cell_keys``).
    """

    bins_ng: NDArray[np.uint8]
    nonzero_ng: NDArray[np.bool_] | None
    keys_n: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.bins_ng)

    def nonzero(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        return self.bins_ng[rows] > 0 if self.nonzero_ng is None else self.nonzero_ng[rows]

    def masked(
        self, rows: NDArray[np.int64], rule: MaskRule, epoch: int, seed: int
    ) -> NDArray[np.bool_]:
        """The mask of these rows, (len(rows), g)."""
        return mask(rule, self.nonzero(rows), self.keys_n[rows], epoch, seed)

    def batch(
        self,
        rows: NDArray[np.int64],
        rule: MaskRule,
        epoch: int,
        seed: int,
        share: float = 1.0,
    ) -> MaskedBatch:
        """The masked batch of these rows."""
        bins_ng = self.bins_ng[rows]
        hidden_ng = self.masked(rows, rule, epoch, seed)
        targets_nm = np.nonzero(hidden_ng)[1].reshape(len(rows), -1)
        truth_nm = np.take_along_axis(bins_ng, targets_nm, axis=1)
        return MaskedBatch(
            torch.from_numpy(bins_ng.astype(np.int64)),
            torch.from_numpy(hidden_ng),
            torch.from_numpy(targets_nm),
            torch.from_numpy(truth_nm.astype(np.int64)),
            share,
        )


def batches_per_epoch(n_cells: int, batch_size: int) -> int:
    """How many batches an epoch has; the last may be smaller."""
    return -(-n_cells // batch_size)


def training_batches(
    cells: BinnedCells,
    rule: MaskRule,
    *,
    batch_size: int,
    epoch: int,
    seed: int,
    first: int = 0,
    rank: int = 0,
    world: int = 1,
) -> Iterator[MaskedBatch]:
    """The batches of one epoch from number ``first`` on, shuffled by (seed, epoch).

    Of each batch a process takes every ``world``-th cell, so that together the processes see the
    batches that one would. ``batch_size`` is that of all processes together.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(cells))
    for number in range(first, batches_per_epoch(len(cells), batch_size)):
        rows = order[number * batch_size : (number + 1) * batch_size]
        mine = rows[rank::world]
        if len(mine) == 0:  # fewer cells than processes: repeat one at no weight
            yield cells.batch(rows[:1], rule, epoch, seed, share=0.0)
        else:
            yield cells.batch(mine, rule, epoch, seed, share=len(mine) / len(rows))


def validation_batches(
    cells: BinnedCells, rule: MaskRule, *, batch_size: int, seed: int
) -> Iterator[MaskedBatch]:
    """All cells in order under their fixed masks."""
    for start in range(0, len(cells), batch_size):
        rows = np.arange(start, min(start + batch_size, len(cells)), dtype=np.int64)
        yield cells.batch(rows, rule, VALIDATION_EPOCH, seed)
