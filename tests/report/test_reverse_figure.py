"""The figure of a reverse benchmark: rows, panels, and what stands in them."""

from __future__ import annotations

import pandas as pd
import pytest

from cellwright.errors import DataError
from cellwright.report.canvas import rendered
from cellwright.report.reverse_figure import reverse_f1, reverse_panels, reverse_strata


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


def test_f1_of_methods_that_have_one():
    rows = table(("hidden",))
    f1 = [rows.assign(metric=m) for m in ("micro_f1", "macro_f1")]
    half = rows[rows.method == "knn"].assign(metric="micro_f1@0.5")
    axes = reverse_f1(pd.concat([rows, *f1, half]), k="all", title="Norman")
    assert [ax.get_title(loc="left").replace("\n", " ") for ax in axes] == [
        "Micro, threshold from validation", "Macro, threshold from validation", "Micro, at 0.5"
    ]  # fmt: skip
    # Methods without a score at one half keep their rows.
    names = [label.get_text() for label in axes[0].get_yticklabels()]
    assert names[-1] == "knn" and len(names) == 3
    assert len(axes[2].lines) == 3
    with pytest.raises(DataError, match="no F1 of queries of 1 cell"):
        reverse_f1(rows, k="1", title="x")


def test_strata_stand_in_panels_with_how_many_perturbations_each_has():
    rows = table(("hidden",))
    none = rows.assign(stratum="none seen alone", perturbations=7, value=rows.value - 0.05)
    axes = reverse_strata(pd.concat([rows, none]), k="all", title="Norman")
    assert [ax.get_title(loc="left") for ax in axes] == ["all (15)", "none seen alone (7)"]
    with pytest.raises(DataError, match="nothing to compare"):
        reverse_strata(rows, k="all", title="x")


def test_one_visibility_and_no_scores():
    assert len(reverse_panels(table(("visible",)), title="Panel")) == 2
    with pytest.raises(DataError, match="no score of auprc to draw; there are mrr"):
        reverse_panels(table(), "auprc", title="x")
