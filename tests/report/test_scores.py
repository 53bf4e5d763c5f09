"""Score plots stand at the value, span the interval and tell models from what they must beat."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cellwright.errors import DataError
from cellwright.interfaces import Score
from cellwright.report.methods import kinds, metric_name
from cellwright.report.score_table import score_tables
from cellwright.report.scores import score_intervals, score_panels


def score(rep: str, value: float, *, split: str = "grouped", metric: str = "accuracy", **more: Any):
    given = {"baseline": None, "difference": None, "chance": 0.54, "seen": "clean"} | more
    return Score(
        task="annotation",
        rep=rep,
        model="logistic regression",
        metric=metric,
        value=value,
        low=value - 0.05,
        high=value + 0.02,
        interval="wilson",
        unit="libraries",
        n=23,
        split=split,
        fold_unit="library",
        **given,
    )


@pytest.fixture
def scores() -> list[Score]:
    paired = {"value": -0.01, "low": -0.03, "high": 0.01}
    return [
        score("depth", 0.80),
        score("hvg", 0.96),
        score("run", 0.95, baseline="hvg", difference=paired),
        score("pca", 0.97),
        score("run", 0.99, split="random"),
    ]


def test_what_has_a_difference_is_a_model_and_what_is_named_is_not(scores: list[Score]) -> None:
    assert kinds(scores) == {"depth": "shortcut", "hvg": "simple", "run": "model", "pca": "simple"}
    assert kinds(scores, baselines=["run"])["run"] == "simple"
    assert kinds([score("mine", 0.5)]) == {"mine": "model"}


def test_points_and_intervals_are_the_scores(scores: list[Score]) -> None:
    ax = score_intervals(scores)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["run", "pca", "hvg", "depth"]
    marks = {line.get_marker(): line for line in ax.get_lines() if line.get_marker() in "osD"}
    assert (marks["o"].get_xdata()[0], marks["o"].get_ydata()[0]) == (0.95, 0)
    assert (marks["D"].get_xdata()[0], marks["D"].get_ydata()[0]) == (0.80, 3)
    spans = [line.get_xdata() for line in ax.get_lines() if line.get_linestyle() == "-"]
    assert np.allclose(spans[0], [0.90, 0.97])
    words = [t.get_text() for t in ax.texts]
    assert "0.950 [0.900, 0.970]" in words
    assert "whole library held out; bars: 95 % interval over libraries" in words


def test_chance_is_a_line(scores: list[Score]) -> None:
    upright = [
        line for line in score_intervals(scores).get_lines() if list(line.get_ydata()) == [0, 1]
    ]
    assert [line.get_xdata()[0] for line in upright] == [0.54]


def test_another_design_is_chosen_by_name(scores: list[Score]) -> None:
    ax = score_intervals(scores, split="random")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["run"]


def test_a_metric_that_was_not_scored_is_named(scores: list[Score]) -> None:
    with pytest.raises(DataError, match=r"roc_auc.*there are accuracy \(grouped\)"):
        score_intervals(scores, metric="roc_auc")


def test_panels_share_rows_and_say_what_was_not_scored(scores: list[Score]) -> None:
    scores.append(score("run", float("nan"), metric="macro_f1"))
    scores.append(score("hvg", 0.9, metric="macro_f1"))
    left, right = score_panels([s.to_dict() for s in scores])
    assert [t.get_text() for t in left.get_yticklabels()] == ["run", "pca", "hvg", "depth"]
    assert sum(t.get_text() == "not scored" for t in right.texts) == 3


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        ({"value": 0.1, "low": 0.02, "high": 0.2}, "better"),
        ({"value": -0.1, "low": -0.2, "high": -0.01}, "worse"),
        ({"value": 0.1, "low": -0.01, "high": 0.2}, "not shown to differ"),
        ({"value": 0.1, "low": None, "high": None}, "not shown to differ"),
    ],
)
def test_better_needs_an_interval_without_zero(difference: dict, verdict: str) -> None:
    (table,) = score_tables([score("run", 0.9, baseline="hvg", difference=difference)])
    assert table.rows[0]["difference"]["verdict"] == verdict


def test_where_less_is_better_the_verdict_turns() -> None:
    fewer = score("run", 0.9, difference={"value": -0.1, "low": -0.2, "high": -0.05}).to_dict()
    (table,) = score_tables([fewer | {"higher_is_better": False}])
    assert table.rows[0]["difference"]["verdict"] == "better"


def test_metrics_are_named_in_words() -> None:
    assert metric_name("macro_f1") == "Macro F1"
    assert metric_name("ari_matched") == "Adjusted Rand index, matched"
    assert metric_name("my_own") == "My own"
