"""Nonzero entries per cell and gene, and the spread of genes, gathered over blocks of rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.data.disk.kernels import add_moments, tally
from cellwright.data.disk.rows import Rows


@dataclass(frozen=True)
class Nonzeros:
    """``genes_per_n``: nonzero genes of each cell; ``cells_per_g``: of how many cells each gene is."""

    genes_per_n: NDArray[np.int64]
    cells_per_g: NDArray[np.int64]

    def summary(self) -> dict[str, Any]:
        """Shape, share of nonzero values, medians per cell and gene."""
        n, g = self.genes_per_n.size, self.cells_per_g.size
        return {
            "shape": [int(n), int(g)],
            "nonzero_fraction": float(self.genes_per_n.sum() / max(1, n * g)),
            "median_nonzero_per_cell": float(np.median(self.genes_per_n)) if n else 0.0,
            "median_nonzero_per_gene": float(np.median(self.cells_per_g)) if g else 0.0,
        }


class NonzeroCounter:
    """Adds up nonzeros block by block; ``add`` takes them in order."""

    def __init__(self, n: int, g: int) -> None:
        self._genes_per_n = np.zeros(n, np.int64)
        self._cells_per_g = np.zeros(g, np.int64)

    def add(self, block: Rows) -> None:
        """Count one block; stored zeros are not counted."""
        counts = block.counts
        nonzero = np.empty(0, bool)
        if np.count_nonzero(counts.data) < counts.nnz:
            nonzero = counts.data != 0
        stop = block.start + counts.shape[0]
        tally(
            counts.indptr,
            counts.indices,
            nonzero,
            self._cells_per_g,
            self._genes_per_n[block.start : stop],
        )

    def result(self) -> Nonzeros:
        """What has been counted."""
        return Nonzeros(self._genes_per_n, self._cells_per_g)


def detection_and_std(
    blocks: Iterable[sp.csr_matrix], n: int, g: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of n cells in which each gene is found, and its standard deviation over them (ddof 0).

    The sums are made entry by entry in the order of the cells, so they do not depend on how the
    cells come in blocks.

    Returns
    -------
    (g,) in [0, 1]; (g,) in the units of the values, no finite number for a gene with such values.
    """
    detected, total, square = np.zeros(g, np.int64), np.zeros(g), np.zeros(g)
    for counts in blocks:
        add_moments(counts.indices, counts.data, detected, total, square)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = total / n
        return detected / n, np.sqrt(np.maximum(square / n - mean * mean, 0.0))
