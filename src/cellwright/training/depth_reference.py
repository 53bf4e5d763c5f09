"""What knowing a cell's depth alone predicts: bin frequencies of training cells of like depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellwright.training.masked_counts import Positions, TrainingBins

# In standard deviations of the number of visible nonzero genes.
_BANDWIDTHS = (0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0, 2.0)
# How many masked training positions the unigram counts for.
_PRIORS = (0.3, 1.0, 3.0, 10.0)
_LEVELS = 128
_TABLE_VALUES = 1 << 20
_FAINT = 1e-12


@dataclass(frozen=True)
class DepthReference:
    """The masked unigram, kernel-weighted by the number of visible nonzero genes.

    ``bandwidth`` is in visible nonzero genes; ``prior`` says how many masked positions of
    training cells the unigram weighs. Both are those of the lowest leave-one-out loss on
    training cells.
    """

    bandwidth: float
    prior: float
    nll_m: NDArray[np.float64]


def depth_reference(
    train: TrainingBins,
    tune_rows: NDArray[np.int64],
    tune_prior_ng: NDArray[np.float64],
    test: Positions,
    test_visible_n: NDArray[np.int64],
    frequencies_gk: NDArray[np.float64],
) -> DepthReference:
    """Predict masked bins of test cells from training cells with as many visible nonzero genes.

    Training cells are gathered in at most 128 levels of equal size, so the cost does not grow
    with cells × cells; a cell's own depth is used as it is.

    Parameters
    ----------
    train
        Training cells.
    tune_rows
        Those on which the bandwidth is chosen, each left out of its own prediction.
    tune_prior_ng
        Probability of the true bin of each gene of these cells from the unigram without them.
    test, test_visible_n
        Masked positions, and the visible nonzero genes of each test cell.
    frequencies_gk
        The unigram under the masking rule.
    """
    depth_n = train.visible_n.astype(np.float64)
    spread = float(depth_n.std()) or 1.0
    levels_n, centres_l = _levels(depth_n)
    n_values = frequencies_gk.shape[1]

    losses = np.zeros((len(_BANDWIDTHS), len(_PRIORS)))
    kernels = [_kernel(depth_n[tune_rows], centres_l, b * spread) for b in _BANDWIDTHS]
    own = levels_n[tune_rows]
    tune = train.take(tune_rows)
    for genes in _gene_slices(train.n_genes, centres_l.size * n_values):
        table = _table(train, levels_n, centres_l.size, n_values, genes)
        total_lg = table.reshape(centres_l.size, -1, n_values).sum(axis=2)
        weight_ng = tune.weights(slice(None), genes)
        bins_ng = tune.bins_ng[:, genes].astype(np.int64)
        prior_ng = tune_prior_ng[:, genes]
        for i, kernel_nl in enumerate(kernels):
            itself = kernel_nl[np.arange(own.size), own][:, None] * weight_ng
            counts_ngk = (kernel_nl @ table).reshape(own.size, -1, n_values)
            hit = np.take_along_axis(counts_ngk, bins_ng[:, :, None], axis=2)[:, :, 0] - itself
            total = kernel_nl @ total_lg - itself
            for j, prior in enumerate(_PRIORS):
                p = _mixed(np.maximum(hit, 0), np.maximum(total, 0), prior, prior_ng)
                losses[i, j] -= (weight_ng * np.log(np.maximum(p, _FAINT))).sum()
    i, j = divmod(int(losses.argmin()), len(_PRIORS))
    bandwidth, prior = _BANDWIDTHS[i] * spread, _PRIORS[j]

    nll_m = np.empty(test.rows_m.size)
    kernel_nl = _kernel(test_visible_n.astype(np.float64), centres_l, bandwidth)
    for genes in _gene_slices(train.n_genes, centres_l.size * n_values):
        table = _table(train, levels_n, centres_l.size, n_values, genes)
        total_lg = table.reshape(centres_l.size, -1, n_values).sum(axis=2)
        low, high, _ = genes.indices(train.n_genes)
        mine = np.flatnonzero((test.genes_m >= low) & (test.genes_m < high))
        step = max(1, _TABLE_VALUES // table.shape[1])
        for start in range(0, kernel_nl.shape[0], step):
            some = mine[(test.rows_m[mine] >= start) & (test.rows_m[mine] < start + step)]
            counts_ngk = (kernel_nl[start : start + step] @ table).reshape(-1, high - low, n_values)
            row, gene, value = test.rows_m[some] - start, test.genes_m[some], test.bins_m[some]
            hit = counts_ngk[row, gene - low, value]
            total = (kernel_nl[start : start + step] @ total_lg)[row, gene - low]
            nll_m[some] = -np.log(_mixed(hit, total, prior, frequencies_gk[gene, value]))
    return DepthReference(bandwidth=float(bandwidth), prior=prior, nll_m=nll_m)


def _mixed(
    hit: NDArray[np.floating],
    total: NDArray[np.floating],
    prior: float,
    prior_p: NDArray[np.float64],
) -> NDArray[np.float64]:
    return (hit + prior * prior_p) / (total + prior)


def _levels(depth_n: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The level of each cell, and the mean depth of each level."""
    edges = np.unique(np.quantile(depth_n, np.linspace(0, 1, _LEVELS + 1)))
    raw = np.searchsorted(edges[1:-1], depth_n, side="right")
    _, levels_n = np.unique(raw, return_inverse=True)
    return levels_n, np.bincount(levels_n, depth_n) / np.bincount(levels_n)


def _kernel(
    depth_n: NDArray[np.float64], centres_l: NDArray[np.float64], bandwidth: float
) -> NDArray[np.float32]:
    """Gaussian weights; the nearest level of each cell weighs 1, however far it is."""
    squared = ((depth_n[:, None] - centres_l) / bandwidth) ** 2
    squared -= squared.min(axis=1, keepdims=True)
    return np.exp(-0.5 * squared).astype(np.float32)


def _table(
    train: TrainingBins, levels_n: NDArray[np.int64], n_levels: int, n_values: int, genes: slice
) -> NDArray[np.float32]:
    counts = train.bin_counts(
        n_values, weighted=True, levels_n=levels_n, n_levels=n_levels, genes=genes
    )
    return counts.reshape(n_levels, -1).astype(np.float32)


def _gene_slices(genes: int, values_per_gene: int) -> list[slice]:
    step = max(1, _TABLE_VALUES // values_per_gene)
    return [slice(start, min(start + step, genes)) for start in range(0, genes, step)]
