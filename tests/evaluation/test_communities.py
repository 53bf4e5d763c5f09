"""Partitions: planted groups found, the resolution honoured by both methods, seeds kept local."""

from __future__ import annotations

import random

import igraph
import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import adjusted_rand_score

from cellwright.errors import SettingsError
from cellwright.evaluation.communities import Communities
from cellwright.evaluation.neighbors import neighbor_graph

METHODS = pytest.mark.parametrize("method", ["leiden", "louvain"])


def blobs(groups: int = 4, n: int = 240, spread: float = 6.0, seed: int = 0):
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % groups
    x = spread * rng.normal(size=(groups, 8))[truth] + rng.normal(size=(n, 8))
    return neighbor_graph(x, metric="euclidean"), truth


@METHODS
def test_planted_groups_are_found(method) -> None:
    graph, truth = blobs()
    assert adjusted_rand_score(truth, Communities(graph, method).at(0.2)) == 1.0


@METHODS
def test_a_higher_resolution_gives_more_clusters(method) -> None:
    graph, _ = blobs(1, 400)
    communities = Communities(graph, method)
    counts = [int(communities.at(r).max()) + 1 for r in (0.1, 0.5, 1.0, 2.0, 5.0)]
    assert counts == sorted(counts)
    assert counts[-1] >= 3 * counts[0]


@METHODS
def test_the_partition_maximises_modularity_at_its_resolution(method) -> None:
    """Modularity written out, against the planted groups and against moving any cell."""
    graph, truth = blobs(5, 100, 3.0)
    found = Communities(graph, method).at(0.7)
    best = modularity(graph, found, 0.7)
    assert best >= modularity(graph, truth, 0.7) - 1e-12
    for cell in range(0, 100, 7):
        for cluster in range(found.max() + 1):
            moved = found.copy()
            moved[cell] = cluster
            assert modularity(graph, moved, 0.7) <= best + 1e-9


@METHODS
def test_the_same_seed_gives_the_same_clusters_and_touches_no_other_generator(method) -> None:
    graph, _ = blobs(1, 300)
    random.seed(7)
    before = random.getstate()
    first = Communities(graph, method, seed=3).at(1.0)
    assert random.getstate() == before
    assert np.array_equal(first, Communities(graph, method, seed=3).at(1.0))
    igraph.Graph.Erdos_Renyi(n=20, m=30)
    assert random.getstate() != before


def test_clusters_are_numbered_from_the_largest() -> None:
    graph, _ = blobs()
    sizes = np.bincount(Communities(graph).at(2.0))
    assert list(sizes) == sorted(sizes, reverse=True)


@METHODS
@pytest.mark.parametrize("wanted", [2, 3, 7])
def test_a_number_of_clusters_is_met(method, wanted: int) -> None:
    graph, _ = blobs(1, 400)
    communities = Communities(graph, method)
    resolution, reached = communities.with_clusters(wanted, 0.8)
    assert reached
    assert communities.at(resolution).max() + 1 == wanted


def test_what_cannot_be_met_is_said_and_the_nearest_taken() -> None:
    """Four groups without an edge between them cannot be two clusters."""
    graph, _ = blobs(4, 80, 50.0)
    resolution, reached = Communities(graph).with_clusters(2, 0.8)
    assert not reached
    assert Communities(graph).at(resolution).max() + 1 == 4


def test_bad_settings_are_named() -> None:
    graph, _ = blobs()
    with pytest.raises(SettingsError, match="'kmeans'"):
        Communities(graph, "kmeans")
    with pytest.raises(SettingsError, match=r"resolution is -0\.1"):
        Communities(graph).at(-0.1)


def modularity(graph: sparse.csr_matrix, cluster: np.ndarray, resolution: float) -> float:
    degree = np.asarray(graph.sum(axis=1)).ravel()
    together = cluster[:, None] == cluster[None, :]
    expected = resolution * np.outer(degree, degree) / degree.sum()
    return float(((graph.toarray() - expected) * together).sum() / degree.sum())
