"""Counts held small in memory, and the batches of the linear VAE made from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numba
import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellwright.models.linear_vae_fused import SparseRows
from cellwright.training.batches import batches_per_epoch


@dataclass(frozen=True)
class PackedCounts:
    """Counts of n cells in CSR, each entry as small as it can be.

    offsets_n: (n + 1,) int64; columns: uint16 below 65,536 genes, else int32; counts: uint16 where
    they are whole and fit, else float32; genes: width. Half the memory of a scipy matrix or less.
    """

    offsets_n: NDArray[np.int64]
    columns: NDArray[Any]
    counts: NDArray[Any]
    genes: int

    @classmethod
    def of(cls, blocks: Iterable[sp.csr_matrix]) -> Self:
        """Pack CSR blocks of the same genes one below the other; one is held at a time."""
        offsets = [np.zeros(1, dtype=np.int64)]
        columns: NDArray[Any] = np.empty(0, dtype=np.uint16)
        counts: NDArray[Any] = np.empty(0, dtype=np.uint16)
        genes, end = 0, 0
        for block in blocks:
            if genes == 0:
                genes = block.shape[1]
                columns = columns.astype(np.uint16 if genes <= 1 << 16 else np.int32)
            offsets.append(block.indptr[1:].astype(np.int64) + end)
            whole = block.nnz == 0 or (
                float(block.data.max()) < 1 << 16 and bool((block.data % 1 == 0).all())
            )
            if not whole:  # one block of fractions makes all float32
                counts = counts.astype(np.float32)
            start, end = end, end + block.nnz
            if end > len(columns):
                # Grown in place, so that no second copy is held; what is not used yet costs nothing.
                columns.resize(end + end // 2, refcheck=False)
                counts.resize(end + end // 2, refcheck=False)
            columns[start:end] = block.indices
            counts[start:end] = block.data
        columns.resize(end, refcheck=False)
        counts.resize(end, refcheck=False)
        return cls(np.concatenate(offsets), columns, counts, genes)

    @classmethod
    def of_matrix(cls, counts_ng: sp.csr_matrix, block_cells: int = 4096) -> Self:
        """Pack one CSR matrix."""

        def blocks() -> Iterator[sp.csr_matrix]:
            for at in range(0, max(counts_ng.shape[0], 1), block_cells):
                block = sp.csr_matrix(counts_ng[at : at + block_cells])
                block.sum_duplicates()
                yield block

        return cls.of(blocks())

    def __len__(self) -> int:
        return len(self.offsets_n) - 1

    def rows(self, rows: NDArray[np.int64]) -> SparseRows:
        """These cells as the model takes them."""
        lengths = self.offsets_n[rows + 1] - self.offsets_n[rows]
        offsets_n = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        columns = np.empty(offsets_n[-1], dtype=np.int32)
        counts = np.empty(offsets_n[-1], dtype=np.float32)
        _pick(self.offsets_n, self.columns, self.counts, rows, offsets_n, columns, counts)
        return SparseRows(offsets_n, columns, counts, self.genes)

    def detected(self) -> NDArray[np.int64]:
        """Cells with a count of each gene, (g,)."""
        return np.bincount(self.columns, minlength=self.genes)

    def totals(self) -> NDArray[np.float64]:
        """Library sizes, (n,)."""
        rows = np.arange(len(self), dtype=np.int64)
        parts = [rows[at : at + 4096] for at in range(0, len(rows), 4096)]
        return np.concatenate([self.rows(part).totals() for part in parts]).astype(np.float64)


@numba.njit(nogil=True, cache=True)
def _pick(
    offsets_n: NDArray[np.int64],
    columns: NDArray[Any],
    counts: NDArray[Any],
    rows: NDArray[np.int64],
    to_offsets: NDArray[np.int64],
    to_columns: NDArray[np.int32],
    to_counts: NDArray[np.float32],
) -> None:
    for i in range(rows.size):
        at = to_offsets[i]
        for j in range(offsets_n[rows[i]], offsets_n[rows[i] + 1]):
            to_columns[at] = columns[j]
            to_counts[at] = counts[j]
            at += 1


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
    cells: PackedCounts,
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
