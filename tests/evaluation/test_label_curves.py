"""Curves over labels: means, bands that hold the truth, and differences on the same draws."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from cellwright.errors import DataError
from cellwright.evaluation.label_curves import LabelDraw, label_curves

CLASSES = ("a", "b", "c")


def answers(truth, right, rng, k=3):
    """Probabilities that name each cell right with chance ``right``."""
    named = np.where(rng.random(len(truth)) < right, truth, rng.integers(0, k, len(truth)))
    p = np.full((len(truth), k), 0.1)
    p[np.arange(len(truth)), named] = 1.0
    return p / p.sum(axis=1, keepdims=True)


def draws(truth, skill, repeats, rng, per_class=5):
    return [
        LabelDraw(method, per_class, r, 15, answers(truth, right, rng))
        for method, right in skill.items()
        for r in range(repeats)
    ]


def test_values_are_means_of_scikit_learns_over_the_draws():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 200)
    given = draws(truth, {"ours": 0.7, "theirs": 0.5}, 4, rng)
    points = label_curves(
        given, truth, CLASSES, np.arange(200).astype(str), baselines=["theirs"], resamples=100
    )
    assert len(points) == 6
    for point in points:
        own = [d.probability_mk for d in given if d.method == point.method]
        expected = {
            "accuracy": [(p.argmax(1) == truth).mean() for p in own],
            "macro_f1": [f1_score(truth, p.argmax(1), average="macro") for p in own],
            "roc_auc": [roc_auc_score(truth, p, multi_class="ovr") for p in own],
        }[point.metric]
        assert point.value == pytest.approx(np.mean(expected), abs=1e-12)
        assert point.low < point.value < point.high
        assert (point.repeats, point.n_labelled, point.unit) == (4, 15, "cells")
        if point.method == "ours":
            rival = next(p for p in points if (p.method, p.metric) == ("theirs", point.metric))
            assert point.baseline == "theirs"
            assert point.difference["value"] == pytest.approx(point.value - rival.value)
            assert point.difference["low"] > 0
        else:
            assert point.baseline is None and point.difference is None


def test_the_band_holds_the_true_skill():
    """Draws of labels differ in skill, and test cells are few: both widen the band."""
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        truth = rng.integers(0, 2, 80)
        skills = rng.normal(0.6, 0.08, 5).clip(0, 1)
        given = [
            LabelDraw("m", 5, r, 10, answers(truth, s, rng, k=2)) for r, s in enumerate(skills)
        ]
        (point,) = (
            p
            for p in label_curves(
                given, truth, CLASSES[:2], np.arange(80).astype(str), resamples=200, seed=seed
            )
            if p.metric == "accuracy"
        )
        held += point.low <= 0.6 + 0.4 / 2 <= point.high
    assert held >= 52


def test_bands_of_few_donors_are_wider_than_of_cells():
    rng = np.random.default_rng(1)
    donors = np.repeat(np.arange(8), 25)
    truth = rng.integers(0, 3, 200)
    p = answers(truth, 1.0, rng)
    wrong = np.isin(donors, [0, 1, 2])
    p[wrong] = answers((truth[wrong] + 1) % 3, 1.0, rng)
    given = [LabelDraw("m", None, 0, 90, p)]
    wide, narrow = (
        next(
            q
            for q in label_curves(given, truth, CLASSES, units.astype(str), resamples=400)
            if q.metric == "accuracy"
        )
        for units in (donors, np.arange(200))
    )
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    assert wide.per_class is None


def test_a_missing_draw_is_named():
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 30)
    given = draws(truth, {"a": 0.5, "b": 0.5}, 2, rng)[:-1]
    with pytest.raises(DataError, match=r"'b' answered the draws \(0,\) at 5 labels per class"):
        label_curves(given, truth, CLASSES, np.arange(30).astype(str))
