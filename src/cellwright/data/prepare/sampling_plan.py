"""Which cells and genes a crop keeps: cells from strata of depth, genes by detection and spread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

_CELL_STREAM, _GENE_STREAM = 0, 1


def sample_cells(
    genes_per_n: NDArray[np.int64], cells: int, *, strata: int, seed: int
) -> NDArray[np.int64]:
    """Positions of sampled cells: equally many from each quantile stratum of detected genes.

    What a stratum cannot give is drawn from all that is left of the others. There are never more
    strata than cells to draw: the shallow ones would get them all.

    Parameters
    ----------
    genes_per_n
        (n,) nonzero genes of each cell.
    cells
        How many; all if there are no more.

    Returns
    -------
    Sorted positions.
    """
    n = genes_per_n.size
    if cells >= n:
        return np.arange(n)
    rng = np.random.default_rng([seed, _CELL_STREAM])
    strata = min(strata, cells)
    edges = np.quantile(genes_per_n, np.arange(1, strata) / strata)
    stratum_n = np.searchsorted(edges, genes_per_n, side="left")
    quota = np.full(strata, cells // strata)
    quota[: cells % strata] += 1
    members = np.split(
        np.argsort(stratum_n, kind="stable"),
        np.cumsum(np.bincount(stratum_n, minlength=strata))[:-1],
    )
    chosen = np.concatenate(
        [rng.permutation(those)[:n] for those, n in zip(members, quota.tolist(), strict=True)]
    )
    if chosen.size < cells:
        left = np.setdiff1d(np.arange(n), chosen)
        chosen = np.concatenate([chosen, rng.permutation(left)[: cells - chosen.size]])
    return np.sort(chosen)


def sample_genes(
    detected_g: NDArray[np.float64],
    std_g: NDArray[np.float64],
    genes: int,
    *,
    min_detected: float,
    alpha: float,
    beta: float,
    seed: int,
) -> NDArray[np.int64]:
    """Positions of genes drawn without replacement, with weight detected^alpha · std^beta.

    Drawn from the genes at or above ``min_detected``; where these are too few, from the ``genes``
    most detected. Genes without weight, or whose spread is no finite number, are taken only when
    all others are.

    Parameters
    ----------
    detected_g, std_g
        (g,) share of the cells in which a gene is found, in [0, 1]; standard deviation over them.
    genes
        How many; all if there are no more.

    Returns
    -------
    Sorted positions.
    """
    g = detected_g.size
    if genes >= g:
        return np.arange(g)
    rng = np.random.default_rng([seed, _GENE_STREAM])
    candidates = np.flatnonzero(detected_g >= min_detected)
    by_detection = np.argsort(-detected_g, kind="stable")
    if candidates.size < genes:
        candidates = np.sort(by_detection[:genes])
    # Logarithms, as steep powers leave the range of numbers.
    weight = xlogy(alpha, detected_g[candidates]) + xlogy(beta, std_g[candidates])
    able = np.isfinite(weight)
    if able.sum() <= genes:
        # Constant genes have no weight: those found in most cells make up the number.
        chosen = candidates[able]
        rest = by_detection[np.isin(by_detection, candidates[~able])]
        return np.sort(np.concatenate([chosen, rest[: genes - chosen.size]]))
    # The largest of log weight + Gumbel noise are a draw in which each next gene is taken with a
    # probability in proportion to its weight (Yellott 1977, J Math Psychol 15:109).
    key = weight[able] + rng.gumbel(size=int(able.sum()))
    return np.sort(candidates[able][np.argsort(-key, kind="stable")[:genes]])
