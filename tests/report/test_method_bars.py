"""Bars and learning curves show the numbers they are given."""

from __future__ import annotations

import numpy as np
import pytest

from cellwright.errors import DataError
from cellwright.report.finetune_curves import finetune_curves
from cellwright.report.method_bars import method_bars


def score(rep, value, **more):
    found = {"rep": rep, "metric": "accuracy", "value": value, "low": value - 0.1, "high": value}
    return {
        **found,
        "split": "grouped",
        "fold_unit": "donor",
        "unit": "donor",
        "chance": 0.4,
        **more,
    }


def test_bars_start_at_zero_end_at_the_value_and_stand_by_kind_and_rank():
    scores = [score("depth", 0.5), score("hvg + xgboost", 0.9), score("fine-tuned", 0.8)]
    scores.append(score("frozen", 0.85))
    ax = method_bars(scores, baselines=["depth", "hvg + xgboost"])
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == ["frozen", "fine-tuned", "hvg + xgboost", "depth"]
    assert [bar.get_width() for bar in ax.patches] == [0.85, 0.8, 0.9, 0.5]
    assert all(bar.get_x() == 0 for bar in ax.patches)
    assert any(text.get_text() == "0.900 [0.800, 0.900]" for text in ax.texts)


def test_a_metric_that_no_score_has_is_named():
    with pytest.raises(DataError, match="no score of macro_f1 to draw; there are accuracy"):
        method_bars([score("a", 0.5)], metric="macro_f1")


def test_learning_curves_mark_the_epoch_taken():
    rows = [
        {"epoch": float(e), "val_loss": loss, "val_balanced_accuracy": 1 - loss}
        for e, loss in enumerate([0.5, 0.2, 0.3])
    ]
    axes = finetune_curves([rows, rows], [0, 1])
    marked = [line for line in axes[0].lines if line.get_marker() == "o"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in marked] == [
        (0.0, 0.5),
        (1.0, 0.2),
    ]
    drawn = [line for line in axes[1].lines if line.get_marker() != "o"]
    np.testing.assert_allclose(drawn[-1].get_ydata(), [0.5, 0.8, 0.7])
    with pytest.raises(DataError, match="no history"):
        finetune_curves([], [])
