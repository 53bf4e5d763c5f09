"""Which cells and genes a crop keeps: cells from strata of depth, genes by detection and spread."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CELL_STREAM, _GENE_STREAM = 0, 1


def sample_cells(
    genes_per_n: NDArray[np.int64], cells: int, *, strata: int, seed: int
) -> NDArray[np.int64]:
    """Positions of sampled cells: equally many from each quantile stratum of detected genes.

    What a stratum cannot give is drawn from all that is left of the others.

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
    edges = np.quantile(genes_per_n, np.arange(1, strata) / strata)
    stratum_n = np.searchsorted(edges, genes_per_n, side="left")
    quota = np.full(strata, cells // strata)
    quota[: cells % strata] += 1
    taken = []
    for stratum in range(strata):
        members = np.flatnonzero(stratum_n == stratum)
        taken.append(rng.permutation(members)[: quota[stratum]])
    chosen = np.concatenate(taken)
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
    most detected.

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
    weight = detected_g[candidates] ** alpha * std_g[candidates] ** beta
    able = np.flatnonzero(weight > 0)
    if able.size <= genes:
        # Constant genes have no weight: those found in most cells make up the number.
        chosen = candidates[able]
        rest = by_detection[np.isin(by_detection, candidates[weight <= 0])]
        return np.sort(np.concatenate([chosen, rest[: genes - chosen.size]]))
    share = weight[able] / weight[able].sum()
    return np.sort(candidates[rng.choice(able, genes, replace=False, p=share)])
