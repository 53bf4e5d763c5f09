from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA

from cellwright.errors import DataError
from cellwright.evaluation.neighbors import knn_accuracy, neighbor_graph
from cellwright.workflows.projections import METHODS, lay_out, narrowed, project


def groups(n: int = 90, d: int = 8, seed: int = 0):
    """Three groups of cells far apart, and which is which."""
    rng = np.random.default_rng(seed)
    kind_n = np.arange(n) % 3
    return (rng.normal(size=(n, d)) + 8 * np.eye(3, d)[kind_n]).astype(np.float32), kind_n


def test_pca_equals_scikit_learn():
    vectors, _ = groups()
    drawn = project(vectors, "pca")
    theirs = PCA(2, svd_solver="full").fit_transform(vectors.astype(np.float64))
    np.testing.assert_allclose(np.abs(drawn.xy_m2), np.abs(theirs), atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_groups_that_are_apart_stay_apart(method):
    vectors, kind_n = groups()
    drawn = project(vectors, method)
    assert drawn.xy_m2.shape == (90, 2) and np.isfinite(drawn.xy_m2).all()
    assert knn_accuracy(drawn.xy_m2, kind_n.astype(str), 5).value == 1.0


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_picture(method):
    vectors, _ = groups(40)
    np.testing.assert_array_equal(project(vectors, method).xy_m2, project(vectors, method).xy_m2)


def test_umap_keeps_the_neighbours_of_a_circle():
    # Planted truth: the 15 nearest of 300 cells on a circle; a random picture keeps 5 %.
    angle_n = np.linspace(0, 2 * np.pi, 300, endpoint=False)
    circle = np.column_stack([np.cos(angle_n), np.sin(angle_n)])
    xy_n2 = lay_out(neighbor_graph(circle, metric="euclidean"), circle, min_dist=0.3, seed=1)
    apart_nn = np.abs(np.arange(300)[:, None] - np.arange(300)[None])
    true_nn = np.minimum(apart_nn, 300 - apart_nn) <= 7
    distance_nn = ((xy_n2[:, None] - xy_n2[None]) ** 2).sum(axis=2)
    near = np.argsort(distance_nn, axis=1)[:, :15]
    assert np.take_along_axis(true_nn, near, axis=1).mean() > 0.7


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(4, 1), (5, 2), (6, 200), (50, 30)])
def test_tiny_cells_are_drawn_without_a_warning(method, shape):
    vectors = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    drawn = project(vectors, method)
    assert np.isfinite(drawn.xy_m2).all()
    if method == "tsne":
        assert f"perplexity {max(1.0, (shape[0] - 1) / 3):.3g} instead of 30" in drawn.note
    if method == "umap" and shape[0] < 15:
        assert f"{shape[0] - 1} neighbours instead of 15" in drawn.note


@pytest.mark.parametrize("method", METHODS)
def test_equal_cells_are_drawn(method):
    assert np.isfinite(project(np.ones((20, 3), np.float32), method).xy_m2).all()


def test_too_few_cells():
    with pytest.raises(DataError, match="got 3"):
        project(np.ones((3, 2), np.float32), "umap")


def test_many_cells_are_thinned_and_it_is_said():
    vectors, _ = groups(120)
    drawn = project(vectors, "tsne", most_cells=60)
    assert len(drawn.rows_m) == 60 == len(np.unique(drawn.rows_m))
    assert "60 of 120 cells drawn" in drawn.note
    assert len(project(vectors, "pca", most_cells=60).rows_m) == 120


def test_wide_vectors_keep_their_distances_in_fifty_components():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(80, 600)) * np.r_[np.ones(20), np.full(580, 1e-6)]
    few = narrowed(vectors)
    assert few.shape == (80, 50)
    ours = np.linalg.norm(few[:, None] - few[None], axis=2)
    true = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    np.testing.assert_allclose(ours, true, rtol=1e-4, atol=1e-6)
