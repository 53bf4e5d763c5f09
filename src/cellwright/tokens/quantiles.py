"""Quantiles of every gene in one pass over the cells, exact up to a budget of values."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

# Buckets per factor of two, over all genes: bounds the histogram at a few hundred megabytes.
_BUCKETS = 1 << 23
# Blocks are gathered to at least this many values before they are sorted by gene.
_CHUNK = 1 << 22


class GeneQuantiles:
    """Collects the nonzero values of g genes and gives quantiles of each.

    Up to ``exact_values`` nonzero values are kept (4 bytes each) and quantiles are those of
    ``np.quantile`` (linear method). Beyond, every value is counted in a histogram whose buckets
    are fixed (the float32 number without its last bits), so memory no longer grows with the
    cells, the result does not depend on their order, and every quantile is within
    ``relative_error`` of the exact one: 0.012 % up to 2,048 genes, 0.2 % at 32,768, at most 0.4 %.

    References
    ----------
    Masson, Rim and Lee (2019), DDSketch: relative-error quantiles from fixed buckets.
    """

    def __init__(self, n_genes: int, *, exact_values: int) -> None:
        self.n_genes = n_genes
        # Bits of the mantissa that a bucket keeps; its middle is half a bucket from its ends.
        bits = max(7, min(12, (_BUCKETS // max(n_genes, 1)).bit_length() - 1))
        self._shift = np.uint32(23 - bits)
        self._error = 2.0 ** -(bits + 1)
        self.exact_values = exact_values
        self.n_cells = 0
        self.n_values = 0
        self._waiting: list[sp.csr_matrix] = []
        self._waiting_values = 0
        self._chunks: list[tuple[NDArray[np.int64], NDArray[np.float32]]] = []
        self._lowest = 0
        self._histogram_gb: NDArray[np.uint32] | None = None

    @property
    def exact(self) -> bool:
        """Whether quantiles are exact so far."""
        return self._histogram_gb is None

    @property
    def relative_error(self) -> float:
        """Bound of the relative error of every quantile; 0 while they are exact."""
        return 0.0 if self.exact else self._error

    def add(self, values_ng: sp.csr_matrix) -> None:
        """Take in the values (float32, 0 and above) of more cells, CSR, cells × genes."""
        self.n_cells += values_ng.shape[0]
        self._waiting.append(values_ng)
        self._waiting_values += values_ng.nnz
        if self._waiting_values >= _CHUNK:
            self._gather()

    def quantiles(self, gene: int, at: NDArray[np.float64], *, zeros: bool) -> NDArray[np.float64]:
        """Quantiles of one gene.

        Parameters
        ----------
        gene
            Its position.
        at
            Where, 0 to 1.
        zeros
            Whether the cells without this gene count, as zeros.

        Returns
        -------
        As long as ``at``; empty if there are no values.
        """
        self._gather()
        if self._histogram_gb is not None:
            return self._from_histogram(self._histogram_gb, gene, at, zeros)
        parts = [data[at_g[gene] : at_g[gene + 1]] for at_g, data in self._chunks]
        nonzero = np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)
        if zeros:
            values = np.zeros(self.n_cells, dtype=np.float64)
            values[: nonzero.size] = nonzero
        else:
            values = nonzero.astype(np.float64)
        return np.quantile(values, at) if values.size else np.empty(0, dtype=np.float64)

    def _gather(self) -> None:
        if not self._waiting:
            return
        by_gene = sp.vstack(self._waiting, format="csr").tocsc()
        by_gene.eliminate_zeros()
        self._waiting, self._waiting_values = [], 0
        self.n_values += by_gene.nnz
        self._chunks.append((by_gene.indptr.astype(np.int64), by_gene.data.astype(np.float32)))
        if self.n_values > self.exact_values or not self.exact:
            for at_g, data in self._chunks:
                self._count(at_g, data)
            self._chunks = []

    def _count(self, at_g: NDArray[np.int64], data: NDArray[np.float32]) -> None:
        """Add values, sorted by gene, to the histogram, which grows to hold them."""
        if data.size == 0:
            return
        # The bits of positive floats are in the order of the floats.
        bucket = (data.view(np.uint32) >> self._shift).astype(np.int64)
        low, high = int(bucket.min()), int(bucket.max()) + 1
        if self._histogram_gb is None:
            self._lowest = low
            self._histogram_gb = np.zeros((self.n_genes, high - low), dtype=np.uint32)
        before = max(0, self._lowest - low)
        after = max(0, high - self._lowest - self._histogram_gb.shape[1])
        if before or after:
            self._histogram_gb = np.pad(self._histogram_gb, ((0, 0), (before, after)))
            self._lowest -= before
        width = self._histogram_gb.shape[1]
        bucket -= self._lowest
        for gene in range(self.n_genes):
            part = bucket[at_g[gene] : at_g[gene + 1]]
            if part.size:
                self._histogram_gb[gene] += np.bincount(part, minlength=width).astype(np.uint32)

    def _from_histogram(
        self,
        histogram_gb: NDArray[np.uint32],
        gene: int,
        at: NDArray[np.float64],
        zeros: bool,
    ) -> NDArray[np.float64]:
        counts = histogram_gb[gene]
        ends = np.cumsum(counts, dtype=np.int64)
        nonzero = int(ends[-1])
        n_zeros = self.n_cells - nonzero if zeros else 0
        n = nonzero + n_zeros
        if n == 0:
            return np.empty(0, dtype=np.float64)
        edges = (
            np.arange(self._lowest, self._lowest + counts.size + 1).astype(np.uint32) << self._shift
        )
        edges_b = edges.view(np.float32).astype(np.float64)
        middles_b = (edges_b[:-1] + edges_b[1:]) / 2

        def ranked(rank: NDArray[np.int64]) -> NDArray[np.float64]:
            place = np.searchsorted(ends, np.maximum(rank - n_zeros, 0), side="right")
            value = middles_b[np.minimum(place, counts.size - 1)]
            return np.where(rank < n_zeros, 0.0, value)

        position = at * (n - 1)
        below = np.floor(position).astype(np.int64)
        share = position - below
        return ranked(below) * (1 - share) + ranked(np.minimum(below + 1, n - 1)) * share
