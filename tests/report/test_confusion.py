"""Confusion matrices print every count and shade by the share of the row."""

from __future__ import annotations

import numpy as np
import pytest

from cellwright.errors import SettingsError
from cellwright.report.canvas import rendered
from cellwright.report.confusion import confusion_matrix, confusion_of


def test_counts_and_shares_of_the_published_matrix() -> None:
    ax = confusion_of({"classes": ["inhibitory", "excitatory"], "counts": [[94, 13], [33, 91]]})
    assert [t.get_text() for t in ax.texts] == ["94\n88%", "13\n12%", "33\n27%", "91\n73%"]
    shade = ax.images[0].get_array()
    assert np.allclose(shade, [[94 / 107, 13 / 107], [33 / 124, 91 / 124]], atol=1e-12)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["inhibitory", "excitatory"]


def test_an_empty_row_is_white_and_nan_counts_as_none() -> None:
    ax = confusion_matrix([[0, 0], [np.nan, 3]], ["a", "b"])
    assert np.array_equal(ax.images[0].get_array(), [[0, 0], [0, 1]])


def test_a_cross_table_need_not_be_square() -> None:
    ax = confusion_matrix(np.ones((2, 5)), ["a", "b"], columns=list("01234"))
    assert len(ax.texts) == 10


def test_a_hundred_classes_stay_light() -> None:
    ax = confusion_matrix(np.eye(100), [f"class {i}" for i in range(100)])
    assert not ax.texts
    assert len(rendered(ax, "svg", outlines=False)) < 120_000


def test_names_that_do_not_fit_are_counted() -> None:
    with pytest.raises(SettingsError, match=r"shape \(2, 2\) does not fit 3 row names"):
        confusion_matrix(np.eye(2), ["a", "b", "c"])
