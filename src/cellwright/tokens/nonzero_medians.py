"""The median of every gene's nonzero normalized counts, in one pass over the cells."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.tokens.normalize import as_csr
from cellwright.tokens.quantiles import GeneQuantiles

_CHUNK = 1 << 22


class NonzeroMedians:
    """Collects counts / total × ``target_sum`` of g genes, float64, and gives their medians.

    Up to ``exact_values`` nonzero values are kept (8 bytes each) and medians are those of
    ``np.median``. Beyond, they are counted in the fixed buckets of
    :class:`~cellwright.tokens.quantiles.GeneQuantiles`: memory no longer grows with the cells and
    every median is within ``relative_error`` of the exact one.
    """

    def __init__(
        self, n_genes: int, *, target_sum: float = 1e4, exact_values: int = 50_000_000
    ) -> None:
        self.n_genes = n_genes
        self.target_sum = target_sum
        self.exact_values = exact_values
        self.n_cells = 0
        self._cells_g = np.zeros(n_genes, dtype=np.int64)
        self._kept = 0
        self._waiting: list[sp.csr_matrix] = []
        self._waiting_values = 0
        self._chunks: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        self._buckets: GeneQuantiles | None = None

    @property
    def relative_error(self) -> float:
        """Bound of the relative error of every median; 0 while they are exact."""
        return 0.0 if self._buckets is None else self._buckets.relative_error

    def add(self, counts_ng: sp.csr_matrix, totals_n: NDArray[np.float64] | None = None) -> None:
        """Take in the counts of more cells.

        Parameters
        ----------
        counts_ng
            CSR, cells × genes.
        totals_n
            All counts of each cell where the genes given are not all; default their sum.

        Raises
        ------
        DataError
            If the genes are not as many as before, or a count is negative or not finite.
        """
        counts = as_csr(counts_ng)
        if counts.shape[1] != self.n_genes:
            raise DataError(
                f"a block has {counts.shape[1]} genes, those before it had {self.n_genes}"
            )
        if (counts.data == 0).any():
            counts = counts.copy()
            counts.eliminate_zeros()
        if totals_n is None:
            totals_n = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
        row_totals = np.repeat(totals_n, np.diff(counts.indptr))
        values = counts.data.astype(np.float64) / row_totals * self.target_sum
        self.n_cells += counts.shape[0]
        self._cells_g += np.bincount(counts.indices, minlength=self.n_genes)
        matrix = sp.csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape)
        self._waiting.append(matrix)
        self._waiting_values += matrix.nnz
        if self._waiting_values >= _CHUNK:
            self._gather()

    def medians(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Median (NaN where no cell has the gene) and number of cells with the gene, (g,) each."""
        self._gather()
        medians_g = np.full(self.n_genes, np.nan)
        half = np.array([0.5])
        for gene in np.flatnonzero(self._cells_g).tolist():
            if self._buckets is not None:
                medians_g[gene] = self._buckets.quantiles(gene, half, zeros=False)[0]
                continue
            parts = [values[at_g[gene] : at_g[gene + 1]] for at_g, values in self._chunks]
            medians_g[gene] = np.median(np.concatenate(parts))
        return medians_g, self._cells_g.copy()

    def _gather(self) -> None:
        if not self._waiting:
            return
        rows = sp.vstack(self._waiting, format="csr")
        self._waiting, self._waiting_values = [], 0
        self._kept += rows.nnz
        if self._buckets is None and self._kept > self.exact_values:
            self._buckets = GeneQuantiles(self.n_genes, exact_values=0)
            for at_g, values in self._chunks:
                by_gene = sp.csc_matrix(
                    (values, _places(at_g), at_g), shape=(int(np.diff(at_g).max()), self.n_genes)
                )
                self._buckets.add(_single(by_gene.tocsr()))
            self._chunks = []
        if self._buckets is not None:
            self._buckets.add(_single(rows))
            return
        by_gene = rows.tocsc()
        self._chunks.append((by_gene.indptr.astype(np.int64), by_gene.data))


def _places(at_g: NDArray[np.int64]) -> NDArray[np.int64]:
    """0, 1, 2 ... within every gene: which cell a value came from no longer matters."""
    return np.arange(at_g[-1]) - np.repeat(at_g[:-1], np.diff(at_g))


def _single(values_ng: sp.csr_matrix) -> sp.csr_matrix:
    return sp.csr_matrix(values_ng.astype(np.float32))
