"""The batches of the linear VAE, which depend on (seed, epoch) alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellwright.models.linear_vae_fused import SparseRows
from cellwright.training.batches import batches_per_epoch
from cellwright.training.packed_counts import Counts


@dataclass(frozen=True)
class CountBatch:
    """Cells of one step: rows: counts; batches_n: int64 batch codes; kl_weight: of the latent's KL;
    share: of the whole batch, by cells; dense_ng: the counts on a device that has no kernel."""

    rows: SparseRows
    batches_n: Tensor
    kl_weight: float
    share: float
    dense_ng: Tensor | None = None

    def to(self, device: torch.device) -> CountBatch:
        if device.type == "cpu":
            return self
        dense_ng = self.rows.dense().to(device)
        return CountBatch(
            self.rows, self.batches_n.to(device), self.kl_weight, self.share, dense_ng
        )


def count_batches(
    cells: Counts,
    codes_n: NDArray[np.int64],
    *,
    batch_size: int,
    epoch: int,
    seed: int,
    kl_weight: float,
    first: int = 0,
) -> Iterator[CountBatch]:
    """The batches of one epoch from number ``first`` on, shuffled by (seed, epoch).

    A last batch of a single cell takes the first cell of the epoch beside it: batch norm has no
    variance over one.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(cells))
    for number in range(first, batches_per_epoch(len(cells), batch_size)):
        rows = order[number * batch_size : (number + 1) * batch_size]
        if len(rows) == 1 and len(order) > 1:
            rows = np.append(rows, order[0])
        yield CountBatch(cells.rows(rows), torch.from_numpy(codes_n[rows]), kl_weight, 1.0)
