"""Folds that never have a base cell, nor a donor, on both sides."""

from __future__ import annotations

import numpy as np
import pytest

from cellwright.errors import DataError, SettingsError
from cellwright.evaluation.disease_designs import Cohort, draw_designs

CLASSES = ("normal", "ALS", "HD")


def paired(n_base=60, donors=None):
    base = np.array([f"b{i:03d}" for i in range(n_base)])
    codes = np.repeat([0, 1, 2], n_base)
    names = np.char.add(np.tile(base, 3), np.array([f"-{c}" for c in codes]))
    donor = None
    if donors:
        donor = np.tile(np.array([f"d{i % donors}" for i in range(n_base)]), 3)
    return Cohort(codes, CLASSES, names, np.tile(base, 3), donor)


def unpaired(n=90, donors=None):
    codes = np.arange(n) % 3
    names = np.array([f"c{i:03d}" for i in range(n)])
    donor = np.array([f"d{(i // 3) % donors}" for i in range(n)]) if donors else None
    return Cohort(codes, CLASSES, names, names, donor)


@pytest.mark.parametrize("cohort", [paired(), paired(donors=6), unpaired(), unpaired(donors=6)])
def test_no_base_cell_and_no_donor_is_on_both_sides(cohort):
    for design in draw_designs(cohort, folds=5):
        for fold in design.folds:
            assert not set(cohort.base_n[fold.train]) & set(cohort.base_n[fold.test])
            if cohort.donor_n is not None:
                assert not set(cohort.donor_n[fold.train]) & set(cohort.donor_n[fold.test])
            assert sorted([*fold.train, *fold.test]) == list(range(len(cohort.base_n)))
    grouped, holdout = draw_designs(cohort, folds=5)
    assert sorted(np.concatenate([f.test for f in grouped.folds])) == list(
        range(len(cohort.base_n))
    )
    (fold,) = holdout.folds
    for code in range(3):
        of_state = cohort.state_codes_n[fold.test] == code
        assert abs(of_state.sum() / (cohort.state_codes_n == code).sum() - 0.3) < 0.05


def test_what_is_held_out_is_said():
    assert [d.fold_unit for d in draw_designs(paired())] == ["base_cell", "base_cell"]
    assert [d.fold_unit for d in draw_designs(unpaired())] == ["cells", "cells"]
    grouped, holdout = draw_designs(paired(donors=2))
    assert grouped.fold_unit == "donor" and len(grouped.folds) == 2
    assert holdout.fold_unit == "base_cell" and "too few for 70/30" in holdout.note


def test_the_leaky_split_has_copies_on_both_sides():
    cohort = paired()
    (design,) = draw_designs(cohort, ("leaky",))
    (fold,) = design.folds
    both = set(cohort.base_n[fold.train]) & set(cohort.base_n[fold.test])
    assert len(both) > 20 and f"{len(both)} base cells" in design.note


def test_names_alone_decide():
    cohort = unpaired()
    order = np.random.default_rng(1).permutation(len(cohort.base_n))
    moved = Cohort(
        cohort.state_codes_n[order], CLASSES, cohort.cell_names_n[order], cohort.base_n[order]
    )
    for a, b in zip(draw_designs(cohort), draw_designs(moved), strict=True):
        for x, y in zip(a.folds, b.folds, strict=True):
            assert set(cohort.cell_names_n[x.test]) == set(moved.cell_names_n[y.test])


def test_what_cannot_be_drawn_is_said():
    one = paired(donors=1)
    with pytest.raises(DataError, match="only 'd0'"):
        draw_designs(one)
    split = Cohort(
        one.state_codes_n, CLASSES, one.cell_names_n, one.base_n, one.cell_names_n.copy()
    )
    with pytest.raises(DataError, match="'b000' lies in 3 of 'donor'"):
        draw_designs(split)
    with pytest.raises(DataError, match="all 3 cells are in one state, 'normal'"):
        names = np.array(["a", "b", "c"])
        draw_designs(Cohort(np.zeros(3, dtype=np.int64), CLASSES, names, names))
    with pytest.raises(DataError, match="'HD' has 1 base cell"):
        names = np.array(["a", "b", "c", "d", "e"])
        draw_designs(Cohort(np.array([0, 0, 1, 1, 2]), CLASSES, names, names))
    confounded = Cohort(
        np.array([0, 0, 1, 1, 2, 2]), CLASSES, np.array(list("abcdef")), np.array(list("abcdef")),
        np.array(["x", "x", "y", "y", "z", "z"]),
    )  # fmt: skip
    with pytest.raises(DataError, match="--donor-pattern"):
        draw_designs(confounded)
    for how, said in (({"folds": 1}, "folds is 1"), ({"test_share": 1.5}, "1.5")):
        with pytest.raises(SettingsError, match=said):
            draw_designs(paired(), **how)
    with pytest.raises(SettingsError, match="'copies'"):
        draw_designs(paired(), ("copies",))
