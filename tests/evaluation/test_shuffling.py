"""The label-shuffle control holds chance whatever the vectors show, and says so when it does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cellwright.evaluation.annotation import Annotation
from cellwright.evaluation.folds import Design, Fold
from cellwright.evaluation.shuffling import ShuffleControl, shuffle_control


@pytest.mark.parametrize("n_classes", [2, 4])
@pytest.mark.parametrize("strength", [0.0, 3.0])
def test_permuted_labels_score_chance(planted, n_classes: int, strength: float) -> None:
    cells = planted(240, n_classes, 10)
    task = Annotation(cells.codes_n, cells.classes, cells.names_n, groups_n=cells.groups_n)
    for control in task.control(cells.view("pca", cells.vectors(strength))):
        assert control.holds
        assert control.chance == pytest.approx(1 / n_classes)
        assert control.shuffles == 20
        assert control.least <= control.value <= control.most
        assert control.check().severity == "note"
        assert control.to_dict()["holds"] is True


def test_permutations_take_turns_on_the_folds(planted) -> None:
    cells = planted(100, 2, 5)
    asked: list[int] = []

    def vectors(fit_rows: np.ndarray) -> np.ndarray:
        asked.append(len(fit_rows))
        return cells.vectors(1.0)

    view = replace(cells.view("pca", cells.vectors(1.0)), vectors=vectors, refitted_per_fold=True)
    task = Annotation(
        cells.codes_n,
        cells.classes,
        cells.names_n,
        groups_n=cells.groups_n,
        designs=("grouped",),
        shuffles=3,
    )
    assert task.control(view)[0].shuffles == 3
    assert len(asked) == 3


def test_a_score_off_chance_fails_the_check_and_names_the_numbers() -> None:
    found = ShuffleControl(
        "run 7", "balanced_accuracy", "grouped", 0.9, 0.85, 0.95, 0.8, 1, 0.5, 20
    )
    check = found.check()
    assert not found.holds
    assert check.severity == "failure"
    assert "run 7 scores a balanced accuracy of 0.90 [0.85, 0.95]" in check.sentence
    assert "chance is 0.50" in check.sentence
    assert found.to_dict()["holds"] is False


def test_single_shuffles_may_lie_far_from_chance_where_their_mean_does_not(planted) -> None:
    """Two cells stand for all training cells: every permutation names both right or both wrong."""
    cells = planted(200, 2)
    first = [int(np.flatnonzero(cells.codes_n == c)[0]) for c in (0, 1)]
    train = np.array(first * 30)
    test = np.setdiff1d(np.arange(200), train)
    design = Design("given", "cells", "cells", (Fold(train, test),))
    x = cells.vectors(4.0)
    found = shuffle_control(
        lambda fit, used: x, cells.codes_n, cells.classes, design, rep="pca", shuffles=40
    )
    # 30 copies of two cells: the permuted majority of each copy decides, either way.
    assert found.least < 0.2
    assert found.most > 0.8
    assert found.holds
