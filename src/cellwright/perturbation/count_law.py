"""Counts of a gene whose expression is scaled: drawn so that they keep the law of counts.

A gene's counts in cells of one type are taken as negative binomial: Poisson about a rate that is
Gamma-distributed with mean μ and shape θ. Down by a factor f, each molecule is kept with
probability f: NB(μ, θ) becomes NB(fμ, θ) exactly. Up by f, more molecules must come from the cell's
own rate: λ is drawn from its posterior given the count x, Gamma(θ + x, θ/μ + 1), and
Poisson((f - 1)λ) is added, which again gives NB(fμ, θ). Adding Poisson((f - 1)x) instead would
double the variance of a gene, and a classifier would find that artefact.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

# Beyond this shape a negative binomial is a Poisson to four digits.
_POISSON_SHAPE = 1e6
_LEAST_SHAPE = 1e-3


def mean_and_shape(
    counts_ng: sp.csr_matrix, totals_n: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of a cell's counts and shape θ of each gene, by moments, among cells of one type.

    Parameters
    ----------
    counts_ng
        Counts of the genes in question, CSR.
    totals_n
        Library size of each cell, counts of all genes.

    Returns
    -------
    share_g, shape_g: the mean of gene g in cell n is ``totals_n[n] * share_g[g]``, and
    ``shape_g`` solves Σ (x - μ)² = Σ (μ + μ²/θ), with Σ over the cells; a gene that varies no more
    than Poisson counts do has a million.
    """
    x_ng = sp.csr_matrix(counts_ng, dtype=np.float64)
    share_g = np.asarray(x_ng.sum(axis=0)).ravel() / max(float(totals_n.sum()), 1.0)
    square_g = share_g**2 * float((totals_n**2).sum())
    crossed_g = share_g * np.asarray(x_ng.T @ totals_n).ravel()
    own_g = np.asarray(x_ng.multiply(x_ng).sum(axis=0)).ravel()
    excess_g = own_g - 2 * crossed_g + square_g - share_g * float(totals_n.sum())
    with np.errstate(divide="ignore", invalid="ignore"):
        shape_g = np.where(excess_g > 0, square_g / excess_g, _POISSON_SHAPE)
    return share_g, np.clip(shape_g, _LEAST_SHAPE, _POISSON_SHAPE)


def scaled_down(
    counts: NDArray[np.integer], fold: NDArray[np.floating] | float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Counts of which each molecule is kept with probability ``fold``, 0 to 1 (binomial thinning)."""
    return rng.binomial(np.asarray(counts, dtype=np.int64), fold)


def scaled_up(
    counts_ng: NDArray[np.integer],
    mean_ng: NDArray[np.floating],
    shape_g: NDArray[np.floating],
    fold: NDArray[np.floating] | float,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """Counts with molecules added from each cell's own rate; the mean becomes ``fold`` times it.

    Parameters
    ----------
    mean_ng
        Expected count of the gene in that cell, library size included.
    shape_g
        Shape θ of the genes (or one value per column).
    fold
        1 or more.
    """
    counts_ng = np.asarray(counts_ng, dtype=np.int64)
    shape_ng = np.broadcast_to(np.asarray(shape_g, dtype=np.float64), counts_ng.shape)
    possible = mean_ng > 0  # a gene that no cell of the type has stays silent
    rate_ng = np.where(possible, mean_ng, 1.0)
    drawn = rng.gamma(shape_ng + counts_ng, 1.0 / (shape_ng / rate_ng + 1.0))
    more: NDArray[np.int64] = rng.poisson(np.where(possible, (np.asarray(fold) - 1.0) * drawn, 0.0))
    return counts_ng + more
