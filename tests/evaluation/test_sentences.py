"""What a report says, in both directions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from cellwright.evaluation.sentences import score_phrase, verdicts
from cellwright.interfaces import Score


@dataclass(frozen=True)
class Gap:
    rep: str
    rival: str
    metric: str
    split: str
    value: float
    low: float
    high: float


def score(rep: str, value: float, **changes) -> Score:
    base = Score(
        task="annotation",
        rep=rep,
        model="logistic-regression",
        metric="accuracy",
        value=value,
        low=value - 0.06,
        high=value + 0.05,
        interval="bootstrap",
        unit="library",
        n=40,
        chance=0.54,
        split="grouped",
        fold_unit="library",
        seen="clean",
    )
    return replace(base, **changes)


def gap(rival: str, value: float, half: float = 0.05, rep: str = "scbin") -> Gap:
    return Gap(rep, rival, "accuracy", "grouped", value, value - half, value + half)


def test_does_not_beat_depth_alone() -> None:
    scores = [score("scbin", 0.8, baseline="depth"), score("depth", 0.8)]
    assert verdicts(scores, [gap("depth", 0.0)]) == [
        "scbin (accuracy 0.80 [0.74, 0.85]) does not beat depth alone (0.80 [0.74, 0.85]): "
        "difference 0.00 [-0.05, 0.05], whole library held out."
    ]


def test_beats_every_simple_method() -> None:
    scores = [score("scbin", 0.93, baseline="hvg"), score("hvg", 0.8), score("depth", 0.7)]
    found = verdicts(scores, [gap("hvg", 0.13), gap("depth", 0.23)])
    assert found == [
        "scbin (accuracy 0.93 [0.87, 0.98]) beats every simple method; the best of them is hvg "
        "(0.80 [0.74, 0.85]): difference 0.13 [0.08, 0.18], whole library held out."
    ]


def test_the_simple_method_wins_and_the_shortcut_too() -> None:
    scores = [score("scbin", 0.7, baseline="hvg"), score("hvg", 0.94), score("depth", 0.78)]
    found = verdicts(scores, [gap("hvg", -0.24), gap("depth", -0.08)])
    assert found[0].startswith("The simple method wins: hvg (0.94 [0.88, 0.99]) is better than")
    assert found[1] == (
        "scbin (accuracy 0.70 [0.64, 0.75]) is worse than depth alone (0.78 [0.72, 0.83]): "
        "difference -0.08 [-0.13, -0.03], whole library held out."
    )


def test_not_above_chance() -> None:
    assert verdicts([score("scbin", 0.56)]) == [
        "scbin (accuracy 0.56 [0.50, 0.61]) is not above chance (0.54), whole library held out."
    ]


@pytest.mark.parametrize(
    ("seen", "mark"),
    [
        ("seen-unlabelled", "It has seen these cells, without their labels."),
        ("unknown", "Whether it has seen these cells is unknown."),
    ],
)
def test_nothing_is_called_better_without_its_mark(seen: str, mark: str) -> None:
    scores = [score("scbin", 0.9, baseline="hvg", seen=seen), score("hvg", 0.8)]
    assert verdicts(scores, [gap("hvg", 0.1)])[0].endswith(mark)


def test_designs_are_not_mixed() -> None:
    scores = [
        score("scbin", 0.8, baseline="hvg"),
        score("hvg", 0.8),
        score("scbin", 0.9, baseline="hvg", split="random", fold_unit="cells"),
        score("hvg", 0.7, split="random"),
    ]
    pairs = [gap("hvg", 0.0), replace(gap("hvg", 0.2), split="random")]
    found = verdicts(scores, pairs)
    assert len(found) == 2
    assert "does not beat hvg (0.80" in found[0]
    assert found[1].endswith("difference 0.20 [0.15, 0.25], random cells held out.")


def test_rounding_never_hides_the_verdict() -> None:
    assert score_phrase(score("r", 0.998, low=0.996, high=1.0)) == "0.998 [0.996, 1.000]"
    assert score_phrase(score("r", 1.0, low=0.9839, high=1.0)) == "1.00 [0.98, 1.00]"
    scores = [score("scbin", 0.93, baseline="hvg"), score("hvg", 0.8)]
    thin = Gap("scbin", "hvg", "accuracy", "grouped", 0.02, 0.001, 0.04)
    assert "difference 0.020 [0.001, 0.040]" in verdicts(scores, [thin])[0]
    assert score_phrase(score("r", -0.001, low=-0.002, high=0.001)) == "0.00 [0.00, 0.00]"
