"""Perturbations read from a column, and splits that never have one on both sides."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from anndata import read_h5ad
from hypothesis import given, settings
from hypothesis import strategies as st

from cellwright.errors import DataError, RunError, SettingsError
from cellwright.perturbation.reverse import read_screen
from cellwright.perturbation.reverse_splits import (
    PARTS,
    SPLITS,
    ReverseSplit,
    ahlmann_eltze,
    leave_one_double_out,
    mambaperturb,
    named_splits,
    read_split,
    unseen_singles,
    write_split,
)


def obs_of(names, each=3):
    return pd.DataFrame({"condition": np.repeat(names, each)})


def screen_of(
    n_singles=8, doubles=((0, 1), (0, 2), (3, 4), (5, 20), (21, 22), (1, 2), (6, 7), (2, 3))
):
    names = ["control", *(f"G{i}" for i in range(n_singles))]
    names += [f"G{b}+G{a}" for a, b in doubles]
    return read_screen(obs_of(names))


def test_names_are_read_as_genes():
    obs = obs_of(["ctrl", "B+A", "A+B", "A+ctrl", "KIAA1804", "B"])
    screen = read_screen(obs, aliases={"KIAA1804": "MAP3K21"})
    assert screen.conditions == ("A", "B", "MAP3K21", "A+B")
    assert screen.candidates == ("A", "B", "MAP3K21")
    assert screen.targets_pc.tolist() == [
        [True, False, False],
        [False, True, False],
        [False, False, True],
        [True, True, False],
    ]
    assert len(screen.control_rows) == 3 and len(screen.rows_of(3)) == 6
    assert (screen.singles, screen.doubles) == (("A", "B", "MAP3K21"), ("A+B",))
    wider = screen.with_candidates(["Z", "B", "A", "MAP3K21"])
    assert wider.candidates[0] == "Z" and not wider.targets_pc[:, 0].any()


def test_the_real_screens(real_data):
    norman = read_screen(read_h5ad(next((real_data / "norman2019").glob("*.h5ad"))).obs)
    assert (len(norman.singles), len(norman.doubles)) == (18, 15)
    splits = leave_one_double_out(norman)
    assert len(splits) == 15
    assert sum(next(iter(s.strata.values())) == 2 for s in splits) == 5
    hill = read_h5ad(next((real_data / "hill2018").glob("*.h5ad"))).obs
    hill = hill[hill["target"] != "none"]
    none = "NonTargetingControlGuideForHuman"
    found = read_screen(hill, "target", control=none)
    genes = hill["target"].astype(str).map(lambda name: set(name.split("+")) - {none})
    crowded = int((genes.map(len) > 2).sum())
    assert found.notes[0].startswith(f"{crowded} cells with more than 2 perturbed genes left out")
    alone = genes[genes.map(len) == 1].map(lambda g: next(iter(g))).value_counts()
    assert set(found.singles) == set(alone[alone >= 2].index)
    datlinger = read_h5ad(next((real_data / "datlinger2017").glob("*.h5ad"))).obs
    found = read_screen(datlinger, "target", guide="guide", batch="sample")
    assert len(found.singles) == 20 and found.guide_n is not None


def test_gaps_and_rare_conditions_are_said():
    obs = obs_of(["control", "A", "B", "C"])
    obs.loc[6:7, "condition"] = None
    screen = read_screen(obs, min_cells=2)
    assert screen.conditions == ("A", "C")
    assert screen.notes == (
        "1 perturbations with fewer than 2 cells left out: B",
        "2 cells without a perturbation take no part",
    )
    assert (screen.condition_n == -2).sum() == 3


def test_one_control_cell_is_not_enough():
    obs = pd.DataFrame({"condition": ["ctrl", *["A"] * 3]})
    with pytest.raises(DataError, match="one control cell \\('ctrl' in 'condition'\\)"):
        read_screen(obs)


def test_doubles_with_another_separator_are_said():
    names = ["control", "A", "B", "C", "A_B", "HLA-A", "B-C"]
    said = read_screen(obs_of(names)).notes[0]
    assert said.startswith("2 perturbations such as 'A_B' are taken for one gene each")
    assert "A and B are perturbed alone too" in said and "--separator '_'" in said
    assert read_screen(obs_of([*names[:4], "HLA-A"])).notes == ()
    assert read_screen(obs_of(names[:5]), separator="_").doubles == ("A+B",)


@pytest.mark.parametrize(
    ("names", "options", "error", "said"),
    [
        (["A", "B"], {}, DataError, "no control cells in 'condition'.*A, B"),
        (["control", "A"], {"control": "contrl"}, SettingsError, "did you mean 'control'"),
        (["control", "A+B+C"], {}, DataError, r"more than 2 genes, such as 'A\+B\+C'"),
        (["control", "A++B"], {}, DataError, r"'A\+\+B' in 'condition' is no perturbation"),
        (
            ["control", "safe harbor"],
            {},
            DataError,
            "'safe harbor' in 'condition' is named like no gene",
        ),
        (["control", "A", "none"], {}, DataError, "'none' in 'condition' is named like no gene"),
        (["control", "A", "Unassigned"], {}, DataError, "'Unassigned'.*--leave-out"),
        (["control", "A"], {"column": "conditio"}, DataError, "did you mean 'condition'"),
        (["control", "A"], {"batch": "lane"}, DataError, "no batch column 'lane'"),
        (["control", "A"], {"candidates": ["B"]}, DataError, "1 perturbed genes are not among"),
        (["control", "A"], {"min_cells": 9}, DataError, "has 9 cells or more"),
        (["control"], {}, DataError, "every cell in 'condition' is 'control'"),
        ([""], {}, DataError, "no cell has a value in the column 'condition'"),
        ([None], {"column": "condition"}, DataError, "no cell has a value"),
        (["control", "A+B"], {"separator": "_"}, DataError, "is --separator '_' wrong"),
    ],
)
def test_what_cannot_be_read_is_named(names, options, error, said):
    with pytest.raises(error, match=said):
        read_screen(obs_of(names), **options)


def test_no_screen_is_one_sentence():
    with pytest.raises(DataError, match="these cells are no perturbation screen"):
        read_screen(pd.DataFrame({"cell_type": ["a", "b"]}))


@given(st.integers(0, 50), st.integers(4, 30))
@settings(max_examples=30, deadline=None)
def test_published_splits_have_their_shares_and_no_overlap(seed, n):
    doubles = [(i, i + 1 + i % 3) for i in range(n)]
    screen = screen_of(40, doubles)
    n = len(screen.doubles)
    first = ahlmann_eltze(screen, seed)
    assert set(screen.singles) <= set(first.train)
    assert len(first.train) - len(screen.singles) == n // 2
    assert len(first.val) == (n - n // 2) // 2
    second = mambaperturb(screen, seed)
    assert len(second.test) == max(1, round(0.3 * n)) and second.val
    for split in (first, second):
        parts = [set(getattr(split, part)) for part in PARTS]
        assert sum(map(len, parts)) == len(screen.conditions) == len(set().union(*parts))
        assert split.strata.keys() == set(split.test)
    assert ahlmann_eltze(screen, seed) == first
    third = unseen_singles(screen, seed)
    held = {*third.val, *third.test}
    assert all("+" not in name for name in held)
    assert not any(held & set(name.split("+")) for name in third.train)


def test_strata_count_the_genes_seen_alone():
    screen = screen_of()
    strata = {name: s for split in leave_one_double_out(screen) for name, s in split.strata.items()}
    assert (strata["G0+G1"], strata["G20+G5"], strata["G21+G22"]) == (2, 1, 0)


def test_a_perturbation_on_two_sides_is_refused():
    with pytest.raises(DataError, match="1 perturbations in train and in test, 'A' first"):
        ReverseSplit("mine", ("A", "B"), (), ("A",))
    with pytest.raises(DataError, match="no perturbation in test"):
        ReverseSplit("mine", ("A",), (), ())


def test_splits_by_name():
    screen = screen_of()
    for name in SPLITS:
        found = named_splits(screen, name, 1)
        assert all(split.name.startswith(name) for split in found)
    with pytest.raises(SettingsError, match="did you mean 'unseen-singles'"):
        named_splits(screen, "unseen-single")
    alone = read_screen(obs_of(["control", "A", "B"]))
    with pytest.raises(DataError, match="needs 4 double perturbations or more, the data have 0"):
        named_splits(alone, "mambaperturb-2025")
    with pytest.raises(DataError, match="needs five single perturbations or more"):
        named_splits(alone, "unseen-singles")


def test_split_files_go_round_and_the_public_ones_are_read(real_data, tmp_path):
    screen = screen_of()
    split = ahlmann_eltze(screen, 3)
    path = tmp_path / "split.json"
    write_split(split, path)
    again, absent = read_split(path, screen)
    assert absent == () and (again.train, again.val, again.test) == (
        split.train,
        split.val,
        split.test,
    )
    assert again.strata == split.strata
    with pytest.raises(RunError, match="exists already"):
        write_split(split, path)
    norman = read_screen(read_h5ad(next((real_data / "norman2019").glob("*.h5ad"))).obs)
    for file in (real_data / "norman_splits").glob("*.json"):
        found, absent = read_split(file, norman, aliases={"KIAA1804": "MAP3K21"})
        assert found.train and found.test and len(absent) > 50
        assert "MAP3K21" in {*found.train, *found.val, *found.test} or "MAP3K21" not in absent


def test_split_files_that_are_none(tmp_path):
    path = tmp_path / "split.json"
    screen = screen_of()
    for content, said in (
        ("{", "cannot be read as a split file"),
        ("[1]", "is no split file"),
        (json.dumps({"train_conditions": [], "val_conditions": []}), "is no split file"),
        (
            json.dumps(
                {"train_conditions": ["G1"], "val_conditions": [], "test_conditions": ["G1"]}
            ),
            "1 perturbations in train and in test, 'G1' first",
        ),
        (
            json.dumps(
                {"train_conditions": ["G1"], "val_conditions": [], "test_conditions": ["X"]}
            ),
            "no perturbation in test",
        ),
        (
            json.dumps(
                {"train_conditions": ["KLF1"], "val_conditions": [], "test_conditions": ["X"]}
            ),
            "none of the conditions in .* it names 'KLF1'.* another screen",
        ),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=said):
            read_split(path, screen)
