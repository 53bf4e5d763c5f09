"""The figure of a reverse benchmark: rows, panels, and what stands in them."""

from __future__ import annotations

import pandas as pd
import pytest

from cellwright.errors import DataError
from cellwright.report.canvas import rendered
from cellwright.report.reverse_figure import reverse_panels


def table(genes=("visible", "hidden")):
    rows = []
    for g in genes:
        for k in ("1", "all"):
            for method, value in (("knn", 0.4), ("additive", 0.7), ("own-z", 0.2)):
                rows.append(
                    {
                        "method": method,
                        "genes": g,
                        "k": k,
                        "stratum": "all",
                        "metric": "mrr",
                        "value": value,
                        "low": value - 0.1,
                        "high": value + 0.1,
                        "chance": 0.15,
                        "perturbations": 15,
                        "cannot_score": 10 * (method == "own-z"),
                    }
                )
    return pd.DataFrame(rows)


def test_rows_stand_by_value_and_say_what_cannot_be_scored():
    axes = reverse_panels(table(), title="Norman")
    names = [label.get_text() for label in axes[0].get_yticklabels()]
    assert names == ["own-z\n(cannot score 10 of 15)", "knn", "additive"]
    assert [ax.get_title(loc="left") for ax in axes] == ["1 cell", "all cells"]
    values = {tuple(line.get_xdata()) for line in axes[1].lines}
    assert (0.7,) in values and (0.15, 0.15) in values
    assert rendered(axes, "png", dpi=40)[:4] == b"\x89PNG"


def test_one_visibility_and_no_scores():
    assert len(reverse_panels(table(("visible",)), title="Panel")) == 2
    with pytest.raises(DataError, match="no score of auprc to draw; there are mrr"):
        reverse_panels(table(), "auprc", title="x")
