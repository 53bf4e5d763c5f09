"""The figure of copies: one note for both panels, and ticks that keep clear of each other."""

from __future__ import annotations

import pytest
from matplotlib.text import Text

from cellwright.errors import DataError
from cellwright.report.disease_figures import clean_and_leaky


def row(question: str) -> dict[str, object]:
    ends = {
        f"{which}_{end}": v
        for which in ("clean", "leaky")
        for end, v in (("low", 0.78), ("high", 0.82))
    }
    return {
        "question": question,
        "rep": "pca",
        "metric": "accuracy",
        "clean": 0.8,
        "leaky": 0.81,
        "chance": 0.8,
        **ends,
    }


def test_the_note_stands_once_and_ticks_have_room() -> None:
    axes = clean_and_leaky([row("perturbed"), row("state")], note="copies of 9 cells")
    texts = [t.get_text() for t in axes[0].figure.findobj(Text)]
    assert sum("copies of 9 cells" in text for text in texts) == 1
    assert texts.count("0.800 → 0.810") == 2
    for ax in axes:
        low, high = ax.get_xlim()
        assert sum(low <= tick <= high for tick in ax.get_xticks()) <= 6


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(DataError, match="no macro_f1 of copies"):
        clean_and_leaky([row("state")], metric="macro_f1")
