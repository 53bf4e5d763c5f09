"""Folds: whole groups, balanced classes, names and not positions, and sentences where it cannot be."""

from __future__ import annotations

import numpy as np
import pytest

from cellwright.errors import DataError, SettingsError
from cellwright.evaluation.folds import given_split, grouped_folds, random_holdout

CLASSES = ("exc", "inh")


def test_whole_groups_are_held_out_each_once(planted) -> None:
    cells = planted(400, 3, 23)
    design = grouped_folds(cells.codes_n, cells.groups_n, group_name="donor")
    assert len(design.folds) == 5
    for fold in design.folds:
        assert not set(cells.groups_n[fold.train]) & set(cells.groups_n[fold.test])
    held = np.concatenate([fold.test for fold in design.folds])
    assert np.array_equal(np.sort(held), np.arange(400))
    assert (design.fold_unit, design.unit) == ("donor", "donor")


def test_classes_spread_evenly_over_grouped_folds() -> None:
    """40 groups of one class each, sizes 1 to 20: every fold gets a fifth of both classes."""
    sizes = np.tile(np.arange(1, 21), 2)
    groups = np.repeat([f"g{i:02d}" for i in range(40)], sizes)
    codes = np.repeat(np.repeat([0, 1], 20), sizes)
    design = grouped_folds(codes, groups, seed=3)
    for code in (0, 1):
        shares = [np.sum(codes[fold.test] == code) / np.sum(codes == code) for fold in design.folds]
        assert shares == pytest.approx([0.2] * 5, abs=0.02)


@pytest.mark.parametrize("design", ["grouped", "random"])
def test_the_order_of_the_cells_does_not_matter(planted, design: str) -> None:
    cells = planted(200, 2, 9)
    order = np.random.default_rng(5).permutation(200)

    def held_out(turn: np.ndarray) -> list[set[str]]:
        codes, names = cells.codes_n[turn], cells.names_n[turn]
        if design == "grouped":
            drawn = grouped_folds(codes, cells.groups_n[turn], seed=1)
        else:
            drawn = random_holdout(codes, names, seed=1)
        return [set(names[fold.test]) for fold in drawn.folds]

    assert held_out(np.arange(200)) == held_out(order)


def test_another_seed_draws_other_cells(planted) -> None:
    cells = planted()
    first = random_holdout(cells.codes_n, cells.names_n, seed=0).folds[0]
    second = random_holdout(cells.codes_n, cells.names_n, seed=1).folds[0]
    assert not np.array_equal(first.test, second.test)


def test_the_random_holdout_is_the_protocols() -> None:
    """620 and 532 cells: 124 and 106 held out, 230 as published."""
    codes = np.repeat([0, 1], [620, 532])
    fold = random_holdout(codes, np.arange(1152).astype(str)).folds[0]
    assert np.bincount(codes[fold.test]).tolist() == [124, 106]
    assert not set(fold.train) & set(fold.test)
    assert len(fold.train) + len(fold.test) == 1152


def test_tiny_classes_have_a_cell_on_both_sides() -> None:
    codes = np.array([0] * 50 + [1, 1])
    fold = random_holdout(codes, np.arange(52).astype(str)).folds[0]
    assert (codes[fold.test] == 1).sum() == (codes[fold.train] == 1).sum() == 1


def test_unlabelled_cells_take_no_part(planted) -> None:
    cells = planted()
    codes = np.where(np.arange(300) % 3 == 0, -1, cells.codes_n)
    for design in (grouped_folds(codes, cells.groups_n), random_holdout(codes, cells.names_n)):
        for fold in design.folds:
            assert (codes[np.r_[fold.train, fold.test]] >= 0).all()


def test_fewer_groups_make_fewer_folds_and_say_so(planted) -> None:
    cells = planted(200, 2, 3)
    design = grouped_folds(cells.codes_n, cells.groups_n, group_name="donor")
    assert len(design.folds) == 3
    assert design.note == "3 folds instead of 5: 'donor' has 3 groups"


def test_the_given_split_trains_on_train_and_val(planted) -> None:
    cells = planted(200)
    split = np.array(["train", "val", "test", "train"])[np.arange(200) % 4]
    design = given_split(cells.codes_n, split, groups_n=cells.groups_n, group_name="donor")
    assert np.array_equal(design.folds[0].test, np.flatnonzero(split == "test"))
    assert len(design.folds[0].train) == 150
    assert design.unit == "cells"


def test_the_given_split_of_whole_groups_resamples_groups(planted) -> None:
    cells = planted(200)
    split = np.where(np.isin(cells.groups_n, ["donor00", "donor01"]), "test", "train")
    design = given_split(cells.codes_n, split, groups_n=cells.groups_n, group_name="donor")
    assert design.unit == "donor"


def test_what_cannot_be_held_out_is_said() -> None:
    codes = np.array([0, 0, 0, 1, 1, 1])
    names = np.arange(6).astype(str)
    with pytest.raises(DataError, match="'library': it has only 'L1'"):
        grouped_folds(codes, np.full(6, "L1"), group_name="library")
    with pytest.raises(DataError, match="without the 'library' 'A' there is only class 'inh'"):
        grouped_folds(codes, np.array(list("AAABBB")), group_name="library", classes=CLASSES)
    with pytest.raises(DataError, match="class 'inh' has 1 cell"):
        random_holdout(np.array([0, 0, 0, 1]), names[:4], classes=CLASSES)
    with pytest.raises(DataError, match="only class 'exc'"):
        random_holdout(np.zeros(6, dtype=np.int64), names, classes=CLASSES)
    with pytest.raises(DataError, match="'holdout'"):
        given_split(codes, np.array(["train"] * 5 + ["holdout"]))
    with pytest.raises(DataError, match="no labelled cell of 6"):
        given_split(codes, np.full(6, "train"))
    with pytest.raises(DataError, match="only class 'exc' to learn from"):
        given_split(codes, np.array(["train"] * 3 + ["test"] * 3), classes=CLASSES)
    with pytest.raises(SettingsError, match=r"1\.5"):
        random_holdout(codes, names, test_share=1.5)
    with pytest.raises(SettingsError, match="folds is 1"):
        grouped_folds(codes, names, folds=1)
