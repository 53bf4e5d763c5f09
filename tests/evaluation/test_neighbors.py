"""The neighbour graph against scanpy, and the accuracy of a vote in two dimensions."""

from __future__ import annotations

import numpy as np
import pytest
from anndata import AnnData
from sklearn.model_selection import LeaveOneOut, cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from cellwright.errors import DataError, SettingsError
from cellwright.evaluation.intervals import wilson
from cellwright.evaluation.neighbors import knn_accuracy, label_codes, neighbor_graph


@pytest.mark.filterwarnings("ignore:Tensorflow not installed")
@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("neighbors", [5, 15])
def test_the_graph_is_scanpys(metric: str, neighbors: int) -> None:
    import scanpy as sc

    x = np.random.default_rng(0).normal(size=(180, 12)).astype(np.float32)
    cells = AnnData(x)
    sc.pp.neighbors(cells, n_neighbors=neighbors, use_rep="X", metric=metric)
    graph = neighbor_graph(x, neighbors=neighbors, metric=metric)
    expected = cells.obsp["connectivities"].toarray()
    assert graph.toarray() == pytest.approx(expected, abs=2e-4)


def test_the_graph_is_symmetric_and_has_no_loops() -> None:
    graph = neighbor_graph(np.random.default_rng(1).normal(size=(60, 4)), metric="euclidean")
    assert abs(graph - graph.T).max() < 1e-12
    assert graph.diagonal().max() == 0
    assert 0 < graph.data.min() <= graph.data.max() <= 1


def test_copies_and_tiny_data_have_a_graph() -> None:
    assert np.isfinite(neighbor_graph(np.ones((20, 3))).data).all()
    assert neighbor_graph(np.eye(3), neighbors=15).nnz > 0


@pytest.mark.parametrize("k", [1, 4, 15])
def test_the_vote_equals_scikit_learn_where_there_are_no_ties(k: int) -> None:
    rng = np.random.default_rng(2)
    labels = rng.integers(2, size=150)
    xy = rng.normal(size=(150, 2)) + labels[:, None]
    k = k if k % 2 else k + 1
    model = KNeighborsClassifier(n_neighbors=k)
    expected = (cross_val_predict(model, xy, labels, cv=LeaveOneOut()) == labels).mean()
    found = knn_accuracy(xy, labels.astype(str), k)
    assert found.value == pytest.approx(expected)
    assert (found.low, found.high) == wilson(expected, 150)
    assert found.chance == pytest.approx(np.bincount(labels).max() / 150)
    assert found.to_dict()["k"] == k


def test_ties_go_to_the_nearer_label() -> None:
    """Every cell has one neighbour of its own label close by and one of the other farther off."""
    xy = np.array([[0.0, 0], [0.1, 0], [1, 0], [1.1, 0], [2.05, 0], [2.15, 0]])
    labels = np.array(list("aabbaa"))
    assert knn_accuracy(xy, labels, k=2).value == 1.0


def test_cells_without_a_label_do_not_vote() -> None:
    xy = np.array([[0.0, 0], [0.01, 0], [1, 0], [1.01, 0], [0.005, 0], [np.nan, 0]])
    labels = np.array(["a", "a", "b", "b", None, ""], dtype=object)
    found = knn_accuracy(xy, labels, k=1)
    assert (found.value, found.n) == (1.0, 4)


def test_missing_labels_have_no_code() -> None:
    codes, names = label_codes(np.array(["b", np.nan, "a", None, "", "b"], dtype=object))
    assert codes.tolist() == [1, -1, 0, -1, -1, 1]
    assert names == ("a", "b")


def test_bad_input_is_named() -> None:
    x = np.random.default_rng(0).normal(size=(30, 3))
    with pytest.raises(SettingsError, match="'hamming'"):
        neighbor_graph(x, metric="hamming")
    with pytest.raises(SettingsError, match="neighbors is 1"):
        neighbor_graph(x, neighbors=1)
    with pytest.raises(DataError, match="run 7 has vectors of 2 cells"):
        neighbor_graph(x[:2], name="run 7")
    x[4, 1] = np.inf
    with pytest.raises(DataError, match=r"vectors of run 7 .* in 1 of 30 cells .* row 4"):
        neighbor_graph(x, name="run 7")
    with pytest.raises(SettingsError, match="k is 0"):
        knn_accuracy(x[:, :2], np.full(30, "a"), 0)
    with pytest.raises(DataError, match="0 of 30 cells of UMAP have a label"):
        knn_accuracy(x[:, :2], np.full(30, ""), name="UMAP")
