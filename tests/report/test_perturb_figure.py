"""What the figures of in-silico edits show, read back from the Axes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellwright.errors import DataError
from cellwright.report.canvas import save_figure
from cellwright.report.perturb_figure import p_histogram, ranked_shifts, shift_by_place


def table(n: int = 30, statistic: str = "cosine") -> pd.DataFrame:
    value = np.linspace(1.0, 0.1, n) if statistic == "cosine" else np.linspace(1.0, -1.0, n)
    return pd.DataFrame(
        {
            "edit": [f"GENE{e}" for e in range(n)],
            "place": np.arange(n) * 10.0,
            statistic: value,
            f"{statistic}_low": value - 0.05,
            f"{statistic}_high": value + 0.05,
            f"{statistic}_null": 0.3,
            f"{statistic}_null_low": 0.2,
            f"{statistic}_null_high": 0.4,
            f"{statistic}_p": np.linspace(0.001, 1, n),
            f"{statistic}_q": np.where(np.arange(n) < 2, 0.01, 0.8),
        }
    )


def test_the_first_edits_stand_on_top_over_their_null():
    ax = ranked_shifts(table(), "cosine", most=5)
    assert [label.get_text() for label in ax.get_yticklabels()][::-1] == [
        f"GENE{e}" for e in range(5)
    ]
    assert [bar.get_x() for bar in ax.patches] == [0.2] * 5
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.2] * 5)
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert words == ["FDR up to 5 %", "FDR above 5 %", "matched random genes"]
    with pytest.raises(DataError, match="no edits"):
        ranked_shifts(table().head(0), "cosine")


def test_with_a_sign_both_ends_are_drawn():
    ax = ranked_shifts(table(30, "toward"), "toward", most=4)
    assert [label.get_text() for label in ax.get_yticklabels()] == [
        "GENE29",
        "GENE28",
        "GENE1",
        "GENE0",
    ]


def test_every_edit_and_the_null_by_place(tmp_path):
    null = table(12)[["edit", "place", "cosine"]]
    ax = shift_by_place(table(), null, "cosine")
    sizes = [len(points.get_offsets()) for points in ax.collections]
    assert sizes == [12, 28, 2]
    assert ax.get_xscale() == "log"
    # Without an error or a warning where there is no null and nothing stands out.
    alone = table(3).assign(cosine_q=np.nan)
    path = save_figure(shift_by_place(alone, null.head(0), "cosine"), tmp_path / "place.png")
    assert path.stat().st_size > 5000


def test_p_values_beside_what_chance_gives():
    p = pd.Series([*np.linspace(0.01, 0.99, 99), np.nan])
    ax = p_histogram(p)
    assert sum(bar.get_height() for bar in ax.patches) == 99
    assert ax.lines[0].get_ydata()[0] == pytest.approx(99 / 20)
