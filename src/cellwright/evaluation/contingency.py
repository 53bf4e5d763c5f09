"""Agreement of clusters with labels, from weighted tables of both, vectorised over resamples.

All are higher when better, at most 1. ARI is 0 on average for random clusters; the three
information measures are above 0 for random clusters, the more so the more clusters there are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def contingency(
    label_m: NDArray[np.int64], cluster_m: NDArray[np.int64], n_labels: int, n_clusters: int
) -> NDArray[np.int64]:
    """Cells per label (rows) and cluster (columns), (k, c)."""
    cell = label_m * n_clusters + cluster_m
    return np.bincount(cell, minlength=n_labels * n_clusters).reshape(n_labels, n_clusters)


def ari(table_kc: NDArray[Any], squares_kc: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """Adjusted Rand index of (…, k, c) tables (Hubert & Arabie 1985).

    ``squares_kc`` holds the sums of squared weights, so that the copies of one cell in a resample
    are no pair: copies always agree with themselves and would lift every resample above the data.
    """
    table = np.asarray(table_kc, dtype=np.float64)
    squares = table if squares_kc is None else squares_kc

    def pairs(total: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
        return (total**2 - own) / 2

    both = pairs(table, squares).sum(axis=(-2, -1))
    by_label = pairs(table.sum(axis=-1), squares.sum(axis=-1)).sum(axis=-1)
    by_cluster = pairs(table.sum(axis=-2), squares.sum(axis=-2)).sum(axis=-1)
    everything = pairs(table.sum(axis=(-2, -1)), squares.sum(axis=(-2, -1)))
    expected = _ratio(by_label * by_cluster, everything, 0.0)
    # No room above chance: both are one group, or both are all singletons.
    return _ratio(both - expected, (by_label + by_cluster) / 2 - expected, 1.0)


def information(table_kc: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """``nmi``, ``homogeneity`` and ``completeness`` of (…, k, c) tables.

    With mutual information I and entropies H: I / mean(H), I / H(labels) (clusters hold one label
    each) and I / H(clusters) (a label lies in one cluster); 1 where the entropy is 0 (Rosenberg &
    Hirschberg 2007).
    """
    table = np.asarray(table_kc, dtype=np.float64)
    share = table / table.sum(axis=(-2, -1), keepdims=True)
    h_label = _entropy(share.sum(axis=-1), (-1,))
    h_cluster = _entropy(share.sum(axis=-2), (-1,))
    shared = h_label + h_cluster - _entropy(share, (-2, -1))
    # Rounding must not keep a perfect agreement from being exactly 1, or an empty one from 0.
    most = np.minimum(h_label, h_cluster)
    shared = np.where(shared > most - 1e-12, most, np.where(shared < 1e-12, 0.0, shared))
    return {
        "nmi": _ratio(shared, (h_label + h_cluster) / 2, 1.0),
        "homogeneity": _ratio(shared, h_label, 1.0),
        "completeness": _ratio(shared, h_cluster, 1.0),
    }


def _entropy(share: NDArray[np.float64], axes: tuple[int, ...]) -> NDArray[np.float64]:
    logs = np.log(share, out=np.zeros_like(share), where=share > 0)
    return -(share * logs).sum(axis=axes)


def _ratio(
    part: NDArray[np.float64], whole: NDArray[np.float64], otherwise: float
) -> NDArray[np.float64]:
    whole = np.asarray(whole)
    out = np.full(whole.shape, otherwise)
    return np.divide(part, whole, out=out, where=np.abs(whole) > 1e-12)
