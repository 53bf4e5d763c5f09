"""Clusters of one representation, found without labels, beside the labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.evaluation.communities import Communities, Method
from cellwright.evaluation.contingency import ari, contingency, information
from cellwright.evaluation.majority import MajorityVote, cluster_table, majority_vote
from cellwright.evaluation.neighbors import label_codes, neighbor_graph
from cellwright.evaluation.vectors import checked_vectors

GRID = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0)


@dataclass(frozen=True)
class Agreement:
    """One clustering beside the labels, over the cells that have a label.

    Higher is better in all four. ``reached`` is False where the wanted number of clusters was not
    found and this is the nearest.
    """

    resolution: float
    n_clusters: int
    ari: float
    nmi: float
    homogeneity: float
    completeness: float
    reached: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The fields as a plain mapping."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Clustering:
    """All of one representation's clustering.

    cluster_n: cluster of every cell at the given resolution, 0 the largest (cells without a
    label are clustered too, and left out of the agreement). matched_cluster_n: the same at the
    resolution that gives as many clusters as there are labels. label_codes_n: -1 without a label.
    """

    rep: str
    classes: tuple[str, ...]
    label_codes_n: NDArray[np.int64]
    cluster_n: NDArray[np.int64]
    matched_cluster_n: NDArray[np.int64]
    given: Agreement
    matched: Agreement
    grid: tuple[Agreement, ...]
    majority: MajorityVote
    matched_majority: MajorityVote
    clusters: tuple[dict[str, Any], ...]
    matched_clusters: tuple[dict[str, Any], ...]
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The mapping that ``metrics.json`` keeps per representation."""
        return {
            "given": self.given.to_dict(),
            "matched": self.matched.to_dict(),
            "grid": [found.to_dict() for found in self.grid],
            "majority": self.majority.to_dict(),
            "matched_majority": self.matched_majority.to_dict(),
            "clusters": [dict(row) for row in self.clusters],
            "matched_clusters": [dict(row) for row in self.matched_clusters],
            "settings": dict(self.settings),
        }


def cluster_agreement(
    vectors_nd: NDArray[np.floating],
    labels_n: NDArray[Any],
    *,
    neighbors: int = 15,
    metric: str = "cosine",
    resolution: float = 0.8,
    method: Method = "leiden",
    seed: int = 42,
    zscore: bool = True,
    grid: Sequence[float] = GRID,
    shuffles: int = 200,
    name: str = "the representation",
) -> Clustering:
    """Cluster the vectors and set the clusters beside the labels.

    Vectors are z-scored per dimension (constant dimensions become 0), joined to a fuzzy graph of
    nearest neighbours and divided at the given resolution, at the one with as many clusters as
    labels, and over a grid. Defaults are those of the preset neurons-2025.

    Parameters
    ----------
    labels_n
        Label of every cell; NaN, None or empty: no label.
    neighbors
        Neighbours of a cell, itself included.
    shuffles
        Permutations of the labels for the majority vote's value by luck.

    Raises
    ------
    DataError
        If vectors are not finite, or labels and vectors differ in length, or the labels are of
        one class.
    SettingsError
        For an unknown metric or method, or a resolution that is not above 0.
    """
    codes_n, classes = label_codes(labels_n)
    return cluster_codes(
        vectors_nd,
        codes_n,
        classes,
        neighbors=neighbors,
        metric=metric,
        resolution=resolution,
        method=method,
        seed=seed,
        zscore=zscore,
        grid=grid,
        shuffles=shuffles,
        name=name,
    )


def cluster_codes(
    vectors_nd: NDArray[np.floating],
    codes_n: NDArray[np.int64],
    classes: tuple[str, ...],
    *,
    neighbors: int,
    metric: str,
    resolution: float,
    method: Method,
    seed: int,
    zscore: bool,
    grid: Sequence[float],
    shuffles: int,
    name: str,
) -> Clustering:
    """``cluster_agreement`` for labels given as codes (-1: none) into ``classes``."""
    vectors = checked_vectors(vectors_nd, name=name, n_cells=len(codes_n))
    used = np.unique(codes_n[codes_n >= 0])
    if len(used) < 2:
        given = f"only {classes[int(used[0])]!r}" if len(used) else "no label"
        raise DataError(
            f"the labels of {len(codes_n)} cells hold {given}; clusters are compared with at least 2"
        )
    if zscore:
        vectors = zscored(vectors)
    graph = neighbor_graph(vectors, neighbors=neighbors, metric=metric, name=name)
    communities = Communities(graph, method, seed)
    at, reached = communities.with_clusters(len(used), resolution)
    cluster_n, matched_n = communities.at(resolution), communities.at(at)
    return Clustering(
        rep=name,
        classes=classes,
        label_codes_n=codes_n,
        cluster_n=cluster_n,
        matched_cluster_n=matched_n,
        given=_agreement(codes_n, cluster_n, resolution),
        matched=_agreement(codes_n, matched_n, at, reached),
        grid=tuple(_agreement(codes_n, communities.at(r), r) for r in grid),
        majority=majority_vote(codes_n, cluster_n, classes, shuffles=shuffles, seed=seed),
        matched_majority=majority_vote(codes_n, matched_n, classes, shuffles=shuffles, seed=seed),
        clusters=cluster_table(codes_n, cluster_n, classes),
        matched_clusters=cluster_table(codes_n, matched_n, classes),
        settings={
            "neighbors": min(neighbors, len(vectors)),
            "metric": metric,
            "resolution": resolution,
            "method": method,
            "seed": seed,
            "zscore": zscore,
        },
    )


def zscored(vectors_nd: NDArray[np.floating]) -> NDArray[np.float64]:
    """Each dimension at mean 0 and standard deviation 1; a constant one at 0."""
    x = np.asarray(vectors_nd, dtype=np.float64)
    x = x - x.mean(axis=0)
    scale_d = x.std(axis=0)
    eps = float(np.finfo(vectors_nd.dtype).eps)
    # What is left of a constant dimension is rounding, not a signal to be blown up.
    constant = scale_d <= 10 * eps * np.abs(vectors_nd).max(axis=0)
    return np.where(constant, 0.0, x / np.where(constant, 1.0, scale_d))


def _agreement(
    codes_n: NDArray[np.int64],
    cluster_n: NDArray[np.int64],
    resolution: float,
    reached: bool = True,
) -> Agreement:
    labelled = codes_n >= 0
    n_clusters = int(cluster_n.max()) + 1
    table_kc = contingency(
        codes_n[labelled], cluster_n[labelled], int(codes_n.max()) + 1, n_clusters
    )
    shared = {name: float(value) for name, value in information(table_kc).items()}
    return Agreement(
        resolution=float(resolution),
        n_clusters=n_clusters,
        ari=float(ari(table_kc)),
        **shared,
        reached=reached,
    )


def reordered(found: Clustering, back_n: NDArray[np.int64]) -> Clustering:
    """The same clustering with its cells in another order."""
    return replace(
        found,
        label_codes_n=found.label_codes_n[back_n],
        cluster_n=found.cluster_n[back_n],
        matched_cluster_n=found.matched_cluster_n[back_n],
        majority=replace(found.majority, predicted_n=found.majority.predicted_n[back_n]),
        matched_majority=replace(
            found.matched_majority, predicted_n=found.matched_majority.predicted_n[back_n]
        ),
    )
