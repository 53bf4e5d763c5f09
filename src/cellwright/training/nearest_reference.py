"""What the nearest training cells predict for the masked genes of a cell."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from cellwright.tokens.masking import MaskRule
from cellwright.training.masked_counts import Positions, TrainingBins

_NEIGHBORS = (5, 10, 20, 40, 80, 160, 320)
# How many masked training positions the unigram counts for.
_PRIORS = (0.3, 1.0, 3.0, 10.0, 30.0)
_SIMILARITY_VALUES = 1 << 23
_FAINT = 1e-12


@dataclass(frozen=True)
class NearestReference:
    """Bin frequencies of the nearest training cells, mixed with the masked unigram.

    ``neighbors`` and ``prior`` (how many masked positions the unigram weighs) are those of the
    lowest loss on masked training cells that were not their own neighbours. ``n_train`` says
    among how many training cells the nearest were looked for.
    """

    neighbors: int
    prior: float
    n_train: int
    nll_m: NDArray[np.float64]


def nearest_reference(
    train: TrainingBins,
    tune_rows: NDArray[np.int64],
    tune_prior_ng: NDArray[np.float64],
    test_bins_ng: NDArray[np.uint8],
    test_mask_ng: NDArray[np.bool_],
    test: Positions,
    frequencies_gk: NDArray[np.float64],
    n_bins_g: NDArray[np.int64],
    rule: MaskRule,
    seed: int,
) -> NearestReference:
    """Predict masked bins of test cells from the training cells most alike on the visible genes.

    Alike is the cosine, over the visible genes, of bins scaled to 0..1 and centred on the gene's
    training mean. Of the neighbours' bins each counts by its probability of being masked.

    Parameters
    ----------
    train
        Training cells, already as few as wanted.
    tune_rows
        Those on which neighbours and prior are chosen, masked once under ``rule`` and ``seed``.
    tune_prior_ng
        Probability of the true bin of each gene of these cells from the unigram without them.
    test_bins_ng, test_mask_ng, test
        Test cells, their masks and masked positions.
    frequencies_gk
        The unigram under the masking rule.
    n_bins_g
        Bins in use of each gene.
    """
    scale_g = (1.0 / np.maximum(n_bins_g - 1, 1)).astype(np.float32)
    vectors_ng = train.bins_ng * scale_g
    mean_g = vectors_ng.mean(axis=0)
    vectors_ng -= mean_g
    squares_ng = vectors_ng**2
    sizes = [k for k in _NEIGHBORS if k < train.n_cells] or [max(1, train.n_cells - 1)]

    tune = train.take(tune_rows)
    tune_mask_ng = tune.masks(rule, seed)
    tune_at = Positions.of(tune.bins_ng, tune_mask_ng)
    near = _nearest(
        tune.bins_ng * scale_g - mean_g, tune_mask_ng, vectors_ng, squares_ng, sizes[-1], tune_rows
    )
    prior_p = tune_prior_ng[tune_at.rows_m, tune_at.genes_m]
    losses = np.zeros((len(sizes), len(_PRIORS)))
    hit_sm, total_sm = _counts(train, near, tune_at, sizes)
    for i in range(len(sizes)):
        for j, prior in enumerate(_PRIORS):
            p = (hit_sm[i] + prior * prior_p) / (total_sm[i] + prior)
            losses[i, j] = -np.log(np.maximum(p, _FAINT)).mean()
    i, j = divmod(int(losses.argmin()), len(_PRIORS))
    size, prior = sizes[i], _PRIORS[j]

    near = _nearest(
        test_bins_ng * scale_g - mean_g, test_mask_ng, vectors_ng, squares_ng, size, None
    )
    (hit_m,), (total_m,) = _counts(train, near, test, [size])
    p = (hit_m + prior * frequencies_gk[test.genes_m, test.bins_m]) / (total_m + prior)
    return NearestReference(size, prior, train.n_cells, -np.log(p))


def _nearest(
    queries_ng: NDArray[np.float32],
    mask_ng: NDArray[np.bool_],
    vectors_ng: NDArray[np.float32],
    squares_ng: NDArray[np.float32],
    size: int,
    own_n: NDArray[np.int64] | None,
) -> NDArray[np.int64]:
    """The ``size`` training cells most alike on the visible genes, nearest first, (n, size)."""
    out = np.empty((queries_ng.shape[0], size), dtype=np.int64)
    step = max(1, min(_SIMILARITY_VALUES // vectors_ng.shape[0], 1024))
    for start in range(0, queries_ng.shape[0], step):
        some = slice(start, start + step)
        visible = ~mask_ng[some]
        product = (queries_ng[some] * visible) @ vectors_ng.T
        length = visible.astype(np.float32) @ squares_ng.T
        alike = product / np.sqrt(np.maximum(length, _FAINT))
        if own_n is not None:
            alike[np.arange(alike.shape[0]), own_n[some]] = -np.inf
        best = np.argpartition(-alike, size - 1, axis=1)[:, :size]
        order = np.argsort(-np.take_along_axis(alike, best, axis=1), axis=1, kind="stable")
        out[some] = np.take_along_axis(best, order, axis=1)
    return out


def _counts(
    train: TrainingBins, near_ns: NDArray[np.int64], at: Positions, sizes: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight of the neighbours with the true bin, and of all, (sizes, positions)."""
    hit_sm = np.empty((len(sizes), at.rows_m.size))
    total_sm = np.empty_like(hit_sm)
    _count(
        train.bins_ng,
        train.nonzero_ng,
        train.if_nonzero_n,
        train.if_zero_n,
        near_ns,
        at.rows_m,
        at.genes_m,
        at.bins_m,
        np.array(sizes),
        hit_sm,
        total_sm,
    )
    return hit_sm, total_sm


@numba.njit(cache=True, nogil=True)
def _count(
    bins_ng: NDArray[np.uint8],
    nonzero_ng: NDArray[np.bool_],
    if_nonzero_n: NDArray[np.float64],
    if_zero_n: NDArray[np.float64],
    near_ns: NDArray[np.int64],
    rows_m: NDArray[np.int64],
    genes_m: NDArray[np.int64],
    bins_m: NDArray[np.int64],
    sizes_s: NDArray[np.int64],
    hit_sm: NDArray[np.float64],
    total_sm: NDArray[np.float64],
) -> None:
    for m in range(rows_m.size):
        gene = genes_m[m]
        hit = 0.0
        total = 0.0
        done = 0
        for s in range(sizes_s.size):
            for k in range(done, sizes_s[s]):
                cell = near_ns[rows_m[m], k]
                weight = if_nonzero_n[cell] if nonzero_ng[cell, gene] else if_zero_n[cell]
                total += weight
                if bins_ng[cell, gene] == bins_m[m]:
                    hit += weight
            done = sizes_s[s]
            hit_sm[s, m] = hit
            total_sm[s, m] = total
