"""Nearest neighbours: a fuzzy graph for clustering, and how well a 2-D picture keeps labels apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from sklearn.neighbors import NearestNeighbors

from cellwright.errors import DataError, SettingsError
from cellwright.evaluation.intervals import wilson
from cellwright.evaluation.vectors import checked_vectors

LEAST_WIDTH = 1e-3  # of a kernel, as a share of the mean distance (as in umap-learn)
BISECTIONS = 64
METRICS = ("cosine", "euclidean", "manhattan")


@dataclass(frozen=True)
class NeighborAccuracy:
    """Leave-one-out accuracy of a k-nearest-neighbour vote, and what the largest class would score.

    value, low, high: share of cells whose own label wins, with its Wilson interval over cells;
    n: labelled cells; k: neighbours asked.
    """

    value: float
    low: float
    high: float
    chance: float
    n: int
    k: int

    def to_dict(self) -> dict[str, Any]:
        """The fields as a plain mapping."""
        return dict(self.__dict__)


def knn_accuracy(
    xy_nd: NDArray[np.floating],
    labels_n: NDArray[Any],
    k: int = 15,
    *,
    name: str = "the coordinates",
) -> NeighborAccuracy:
    """How often the k nearest other cells of a picture vote for a cell's own label.

    Higher is better; a tie goes to the label that is nearer. Cells without a label (NaN, None or
    empty) neither vote nor are counted. It says how far the picture keeps the labels apart, not
    how far the vectors behind it do.

    Raises
    ------
    DataError
        If coordinates are not finite or fewer than two cells have a label.
    SettingsError
        If ``k`` is below 1.
    """
    if k < 1:
        raise SettingsError(f"k is {k}; at least 1 neighbour is needed")
    codes_n, classes = label_codes(labels_n)
    rows = np.flatnonzero(codes_n >= 0)
    if len(rows) < 2:
        raise DataError(f"{len(rows)} of {len(codes_n)} cells of {name} have a label; 2 are needed")
    xy = checked_vectors(xy_nd, name=name, n_cells=len(codes_n), rows=rows)[rows]
    code_m = codes_n[rows]
    k = min(k, len(rows) - 1)
    # Asked without points, scikit-learn leaves each cell out of its own neighbours.
    near_mk = NearestNeighbors(n_neighbors=k).fit(xy).kneighbors(return_distance=False)
    # A vote counts one, and a crumb more the nearer it is: the crumbs decide ties only.
    weight_k = 1 + np.arange(k, 0, -1) / (10 * k * k)
    cell = np.arange(len(rows))[:, None] * len(classes) + code_m[near_mk]
    weights = np.broadcast_to(weight_k, cell.shape).ravel()
    votes = np.bincount(cell.ravel(), weights, minlength=len(rows) * len(classes))
    right = votes.reshape(len(rows), -1).argmax(axis=1) == code_m
    value = float(right.mean())
    low, high = wilson(value, len(rows))
    chance = float(np.bincount(code_m).max() / len(rows))
    return NeighborAccuracy(value, low, high, chance, len(rows), k)


def neighbor_graph(
    vectors_nd: NDArray[np.floating],
    *,
    neighbors: int = 15,
    metric: str = "cosine",
    name: str = "the representation",
) -> sparse.csr_matrix:
    """UMAP's fuzzy k-nearest-neighbour graph as a symmetric CSR matrix (n, n), weights in (0, 1].

    ``neighbors`` counts the cell itself, as scanpy does. Neighbours are exact. Each cell's
    distances are turned into weights exp(-(d - nearest) / width) whose sum is log2(neighbors), and
    the two directions a, b of an edge become a + b - ab (McInnes et al. 2018; same numbers as
    ``scanpy.pp.neighbors``).

    Raises
    ------
    DataError
        If vectors are not finite or there are fewer than three cells.
    SettingsError
        For an unknown metric or fewer than two neighbours.
    """
    if metric not in METRICS:
        raise SettingsError(f"unknown metric {metric!r}; known: {', '.join(METRICS)}")
    if neighbors < 2:
        raise SettingsError(f"neighbors is {neighbors}; it counts the cell itself, so at least 2")
    vectors = checked_vectors(vectors_nd, name=name)
    n = len(vectors)
    if n < 3:
        raise DataError(f"{name} has vectors of {n} cells, too few for a neighbour graph")
    k = min(neighbors, n) - 1
    distance_nk, near_nk = _nearest(vectors, k, metric)
    weight_nk = _weights(distance_nk, np.log2(k + 1))
    rows = np.repeat(np.arange(n), k)
    one_way = sparse.csr_matrix((weight_nk.ravel(), (rows, near_nk.ravel())), shape=(n, n))
    other_way = one_way.T.tocsr()
    graph = (one_way + other_way - one_way.multiply(other_way)).tocsr()
    graph.eliminate_zeros()
    graph.sort_indices()
    return graph


def label_codes(labels_n: NDArray[Any]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Codes of the labels (-1: NaN, None or empty) and the sorted names."""
    labels = pd.Series(np.asarray(labels_n, dtype=object))
    missing = (labels.isna() | (labels.astype(str) == "")).to_numpy()
    names, codes = np.unique(
        labels.astype(str).to_numpy(dtype=np.str_)[~missing], return_inverse=True
    )
    codes_n = np.full(len(labels), -1, dtype=np.int64)
    codes_n[~missing] = codes
    return codes_n, tuple(str(name) for name in names)


def _nearest(
    vectors_nd: NDArray[np.floating], k: int, metric: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distances to and positions of the k nearest others, exact."""
    length_n = np.linalg.norm(vectors_nd, axis=1)
    if metric != "cosine" or not length_n.all():
        distance_nk, near_nk = (
            NearestNeighbors(n_neighbors=k, metric=metric).fit(vectors_nd).kneighbors()
        )
        return np.maximum(distance_nk, 0), near_nk
    # On the unit sphere the cosine distance is half the squared chord, which is much faster found.
    unit_nd = vectors_nd / length_n[:, None]
    chord_nk, near_nk = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(unit_nd).kneighbors()
    return chord_nk.astype(np.float64) ** 2 / 2, near_nk


def _weights(distance_nk: NDArray[np.float64], target: float) -> NDArray[np.float64]:
    """Kernel weights per cell: the nearest at another place gets 1, the sum is ``target``."""
    apart = np.where(distance_nk > 0, distance_nk, np.inf)
    nearest_n = apart.min(axis=1)
    nearest_n = np.where(np.isfinite(nearest_n), nearest_n, 0.0)
    beyond_nk = np.maximum(distance_nk - nearest_n[:, None], 0)
    low, high = np.zeros(len(distance_nk)), np.full(len(distance_nk), np.inf)
    width = np.ones(len(distance_nk))
    for _ in range(BISECTIONS):
        total = np.exp(-beyond_nk / width[:, None]).sum(axis=1)
        wide = total > target
        high = np.where(wide, width, high)
        low = np.where(wide, low, width)
        width = np.where(np.isinf(high), width * 2, (low + high) / 2)
    # umap-learn's means count the cell itself at distance 0.
    shrink = distance_nk.shape[1] / (distance_nk.shape[1] + 1)
    own_mean_n = distance_nk.mean(axis=1) * shrink
    least_n = LEAST_WIDTH * np.where(nearest_n > 0, own_mean_n, distance_nk.mean() * shrink)
    width = np.maximum(width, least_n)
    return np.exp(-beyond_nk / np.where(width > 0, width, 1.0)[:, None])
