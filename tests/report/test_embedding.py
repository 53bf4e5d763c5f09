"""Maps show every cell once, in the colour of its label, with a number beside them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from cellwright.errors import SettingsError
from cellwright.report.embedding import cluster_maps, embedding_map, in_order, knn_words
from cellwright.report.palette import COLOURS, NO_LABEL


def points(ax) -> dict[str, int]:
    found: dict[str, int] = {}
    for drawn in ax.collections:
        colour = to_hex(drawn.get_facecolor()[0]).upper()
        found[colour] = found.get(colour, 0) + len(drawn.get_offsets())
    return found


def test_every_cell_is_drawn_once_in_its_colour() -> None:
    rng = np.random.default_rng(0)
    labels = np.array(["b"] * 120 + ["a"] * 80 + [None] * 7 + [""] * 3, dtype=object)
    ax = embedding_map(rng.normal(size=(210, 2)), labels, label="type")
    assert points(ax) == {COLOURS[0]: 80, COLOURS[1]: 120, NO_LABEL.upper(): 10}
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["a  80", "b  120", "no label  10"]


def test_a_given_order_fixes_the_colours() -> None:
    xy = np.zeros((3, 2))
    assert points(embedding_map(xy, ["c", "c", "c"], order=["a", "b", "c"])) == {COLOURS[2]: 3}


def test_no_class_lies_on_top_of_all_others() -> None:
    labels = np.repeat(["a", "b"], 200)
    ax = embedding_map(np.random.default_rng(1).normal(size=(400, 2)), labels)
    drawn = [to_hex(c.get_facecolor()[0]).upper() for c in ax.collections]
    assert drawn[0] == drawn[2] == COLOURS[0]
    assert drawn[1] == drawn[-1] == COLOURS[1]


def test_cells_without_coordinates_are_left_out() -> None:
    ax = embedding_map([[0, 0], [np.nan, 1], [np.inf, 2]], ["a", "a", "a"])
    assert sum(points(ax).values()) == 1


def test_the_number_stands_beside_the_picture() -> None:
    ax = embedding_map(np.zeros((2, 2)), ["a", "b"], knn={"value": 0.8712, "chance": 0.5})
    assert [t.get_text() for t in ax.texts] == [
        "2 cells; kNN accuracy in this picture 0.871 (chance 0.500)"
    ]
    assert knn_words({"value": float("nan")}, 1200) == "1,200 cells"
    assert knn_words(None, 3) == "3 cells"


def test_numbers_in_names_sort_by_value() -> None:
    assert in_order(np.array(["L10", "L9", "10", "9"])) == ["9", "10", "L9", "L10"]


def test_labels_and_points_must_match() -> None:
    with pytest.raises(SettingsError, match=r"shape \(3, 2\) and 2 labels"):
        embedding_map(np.zeros((3, 2)), ["a", "b"])
    with pytest.raises(SettingsError, match=r"shape \(2, 3\)"):
        embedding_map(np.zeros((2, 3)), ["a", "b"])


def test_clusters_and_labels_side_by_side() -> None:
    table = pd.DataFrame({"x": [0, 1, 2], "y": 0, "cluster": [0, 1, 10], "label": ["a", "a", "b"]})
    by_cluster, by_label = cluster_maps(table, rep="pca", label="type")
    assert len(points(by_cluster)) == 3
    assert len(points(by_label)) == 2
    assert by_cluster.get_title(loc="left") == "UMAP of pca, by cluster"
    assert by_label.get_title(loc="left") == "UMAP of pca, by type"
