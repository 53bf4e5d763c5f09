"""Per-gene quantile bins: each value becomes the quantile interval of its gene that holds it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Self

import numba
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.errors import DataError, RunError, SettingsError
from cellwright.interfaces import RowBlock, TokenBatch
from cellwright.tokens.normalize import as_csr, normalized_values
from cellwright.tokens.quantiles import GeneQuantiles


class BinnedTokenizer:
    """Bins of each gene between quantiles of its values in the training cells.

    A cell is scaled to ``target_sum`` over the genes given, then log(1 + x) if ``log1p``. With
    edges e0 < e1 < ... (equal quantiles stand once) bin i holds e_i <= x < e_(i+1); the top bin
    is closed and values outside go to the end bins.

    - ``zero_bin=False``, the published rule: quantiles at k / num_bins over all training cells,
      zeros included; zeros share the lowest bin with the smallest values. A gene has 1 to
      ``num_bins`` bins.
    - ``zero_bin=True``: zero alone is bin 0, and the quantiles at k / (num_bins - 1) of the
      *nonzero* training values give bins 1 to at most ``num_bins - 1``. A gene has 2 to
      ``num_bins`` bins: also where no training cell had it, a nonzero value is bin 1.

    Parameters
    ----------
    num_bins
        Most bins of a gene, 2 to 256.
    target_sum
        Sum of a cell after scaling.
    log1p
        Whether the logarithm is taken.
    zero_bin
        Whether zero is a bin of its own.
    exact_values
        Nonzero training values up to which quantiles are exact (4 bytes of memory each); beyond,
        each is within ``relative_error_`` of the exact one
        (:class:`~cellwright.tokens.quantiles.GeneQuantiles`).

    Attributes
    ----------
    edges_ : list of (bins + 1,) float64, the edges of each gene in scaled units (those of the
        nonzero values if ``zero_bin``)
    n_bins_g : (g,) int64, the bins in use of each gene
    relative_error_ : bound of the relative error of the edges, 0 if they are exact
    n_cells_ : training cells

    Raises
    ------
    SettingsError
        If a setting cannot work.
    """

    name: ClassVar[str] = "binned"

    def __init__(
        self,
        num_bins: int = 20,
        target_sum: float = 1e4,
        log1p: bool = True,
        zero_bin: bool = True,
        *,
        exact_values: int = 200_000_000,
    ) -> None:
        if not 2 <= num_bins <= 256:
            raise SettingsError(f"num_bins is {num_bins}, expected 2 to 256")
        if not (np.isfinite(target_sum) and target_sum > 0):
            raise SettingsError(f"target_sum is {target_sum}, expected a number above 0")
        self.num_bins = num_bins
        self.target_sum = target_sum
        self.log1p = log1p
        self.zero_bin = zero_bin
        self.exact_values = exact_values

    @property
    def n_values(self) -> int:
        """How many value ids there can be: ``num_bins``, whatever the data."""
        return self.num_bins

    @property
    def n_genes(self) -> int:
        """Genes it was fitted on."""
        return len(self.edges_)

    @property
    def rule(self) -> str:
        """The bin rule in words, to stand beside every perplexity."""
        zeros = "zero apart" if self.zero_bin else "zeros in the lowest bin"
        scale = f"target sum {self.target_sum:g}" + (", log1p" if self.log1p else "")
        return f"{self.num_bins} quantile bins per gene, {zeros}, {scale}"

    def fit(self, blocks: Iterable[RowBlock]) -> Self:
        """Take the quantiles of the training cells in one pass.

        Parameters
        ----------
        blocks
            Counts of training cells only, genes in the order of the vocabulary.

        Raises
        ------
        DataError
            If there are no cells or no genes, or blocks differ in their genes.
        """
        store: GeneQuantiles | None = None
        for block in blocks:
            genes = None if store is None else store.n_genes
            counts = as_csr(block.counts_ng, genes=genes)
            if store is None:
                store = GeneQuantiles(counts.shape[1], exact_values=self.exact_values)
            values = normalized_values(counts, target_sum=self.target_sum, log1p=self.log1p)
            store.add(sp.csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape))
        if store is None or store.n_cells == 0 or store.n_genes == 0:
            cells, genes = (0, 0) if store is None else (store.n_cells, store.n_genes)
            raise DataError(
                f"bins need training cells with genes, {cells} cells × {genes} genes were given"
            )
        intervals = self.num_bins - 1 if self.zero_bin else self.num_bins
        at = np.linspace(0.0, 1.0, intervals + 1)
        edges = []
        for gene in range(store.n_genes):
            found = store.quantiles(gene, at, zeros=not self.zero_bin)
            edges.append(np.unique(found))
        self._set(edges, n_cells=store.n_cells, relative_error=store.relative_error)
        return self

    def bins(self, counts_ng: Any) -> NDArray[np.uint8]:
        """The bin of every gene in every cell.

        Parameters
        ----------
        counts_ng
            Counts, cells × genes in the order of the fit, sparse or dense.

        Returns
        -------
        (n, g) uint8. A cell without counts is all zeros.

        Raises
        ------
        DataError
            If the genes are not as many as in the fit, or a count is negative or not finite.
        """
        counts = as_csr(counts_ng, genes=self.n_genes)
        values = normalized_values(counts, target_sum=self.target_sum, log1p=self.log1p)
        bins_ng = np.zeros(counts.shape, dtype=np.uint8)
        _place(
            counts.indptr,
            counts.indices,
            values,
            self._inner,
            self._inner_at,
            np.uint8(self.zero_bin),
            bins_ng,
        )
        return bins_ng

    def encode(self, counts_ng: Any) -> TokenBatch:
        """Tokens of some cells: every gene is one token, nothing is padding.

        ``gene_ids_nt`` and ``pad_nt`` are read-only views that repeat one row.
        """
        bins_ng = self.bins(counts_ng)
        shape = bins_ng.shape
        return TokenBatch(
            gene_ids_nt=np.broadcast_to(np.arange(shape[1], dtype=np.int64), shape),
            value_ids_nt=bins_ng,
            pad_nt=np.broadcast_to(np.zeros(1, dtype=np.bool_), shape),
        )

    def state(self) -> dict[str, NDArray[Any]]:
        """Everything learned and set, as plain arrays."""
        return {
            "tokenizer": np.asarray(self.name),
            "num_bins": np.asarray(self.num_bins),
            "target_sum": np.asarray(self.target_sum, dtype=np.float64),
            "log1p": np.asarray(self.log1p),
            "zero_bin": np.asarray(self.zero_bin),
            "exact_values": np.asarray(self.exact_values),
            "relative_error": np.asarray(self.relative_error_),
            "n_cells": np.asarray(self.n_cells_),
            "edges": np.concatenate([*self.edges_, np.empty(0)]),
            "n_edges_g": np.array([e.size for e in self.edges_], dtype=np.int64),
        }

    @classmethod
    def from_state(cls, state: dict[str, NDArray[Any]]) -> Self:
        """The tokenizer that :meth:`state` described.

        Raises
        ------
        RunError
            If an array is missing or belongs to another tokenizer.
        """
        found = str(state.get("tokenizer", "nothing"))
        if found != cls.name:
            raise RunError(f"the saved tokenizer is {found!r}, expected {cls.name!r}")
        try:
            out = cls(
                num_bins=int(state["num_bins"]),
                target_sum=float(state["target_sum"]),
                log1p=bool(state["log1p"]),
                zero_bin=bool(state["zero_bin"]),
                exact_values=int(state["exact_values"]),
            )
            at = np.cumsum(state["n_edges_g"])[:-1]
            edges = [np.asarray(e, dtype=np.float64) for e in np.split(state["edges"], at)]
            out._set(
                edges, n_cells=int(state["n_cells"]), relative_error=float(state["relative_error"])
            )
        except KeyError as error:
            raise RunError(f"the saved tokenizer lacks {error.args[0]!r}") from None
        return out

    def _set(
        self, edges: list[NDArray[np.float64]], *, n_cells: int, relative_error: float
    ) -> None:
        self.edges_ = edges
        self.n_cells_ = n_cells
        self.relative_error_ = relative_error
        used = np.array([max(1, e.size - 1) for e in edges], dtype=np.int64)
        self.n_bins_g: NDArray[np.int64] = used + int(self.zero_bin)
        # Values outside go to the end bins, so the outer edges decide nothing.
        inner = [e[1:-1] for e in edges]
        self._inner = np.concatenate([*inner, np.empty(0)])
        self._inner_at = np.concatenate([[0], np.cumsum([e.size for e in inner])]).astype(np.int64)


@numba.njit(cache=True, nogil=True)
def _place(
    indptr: NDArray[np.int32],
    indices: NDArray[np.int32],
    values: NDArray[np.float32],
    inner: NDArray[np.float64],
    inner_at: NDArray[np.int64],
    first: np.uint8,
    bins_ng: NDArray[np.uint8],
) -> None:
    """Write the bin of each stored value: ``first`` plus the inner edges at or below it."""
    for n in range(indptr.size - 1):
        for j in range(indptr[n], indptr[n + 1]):
            value = np.float64(values[j])
            if value <= 0.0:
                continue
            gene = indices[j]
            start = inner_at[gene]
            low = start
            high = inner_at[gene + 1]
            while low < high:
                middle = (low + high) >> 1
                if inner[middle] <= value:
                    low = middle + 1
                else:
                    high = middle
            bins_ng[n, gene] = first + np.uint8(low - start)
