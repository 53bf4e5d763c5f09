"""What a file of cells says of a gene without any model: level, detection, and its pattern."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD

from cellwright.representations.expression import log_normalized

COMPONENTS = 50


def level_of(
    counts_ng: sp.csr_matrix, column_g: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Detection (share of cells, 0 to 1) and nonzero median of counts per 10,000, both (g,).

    Parameters
    ----------
    column_g
        Column of each gene, -1 for one that the cells lack: NaN.

    Returns
    -------
    The median is NaN where no cell has the gene.
    """
    total_n = np.asarray(counts_ng.sum(axis=1), dtype=np.float64).ravel()
    known = np.flatnonzero(column_g >= 0)
    own = sp.csc_matrix(counts_ng[:, column_g[known]], dtype=np.float64)
    detection_g, median_g = (np.full(len(column_g), np.nan) for _ in range(2))
    for i, gene in enumerate(known):
        here = slice(own.indptr[i], own.indptr[i + 1])
        values = own.data[here] / total_n[own.indices[here]] * 1e4
        detection_g[gene] = len(values) / counts_ng.shape[0]
        if len(values):
            median_g[gene] = np.median(values)
    return detection_g, median_g


def expression_features(
    counts_ng: sp.csr_matrix, column_g: NDArray[np.int64], *, seed: int = 0
) -> NDArray[np.float64]:
    """Plain expression features of genes, (g, up to 53).

    Mean log-normalized count, share of cells, deviation over cells, and the first components of
    the genes × cells table of log-normalized counts, every gene's row at length 1, over all genes
    of the file: which cells have the gene, whatever its level. No label is looked at.
    """
    logs_gn = sp.csr_matrix(log_normalized(counts_ng).T, dtype=np.float64)
    n = logs_gn.shape[1]
    mean_g = np.asarray(logs_gn.mean(axis=1)).ravel()
    square_g = np.asarray(logs_gn.multiply(logs_gn).sum(axis=1)).ravel()
    share_g = np.diff(logs_gn.indptr) / n
    length_g = np.sqrt(square_g)
    scale_g = np.divide(1.0, length_g, out=np.zeros_like(length_g), where=length_g > 0)
    unit_gn = sp.diags_array(scale_g) @ logs_gn
    parts = [mean_g, share_g, np.sqrt(np.maximum(square_g / n - mean_g**2, 0))]
    components = min(COMPONENTS, n - 1, unit_gn.shape[0] - 1)
    if components >= 1:
        svd = TruncatedSVD(components, random_state=seed)
        parts += list(svd.fit_transform(sp.csr_matrix(unit_gn)).T)
    return np.column_stack(parts)[column_g]
