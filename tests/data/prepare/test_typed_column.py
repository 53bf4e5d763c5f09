"""Types of whole columns: nothing is lost, and pieces make no difference."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwright.data.prepare.typed_column import MISSING, TypedColumn, kind_of, widen

TEXTS = st.one_of(
    st.sampled_from(["", "NA", "nan", "True", "False", "007", "-0", "1e3", "1.50", ".5", "inf"]),
    st.integers(-(10**20), 10**20).map(str),
    st.floats(allow_nan=False).map(repr),
    st.text("ab 1.", max_size=3),
)


def texts(*values):
    return np.array(values, dtype=object)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (("2523", "210", ""), "int"),
        (("2523", "NA", "2.5"), "float"),
        (("1e5", "-.5", "3"), "float"),
        (("007", "8"), "text"),
        (("9007199254740993", "1"), "long"),
        (("9007199254740993", "1.5"), "text"),
        (("12345678901234567890", "1"), "text"),
        (("True", "False", ""), "bool"),
        (("true", "false"), "text"),
        (("True", "1"), "text"),
        (("", "NaN"), "empty"),
        (("1_000", "2"), "text"),
        (("-0", "2"), "float"),
    ],
)
def test_kinds(values, kind):
    assert kind_of(texts(*values)) == kind


@given(st.lists(TEXTS, max_size=8), st.lists(TEXTS, max_size=8))
def test_the_kind_of_two_pieces_is_that_of_the_whole(one, other):
    whole = kind_of(texts(*one, *other))
    assert widen(kind_of(texts(*one)), kind_of(texts(*other))) == whole
    assert widen(kind_of(texts(*other)), kind_of(texts(*one))) == whole


@given(st.lists(TEXTS, min_size=1, max_size=12), st.data())
def test_values_are_those_written(values, data):
    column = TypedColumn(kind_of(texts(*values)), len(values))
    order = np.array(data.draw(st.permutations(range(len(values)))))
    cut = data.draw(st.integers(0, len(values)))
    for part in (order[:cut], order[cut:]):
        column.put(part, texts(*values)[part])
    found = column.series(np.arange(len(values)))
    for text, value in zip(map(str.strip, values), found, strict=True):
        if text in MISSING:
            assert pd.isna(value)
        elif column.kind == "float":
            assert value == float(text)
        else:
            assert str(value) == text


def test_types_with_and_without_gaps():
    def typed(*values):
        column = TypedColumn(kind_of(texts(*values)), len(values))
        column.put(np.arange(len(values)), texts(*values))
        return column

    every, gap = np.arange(3), np.array([0, -1, 2])
    assert typed("1", "2", "2523").series(every).dtype == np.int64
    assert typed("1", "2", "2523").series(gap).dtype == "Int64"
    assert typed("1", "2", "2523").series(gap).tolist() == [1, pd.NA, 2523]
    assert typed("True", "False", "True").series(every).dtype == bool
    assert typed("True", "False", "True").series(gap).dtype == "boolean"
    assert typed("1", "2", "2.5").series(gap).dtype == np.float64
    assert typed("a", "b", "a").series(every).dtype == "category"
    assert typed("a", "b", "c").series(every).dtype == object
    assert typed("a", "b", "c").series(gap).dtype == "category"
    assert typed("", "", "").series(every).isna().all()


def test_a_repeat_is_compared_as_its_kind():
    column = TypedColumn("float", 2)
    column.put(np.array([0, 1]), texts("1.50", ""))
    assert column.differs(np.array([0, 0, 1, 1]), texts("1.5", "2", "NA", "1")).tolist() == [
        False,
        True,
        False,
        True,
    ]
