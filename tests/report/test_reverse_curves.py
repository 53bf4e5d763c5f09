"""Curves of seen and unseen perturbations: what is drawn is the mean over partitions."""

import numpy as np
import pandas as pd
import pytest

from cellwright.errors import DataError
from cellwright.report.reverse_curves import reverse_curves


@pytest.fixture
def curves() -> pd.DataFrame:
    rows = [
        {"method": m, "part": p, "epoch": e, "training_mrr": 0.9, "unseen_mrr": 0.1 * e + 0.2 * i}
        for m in ("mlp", "graph")
        for i, p in enumerate(("one", "two"))
        for e in range(1, 4 - i)
    ]
    return pd.DataFrame(rows)


def test_a_panel_for_each_network_with_means_over_partitions(curves: pd.DataFrame) -> None:
    axes = reverse_curves(curves, title="seen and unseen")
    assert [ax.get_title(loc="left") for ax in axes] == ["mlp", "graph"]
    unseen = max(axes[0].lines, key=lambda line: line.get_linewidth())
    # The second partition stopped after two epochs and keeps its last value.
    np.testing.assert_allclose(unseen.get_ydata(), [0.2, 0.3, 0.35])


def test_no_unseen_perturbations_is_one_sentence(curves: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="no curve of auprc"):
        reverse_curves(curves, "auprc", title="")


@pytest.mark.parametrize("methods", [["mlp"], ["mlp", "graph"]])
def test_every_word_of_the_legend_is_in_the_picture(curves: pd.DataFrame, methods) -> None:
    shown = curves[curves.method.isin(methods)].assign(val_mrr=0.3)
    figure = reverse_curves(shown, title="seen and unseen")[0].get_figure()
    figure.canvas.draw()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0 and box.x1 <= figure.bbox.x1
