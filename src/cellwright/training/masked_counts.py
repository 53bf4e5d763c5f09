"""Training cells as the references see them: bins, and how likely the rule masks each of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellwright.tokens.masking import MaskRule, mask, masking_probability_of_kinds

_BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class Positions:
    """Masked (cell, gene) positions and the bins that stood there.

    rows_m: cell, in ascending order; genes_m: gene; bins_m: true bin.
    """

    rows_m: NDArray[np.int64]
    genes_m: NDArray[np.int64]
    bins_m: NDArray[np.int64]

    @classmethod
    def of(cls, bins_ng: NDArray[np.uint8], mask_ng: NDArray[np.bool_]) -> Positions:
        """The masked positions of some cells."""
        rows_m, genes_m = np.nonzero(mask_ng)
        return cls(rows_m, genes_m, bins_ng[rows_m, genes_m].astype(np.int64))


@dataclass(frozen=True)
class TrainingBins:
    """Bins of training cells with the probability that the mask rule picks each position.

    bins_ng, nonzero_ng: (n, g); if_nonzero_n, if_zero_n: probability that a nonzero, a zero gene
    of the cell is masked; visible_n: nonzero genes that stay visible, the same for every mask
    that the rule draws for the cell.
    """

    bins_ng: NDArray[np.uint8]
    nonzero_ng: NDArray[np.bool_]
    if_nonzero_n: NDArray[np.float64]
    if_zero_n: NDArray[np.float64]
    visible_n: NDArray[np.int64]

    @classmethod
    def of(
        cls, bins_ng: NDArray[np.uint8], nonzero_ng: NDArray[np.bool_], rule: MaskRule
    ) -> TrainingBins:
        """Bins and the probabilities that ``rule`` gives them."""
        genes = bins_ng.shape[1]
        present_n = np.count_nonzero(nonzero_ng, axis=1).astype(np.int64)
        if_nonzero_n, if_zero_n = masking_probability_of_kinds(rule, present_n, genes)
        of_nonzero, _ = rule.n_masked_of_kinds(present_n, genes)
        return cls(bins_ng, nonzero_ng, if_nonzero_n, if_zero_n, present_n - of_nonzero)

    @property
    def n_cells(self) -> int:
        return int(self.bins_ng.shape[0])

    @property
    def n_genes(self) -> int:
        return int(self.bins_ng.shape[1])

    def take(self, rows: NDArray[np.int64]) -> TrainingBins:
        """Some of the cells."""
        return TrainingBins(
            self.bins_ng[rows],
            self.nonzero_ng[rows],
            self.if_nonzero_n[rows],
            self.if_zero_n[rows],
            self.visible_n[rows],
        )

    def weights(self, rows: slice, genes: slice = slice(None)) -> NDArray[np.float64]:
        """The probability that each position of some cells and genes is masked."""
        return np.where(
            self.nonzero_ng[rows, genes],
            self.if_nonzero_n[rows, None],
            self.if_zero_n[rows, None],
        )

    def blocks(self) -> Iterator[slice]:
        """Cells in blocks of bounded size."""
        step = max(1, _BLOCK_VALUES // self.n_genes)
        for start in range(0, self.n_cells, step):
            yield slice(start, min(start + step, self.n_cells))

    def bin_counts(
        self,
        n_values: int,
        *,
        weighted: bool,
        levels_n: NDArray[np.int64] | None = None,
        n_levels: int = 1,
        genes: slice = slice(None),
    ) -> NDArray[np.float64]:
        """How often each gene has each bin, by level of the cell, (levels, g, values).

        weighted: count a cell by its probability of masking that position, else by 1.
        """
        g = len(range(*genes.indices(self.n_genes)))
        out = np.zeros(n_levels * g * n_values)
        gene_at = np.arange(g, dtype=np.int64) * n_values
        for rows in self.blocks():
            place = self.bins_ng[rows, genes] + gene_at
            if levels_n is not None:
                place += (levels_n[rows] * (g * n_values))[:, None]
            weights = self.weights(rows, genes).ravel() if weighted else None
            out += np.bincount(place.ravel(), weights, minlength=out.size)
        return out.reshape(n_levels, g, n_values)

    def masks(self, rule: MaskRule, seed: int) -> NDArray[np.bool_]:
        """One mask of the rule per cell, keyed by the cell's place."""
        keys = np.arange(self.n_cells, dtype=np.uint64)
        return mask(rule, self.nonzero_ng, keys, 0, seed)
