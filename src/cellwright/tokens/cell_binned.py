"""Per-cell quantile bins: each value becomes its standing among the nonzero values of its cell."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Self

import numba
import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError, RunError, SettingsError
from cellwright.interfaces import RowBlock, TokenBatch
from cellwright.tokens.normalize import as_csr


class CellBinnedTokenizer:
    """Bins of each cell between quantiles of its own nonzero values; zero is bin 0.

    The quantiles of a cell's nonzero values at ``num_bins - 1`` equally spaced points from 0 to 1
    (``np.quantile``, linear) are its edges, and a nonzero value's bin is the number of edges at or
    below it, 1 to ``num_bins - 1``. Where edges coincide a value goes to the highest of the bins
    it touches (scGPT draws one of them at random; its ``side="one"`` is what is done here), so the
    same cell always has the same bins. A bin depends only on the order of the values, hence not
    on scaling or logarithm: none is done.

    Parameters
    ----------
    num_bins
        Bins with that of zero, 3 to 256; 51 as published.

    Attributes
    ----------
    n_bins_g : (g,) int64, bins in use per gene: ``num_bins`` for each
    n_cells_ : training cells; nothing else is learned

    Raises
    ------
    SettingsError
        If ``num_bins`` cannot work.

    References
    ----------
    Cui et al. (2024), scGPT, Nature Methods; ``scgpt/preprocess.py``.
    """

    name: ClassVar[str] = "cell-binned"
    zero_bin: ClassVar[bool] = True

    def __init__(self, num_bins: int = 51) -> None:
        if not 3 <= num_bins <= 256:
            raise SettingsError(f"num_bins is {num_bins}, expected 3 to 256")
        self.num_bins = num_bins

    @property
    def n_values(self) -> int:
        """How many value ids there can be."""
        return self.num_bins

    @property
    def n_genes(self) -> int:
        """Genes it was fitted on."""
        return int(self.n_bins_g.size)

    @property
    def rule(self) -> str:
        """The bin rule in words, to stand beside every perplexity."""
        return f"{self.num_bins} quantile bins per cell, zero apart"

    def fit(self, blocks: Iterable[RowBlock]) -> Self:
        """Take note of the number of genes; cells are binned each on its own.

        Raises
        ------
        DataError
            If there are no cells or no genes, or blocks differ in their genes.
        """
        genes: int | None = None
        cells = 0
        for block in blocks:
            counts = as_csr(block.counts_ng, genes=genes)
            genes = counts.shape[1]
            cells += counts.shape[0]
        if not cells or not genes:
            raise DataError(
                f"bins need training cells with genes, {cells} cells × {genes or 0} genes were given"
            )
        self._set(genes, cells)
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
        bins_ng = np.zeros(counts.shape, dtype=np.uint8)
        values = counts.data.astype(np.float64)
        at = np.linspace(0.0, 1.0, self.num_bins - 1)
        _place(counts.indptr, counts.indices, values, at, bins_ng)
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
            "n_genes": np.asarray(self.n_genes),
            "n_cells": np.asarray(self.n_cells_),
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
            out = cls(num_bins=int(state["num_bins"]))
            out._set(int(state["n_genes"]), int(state["n_cells"]))
        except KeyError as error:
            raise RunError(f"the saved tokenizer lacks {error.args[0]!r}") from None
        return out

    def _set(self, genes: int, cells: int) -> None:
        self.n_bins_g: NDArray[np.int64] = np.full(genes, self.num_bins, dtype=np.int64)
        self.n_cells_ = cells


@numba.njit(cache=True, nogil=True)
def _place(
    indptr: NDArray[np.int32],
    indices: NDArray[np.int32],
    values: NDArray[np.float64],
    at: NDArray[np.float64],
    bins_ng: NDArray[np.uint8],
) -> None:
    """Write the number of a cell's edges at or below each of its nonzero values."""
    edges = np.empty(at.size, dtype=np.float64)
    for n in range(indptr.size - 1):
        row = values[indptr[n] : indptr[n + 1]]
        ordered = np.sort(row[row > 0.0])
        if ordered.size == 0:
            continue
        for k in range(at.size):
            position = at[k] * (ordered.size - 1)
            below = int(np.floor(position))
            above = min(below + 1, ordered.size - 1)
            share = position - below
            # Between two values any point does; at a value the edge must be that value exactly.
            low, high = ordered[below], ordered[above]
            edges[k] = low if share == 0.0 else low + (high - low) * share
        for j in range(row.size):
            if row[j] > 0.0:
                bin_of = np.searchsorted(edges, row[j], side="right")
                bins_ng[n, indices[indptr[n] + j]] = np.uint8(bin_of)
