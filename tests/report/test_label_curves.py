"""Curves over the number of labels: where points stand, what bands span, what is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellwright.errors import DataError
from cellwright.report.label_curves import label_curves_figure


def table(sizes: tuple[str, ...]) -> pd.DataFrame:
    rows = [
        {"method": method, "per_class": size, "metric": "macro_f1", "value": value + at / 10,
         "low": value + at / 10 - 0.05, "high": value + at / 10 + 0.02, "chance": 0.1,
         "unit": "cells", "repeats": 3}
        for method, value in (("fine-tuned", 0.3), ("hvg", 0.5))
        for at, size in enumerate(sizes)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_points_stand_at_their_number_of_labels_with_their_bands() -> None:
    ax = label_curves_figure(table(("5", "20", "all")))
    assert [t.get_text() for t in ax.get_xticklabels()] == ["5", "20", "all"]
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [0, 1, 2])
    np.testing.assert_allclose(np.asarray(ax.lines[1].get_ydata(), float), [0.5, 0.6, 0.7])
    span = ax.collections[1].get_paths()[0].get_extents()
    assert (span.x0, span.x1) == (0, 2)
    assert (span.y0, span.y1) == pytest.approx((0.45, 0.72))


def test_one_number_of_labels_has_bars_side_by_side() -> None:
    ax = label_curves_figure(table(("5",)))
    places = [float(np.asarray(line.get_xdata())[0]) for line in ax.lines[:2]]
    assert places[0] < 0 < places[1]


def test_a_metric_that_is_not_there() -> None:
    with pytest.raises(DataError, match="no 'roc_auc' in the table"):
        label_curves_figure(table(("5", "20")), metric="roc_auc")
