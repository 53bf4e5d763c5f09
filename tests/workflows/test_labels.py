from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellwright.errors import DataError, SettingsError
from cellwright.workflows.labels import read_labels


def table(values):
    return pd.DataFrame({"type": values}, index=[f"c{i}" for i in range(len(values))])


def test_classes_are_sorted_and_cells_without_label_counted():
    labels = read_labels(table(["b", "a", None, "b", "a", ""]), "type")
    assert labels.classes == ("a", "b")
    assert labels.positive == "b"
    np.testing.assert_array_equal(labels.codes_n, [1, 0, -1, 1, 0, -1])
    assert (labels.unlabelled, labels.excluded, labels.left_out) == (2, 2, {})
    np.testing.assert_array_equal(labels.class_n, ["b", "a", "", "b", "a", ""])


def test_categories_without_cells_are_no_classes():
    obs = table(pd.Categorical(["a", "b"] * 4, categories=["a", "b", "gone"]))
    assert read_labels(obs, "type").classes == ("a", "b")


def test_more_than_two_classes_have_no_positive_one():
    labels = read_labels(table(["a", "b", "c"] * 3), "type")
    assert labels.classes == ("a", "b", "c") and labels.positive is None


def test_positive_and_negative_groups_of_labels():
    labels = read_labels(table(["a", "b", "c", "d"] * 3), "type", positive="d,b", negative="a,c")
    assert labels.classes == ("negative", "positive")
    np.testing.assert_array_equal(labels.class_n[:4], ["negative", "positive"] * 2)
    np.testing.assert_array_equal(labels.text_n[:4], ["a", "b", "c", "d"])


def test_a_group_of_one_label_keeps_its_name_and_positive_comes_second():
    labels = read_labels(table(["x", "a"] * 3), "type", positive="a", negative="x")
    assert labels.classes == ("x", "a") and labels.positive == "a"
    assert read_labels(table(["x", "a"] * 3), "type", positive="a").classes == ("x", "a")


def test_a_label_may_hold_a_comma():
    labels = read_labels(table(["L2, IT", "x"] * 3), "type", positive="L2, IT", negative=["x"])
    assert labels.positive == "L2, IT"


def test_unmapped_labels_are_named_or_ignored():
    obs = table(["a", "b", "c", "c"] * 2)
    with pytest.raises(SettingsError, match=r"'c' \(4 cells\); .*--ignore-unmapped"):
        read_labels(obs, "type", positive="a", negative="b")
    labels = read_labels(obs, "type", positive="a", negative="b", ignore_unmapped=True)
    assert labels.left_out == {"c": 4} and labels.excluded == 4 and labels.unlabelled == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"positive": "alpa", "negative": "beta"}, "'alpa'.*did you mean 'alpha'"),
        ({"positive": "alpha", "negative": "alpha"}, "'alpha' stands in"),
        ({"negative": "alpha"}, "needs --positive"),
        ({"positive": "alpha"}, "'beta', 'gamma'"),
        ({"positive": ",", "negative": "beta"}, "--positive names no label"),
    ],
)
def test_settings_that_cannot_be_meant(settings, said):
    with pytest.raises(SettingsError, match=said):
        read_labels(table(["alpha", "beta", "gamma"] * 2), "type", **settings)


def test_a_missing_column_names_the_nearest():
    with pytest.raises(DataError, match="no label column 'typ' in obs: did you mean 'type'"):
        read_labels(table(["a", "b"]), "typ")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([None, np.nan, ""], "empty in all 3 cells"),
        (["a"] * 5, r"one class only: 'a' \(5 cells\)"),
        (["a"] * 5 + ["b"], "one cell only: 'b'"),
        ([f"v{i}" for i in range(50)], "50 different values in 50 cells"),
    ],
)
def test_labels_that_cannot_be_learned(values, said):
    with pytest.raises(DataError, match=said):
        read_labels(table(values), "type")


def test_rare_classes_are_left_out_when_asked():
    labels = read_labels(table(["a"] * 5 + ["b"] * 4 + ["rare"]), "type", min_cells=2)
    assert labels.classes == ("a", "b") and labels.left_out == {"rare": 1}
    with pytest.raises(DataError, match=r"one class only: 'a'.*1 labels were left out"):
        read_labels(table(["a"] * 5 + ["b"] * 4), "type", min_cells=5)
    assert "rare" in read_labels(table(["a"] * 5 + ["rare"]), "type", fewest=1).classes
