"""What no network needs to know: predictions of masked bins that a model has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.tokens.masking import MaskRule
from cellwright.training.depth_reference import depth_reference
from cellwright.training.masked_counts import Positions, TrainingBins
from cellwright.training.nearest_reference import nearest_reference

_SMOOTHING = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
_MAX_TUNE_VALUES = 1 << 21
_MAX_NEAREST_VALUES = 1 << 26
# exp(-20) is 2e-9: as good as never, yet finite in every number type.
_UNUSED = -20.0


@dataclass(frozen=True)
class References:
    """Perplexity and accuracy of simple predictions on the masked positions of test cells.

    Attributes
    ----------
    perplexity
        exp of the mean negative log likelihood over all masked positions, lower is better:
        ``uniform`` over the gene's bins in use; ``unigram``, the gene's bin frequencies;
        ``unigram_masked``, these with each training cell weighted by its probability of masking
        that position; ``unigram_depth``, these among training cells with like numbers of visible
        nonzero genes; ``nearest_cells``, those of the nearest training cells on the visible
        genes, mixed with ``unigram_masked``.
    best
        Name of the lowest: the line a model is judged by.
    accuracy
        Share of masked positions whose bin is the gene's most frequent one under the masking
        rule, higher is better: ``majority``, and the same where the true bin is the lowest
        (``majority_zero``) or above (``majority_nonzero``), left out where there are none.
    nll_n
        Mean negative log likelihood of each test cell under each reference, in nats; NaN for a
        cell without masked positions.
    log_bin_frequencies_gk
        (g, values) float32, log of the smoothed bin frequencies under the masking rule; -20 for
        ids that a gene does not use.
    chosen
        What was chosen on training cells: ``smoothing``, ``smoothing_masked``,
        ``depth_bandwidth`` (in visible nonzero genes), ``depth_prior``, ``nearest_neighbors``,
        ``nearest_prior``.
    n_train, n_train_nearest, n_tune, n_test, n_masked
        Training cells; those among which the nearest were looked for; those on which settings
        were chosen; test cells; masked positions.
    """

    perplexity: dict[str, float]
    best: str
    accuracy: dict[str, float]
    nll_n: dict[str, NDArray[np.float64]]
    log_bin_frequencies_gk: NDArray[np.float32]
    chosen: dict[str, float]
    n_train: int
    n_train_nearest: int
    n_tune: int
    n_test: int
    n_masked: int


def references(
    train_bins_ng: NDArray[np.uint8],
    train_nonzero_ng: NDArray[np.bool_],
    test_bins_ng: NDArray[np.uint8],
    test_nonzero_ng: NDArray[np.bool_],
    test_mask_ng: NDArray[np.bool_],
    rule: MaskRule,
    n_bins_g: NDArray[np.int64],
    seed: int = 0,
    *,
    n_values: int | None = None,
    max_train: int = 20_000,
    max_tune: int = 500,
) -> References:
    """Predict the masked bins of test cells without a network, from training cells alone.

    Everything that has a setting chooses it on training cells, each cell left out of its own
    prediction; test cells are only scored.

    Parameters
    ----------
    train_bins_ng, train_nonzero_ng
        Bins of the training cells, and where they are nonzero in the sense of ``rule``.
    test_bins_ng, test_nonzero_ng, test_mask_ng
        The same of the cells that are scored, and their masks.
    rule
        The rule that drew the masks.
    n_bins_g
        Bins in use of each gene, as the tokenizer has them.
    seed
        For drawing cells and the masks of training cells.
    n_values
        Number of value ids; default the most bins of a gene.
    max_train
        Training cells among which the nearest are looked for, at most; fewer where cells × genes
        would exceed 2**26. The other references use all.
    max_tune
        Training cells on which settings are chosen, at most; fewer where cells × genes would
        exceed 2**21.

    Raises
    ------
    DataError
        If there are no training cells, nothing is masked, shapes differ, or a bin is not in use.
    """
    _check(train_bins_ng, train_nonzero_ng, test_bins_ng, test_nonzero_ng, test_mask_ng, n_bins_g)
    n_values = int(n_bins_g.max()) if n_values is None else n_values
    genes = train_bins_ng.shape[1]
    rng = np.random.default_rng(seed)
    train = TrainingBins.of(train_bins_ng, train_nonzero_ng, rule)
    test = Positions.of(test_bins_ng, test_mask_ng)
    few = min(max_train, max(1, _MAX_NEAREST_VALUES // genes))
    near = _draw(rng, train.n_cells, few)
    # Cells on which settings are chosen are among those that the nearest are looked for in.
    tune_of_near = _draw(rng, near.size, min(max_tune, max(1, _MAX_TUNE_VALUES // genes)))
    tune_rows = near[tune_of_near]
    tune = train.take(tune_rows)

    plain_gk = train.bin_counts(n_values, weighted=False)[0]
    masked_gk = train.bin_counts(n_values, weighted=True)[0]
    smoothing = _smoothing(plain_gk, n_bins_g)
    smoothing_masked, tune_prior_ng = _smoothing_masked(masked_gk, tune, n_bins_g)
    frequencies_gk = _frequencies(masked_gk, smoothing_masked, n_bins_g)
    at = (test.genes_m, test.bins_m)
    depth = depth_reference(
        train,
        tune_rows,
        tune_prior_ng,
        test,
        np.count_nonzero(test_nonzero_ng & ~test_mask_ng, axis=1),
        frequencies_gk,
    )
    nearest = nearest_reference(
        train if near.size == train.n_cells else train.take(near),
        tune_of_near,
        tune_prior_ng,
        test_bins_ng,
        test_mask_ng,
        test,
        frequencies_gk,
        n_bins_g,
        rule,
        seed,
    )
    nll = {
        "uniform": np.log(n_bins_g[test.genes_m]),
        "unigram": -np.log(_frequencies(plain_gk, smoothing, n_bins_g)[at]),
        "unigram_masked": -np.log(frequencies_gk[at]),
        "unigram_depth": depth.nll_m,
        "nearest_cells": nearest.nll_m,
    }
    perplexity = {name: float(np.exp(nll_m.mean())) for name, nll_m in nll.items()}
    return References(
        perplexity=perplexity,
        best=min(perplexity, key=lambda name: perplexity[name]),
        accuracy=_accuracy(frequencies_gk, test),
        nll_n={name: _per_cell(nll_m, test, test_bins_ng.shape[0]) for name, nll_m in nll.items()},
        log_bin_frequencies_gk=_log(frequencies_gk),
        chosen={
            "smoothing": smoothing,
            "smoothing_masked": smoothing_masked,
            "depth_bandwidth": depth.bandwidth,
            "depth_prior": depth.prior,
            "nearest_neighbors": nearest.neighbors,
            "nearest_prior": nearest.prior,
        },
        n_train=train.n_cells,
        n_train_nearest=nearest.n_train,
        n_tune=int(tune_rows.size),
        n_test=int(test_bins_ng.shape[0]),
        n_masked=int(test.rows_m.size),
    )


def _smoothing(counts_gk: NDArray[np.float64], n_bins_g: NDArray[np.int64]) -> float:
    """The additive smoothing of the lowest leave-one-out loss over all training cells.

    A cell left out takes 1 from its bin, so the counts alone hold the loss.
    """
    hit = np.maximum(counts_gk - 1, 0)
    total = np.maximum(counts_gk.sum(axis=1, keepdims=True) - 1, 0)
    bins = n_bins_g[:, None]
    losses = [-(counts_gk * np.log((hit + s) / (total + s * bins))).sum() for s in _SMOOTHING]
    return _SMOOTHING[int(np.argmin(losses))]


def _smoothing_masked(
    counts_gk: NDArray[np.float64], tune: TrainingBins, n_bins_g: NDArray[np.int64]
) -> tuple[float, NDArray[np.float64]]:
    """The same for counts weighted by the rule, and the probabilities it gives each position.

    A position's loss counts by its probability of being masked, as it does on test cells.
    """
    weight_ng = tune.weights(slice(None))
    genes = np.arange(tune.n_genes)
    hit = np.maximum(counts_gk[genes, tune.bins_ng] - weight_ng, 0.0)
    total = np.maximum(counts_gk.sum(axis=1) - weight_ng, 0.0)
    losses, given = [], []
    for smoothing in _SMOOTHING:
        given.append((hit + smoothing) / (total + smoothing * n_bins_g))
        losses.append(-float((weight_ng * np.log(given[-1])).sum()))
    best = int(np.argmin(losses))
    return _SMOOTHING[best], given[best]


def _frequencies(
    counts_gk: NDArray[np.float64], smoothing: float, n_bins_g: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Smoothed frequencies over the bins in use; 0 for the others."""
    used_gk = np.arange(counts_gk.shape[1]) < n_bins_g[:, None]
    total_g = counts_gk.sum(axis=1) + smoothing * n_bins_g
    return np.where(used_gk, counts_gk + smoothing, 0.0) / total_g[:, None]


