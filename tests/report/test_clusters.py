"""Bars are as long as the clusters are large, and filled as far as they are pure."""

from __future__ import annotations

import numpy as np
import pytest

from cellwright.errors import DataError
from cellwright.report.canvas import rendered
from cellwright.report.clusters import cluster_sizes, resolution_curve

ROWS = [
    {"cluster": 0, "n": 100, "majority_label": "exc", "purity": 0.9},
    {"cluster": 1, "n": 40, "majority_label": "inh", "purity": 0.5},
    {"cluster": 2, "n": 10, "majority_label": None, "purity": None},
]
GRID = [
    {"resolution": r, "n_clusters": k, "ari": a, "nmi": a / 2, "homogeneity": a, "completeness": 1}
    for r, k, a in ((1.0, 7, 0.4), (0.1, 1, 0.0), (0.5, 3, np.nan))
]


def test_bars_are_sizes_and_fillings_purities() -> None:
    ax = cluster_sizes(ROWS)
    whole, filled = ax.containers
    assert [bar.get_width() for bar in whole] == [100, 40, 10]
    assert np.allclose([bar.get_width() for bar in filled], [90, 20, 0], atol=1e-12)
    assert [t.get_text() for t in ax.texts][:2] == ["100: 90% exc", "40: 50% inh"]


def test_many_clusters_can_be_drawn() -> None:
    rows = [
        {"cluster": i, "n": 300 - i, "majority_label": f"t{i % 40}", "purity": 1}
        for i in range(200)
    ]
    rendered(cluster_sizes(rows), "png", dpi=40)


def test_agreement_is_drawn_in_order_of_the_resolution() -> None:
    ax = resolution_curve(GRID, given=0.5, matched=0.1)
    ari = ax.get_lines()[0]
    assert ari.get_xdata().tolist() == [0.1, 0.5, 1.0]
    assert np.array_equal(ari.get_ydata(), [0.0, np.nan, 0.4], equal_nan=True)
    words = [t.get_text() for t in ax.get_legend().get_texts()]
    assert words[-2:] == ["as given: 0.5", "as many clusters as labels: 0.1"]
    (upper,) = ax.child_axes
    assert [t.get_text() for t in upper.get_xticklabels()] == ["1", "3", "7"]


@pytest.mark.parametrize(
    ("draw", "rows", "said"),
    [
        (cluster_sizes, [], "0 rows with the columns none"),
        (cluster_sizes, [{"cluster": 1}], "columns cluster, needed cluster, n"),
        (resolution_curve, [{"resolution": 1}], "columns resolution, needed resolution, ari"),
    ],
)
def test_what_cannot_be_drawn_says_why(draw, rows, said: str) -> None:
    with pytest.raises(DataError, match=said):
        draw(rows)