def _log(frequencies_gk: NDArray[np.float64]) -> NDArray[np.float32]:
    used = frequencies_gk > 0
    return np.where(used, np.log(np.where(used, frequencies_gk, 1.0)), _UNUSED).astype(np.float32)


def _accuracy(frequencies_gk: NDArray[np.float64], test: Positions) -> dict[str, float]:
    right = frequencies_gk.argmax(axis=1)[test.genes_m] == test.bins_m
    zero = test.bins_m == 0
    kinds = {"majority": right, "majority_zero": right[zero], "majority_nonzero": right[~zero]}
    return {name: float(found.mean()) for name, found in kinds.items() if found.size}


def _per_cell(nll_m: NDArray[np.float64], test: Positions, n: int) -> NDArray[np.float64]:
    counts = np.bincount(test.rows_m, minlength=n)
    sums = np.bincount(test.rows_m, nll_m, minlength=n)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _draw(rng: np.random.Generator, n: int, most: int) -> NDArray[np.int64]:
    return np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False))


def _check(
    train_bins: NDArray[np.uint8],
    train_nonzero: NDArray[np.bool_],
    test_bins: NDArray[np.uint8],
    test_nonzero: NDArray[np.bool_],
    test_mask: NDArray[np.bool_],
    n_bins_g: NDArray[np.int64],
) -> None:
    genes = n_bins_g.size
    for name, array, like in (
        ("train_bins_ng", train_bins, train_bins),
        ("train_nonzero_ng", train_nonzero, train_bins),
        ("test_bins_ng", test_bins, test_bins),
        ("test_nonzero_ng", test_nonzero, test_bins),
        ("test_mask_ng", test_mask, test_bins),
    ):
        if array.ndim != 2 or array.shape != (like.shape[0], genes):
            expected = (like.shape[0], genes)
            raise DataError(f"{name} has shape {array.shape}, expected {expected}")
    if train_bins.shape[0] == 0:
        raise DataError("the references need training cells, 0 were given")
    if not test_mask.any():
        raise DataError(
            f"not one position of the {test_bins.shape[0]} test cells is masked, "
            "so there is nothing to predict"
        )
    for name, bins in (("training", train_bins), ("test", test_bins)):
        most_g = bins.max(axis=0)
        if (most_g >= n_bins_g).any():
            gene = int(np.flatnonzero(most_g >= n_bins_g)[0])
            raise DataError(
                f"gene {gene} has bin {most_g[gene]} in a {name} cell, but only "
                f"{n_bins_g[gene]} bins are in use; encode with the tokenizer of the run"
            )
