"""Leakage checks: each planted leak is found, counted and named; clean splits stay clean."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellwright.data.reading import cell_hashes, counts_of, read_cells
from cellwright.data.simulate import simulate
from cellwright.data.split import split
from cellwright.errors import DataError
from cellwright.evaluation.confounding import confounding
from cellwright.evaluation.leakage import check_seen, check_split


@pytest.fixture(scope="module")
def neurons():
    return simulate(600, 60, seed=2)


@pytest.fixture(scope="module")
def hashes(neurons):
    return cell_hashes(neurons.X)


@pytest.fixture(scope="module")
def made(neurons):
    return split(neurons, label="cell_class")


def found(checks, name):
    return next((check for check in checks if check.name == name), None)


def test_a_clean_split_has_no_failure(neurons, made, hashes):
    checks = check_split(made, neurons.obs, hashes)
    assert {check.severity for check in checks} == {"note"}
    assert "None of the 6 groups of donor" in found(checks, "groups-on-both-sides").sentence
    assert "600 of 600 cells compared" in found(checks, "duplicate-cells").sentence


def test_a_moved_cell_is_a_group_on_both_sides(neurons, made):
    parts = made.assignment.copy()
    name = parts.index[parts == "train"][0]
    donor = neurons.obs.loc[name, "donor"]
    parts[name] = "test"
    check = found(check_split(parts, neurons.obs, by="donor"), "groups-on-both-sides")
    assert check.severity == "failure"
    n_test = (parts == "test").sum()
    assert f"1 of 6 groups of donor are in test and outside it ({donor})" in check.sentence
    assert f"with 1 of {n_test} test cells" in check.sentence


def test_copies_across_the_split_are_counted_and_named(neurons, made, hashes):
    test = np.flatnonzero(made.assignment == "test")
    train = np.flatnonzero(made.assignment == "train")
    copied = hashes.copy()
    copied[test[:7]] = copied[train[:7]]
    check = found(check_split(made, neurons.obs, copied), "duplicate-cells")
    assert check.severity == "failure"
    assert check.sentence.startswith(f"7 of {len(test)} test cells have the very counts")
    named = {
        (neurons.obs_names[i], neurons.obs_names[j]) for i, j in zip(test, train, strict=False)
    }
    assert any(one in check.sentence and other in check.sentence for one, other in named)


def test_copies_on_one_side_are_no_leak(neurons, made, hashes):
    test = np.flatnonzero(made.assignment == "test")
    copied = hashes.copy()
    copied[test[:5]] = copied[test[5]]
    check = found(check_split(made, neurons.obs, copied), "duplicate-cells")
    assert check.severity == "note"


def test_sparse_and_empty_cells_may_be_equal_by_chance(neurons, made, hashes):
    test = np.flatnonzero(made.assignment == "test")[:3]
    train = np.flatnonzero(made.assignment == "train")[:3]
    genes_n = np.full(600, 50)
    genes_n[test[0]] = genes_n[train[0]] = 4
    equal = hashes.copy()
    equal[test[0]] = equal[train[0]]
    empty = cell_hashes(np.zeros((1, 60)))[0]
    equal[test[1]] = equal[train[1]] = empty
    checks = check_split(made, neurons.obs, equal, genes_n=genes_n)
    assert found(checks, "duplicate-cells").severity == "note"
    assert "596 of 600 cells compared" in found(checks, "duplicate-cells").sentence
    assert found(checks, "equal-sparse-cells").sentence.startswith("1 patterns of fewer than 10")


def test_without_counts_copies_are_not_looked_for(neurons, made):
    assert "not looked for" in found(check_split(made, neurons.obs), "duplicate-cells").sentence


def test_one_name_with_two_hashes_is_two_cells():
    obs = pd.DataFrame({"kind": list("xyxy")}, index=["a", "a", "b", "c"])
    parts = pd.Series(["train", "train", "test", "test"], index=obs.index)
    checks = check_split(parts, obs, np.array([1, 2, 3, 4], dtype=np.uint64))
    check = found(checks, "one-name-two-cells")
    assert check.severity == "warning"
    assert "1 cell names stand for cells with different counts (a)" in check.sentence
    same = check_split(parts, obs, np.array([1, 1, 3, 4], dtype=np.uint64))
    assert found(same, "one-name-two-cells") is None


def test_random_cells_beside_a_grouping_column_warn(neurons, hashes):
    made = split(neurons, by=None, label="cell_class")
    check = found(check_split(made, neurons.obs, hashes), "random-cells")
    assert check.severity == "warning"
    assert "although donor groups them: 6 of 6 groups are on both sides" in check.sentence
    assert "--by donor" in check.remedy
    bare = neurons.obs[["cell_class"]]
    assert found(check_split(made.assignment, bare), "random-cells").severity == "note"


def test_a_narrower_unit_than_the_donor_warns(neurons):
    made = split(neurons, by="library_label", label="cell_class", seed=1)
    shared = pd.crosstab(neurons.obs["donor"].to_numpy(), (made.assignment == "test").to_numpy())
    expected = int((shared > 0).all(axis=1).sum())
    assert expected > 0
    check = found(check_split(made, neurons.obs), "wider-groups")
    assert check.severity == "warning"
    assert f"{expected} of 6 groups of donor are on both sides" in check.sentence


def test_train_and_val_of_one_group_warn():
    obs = pd.DataFrame({"donor": ["a"] * 150 + ["b"] * 150}, index=[f"c{i}" for i in range(300)])
    parts = pd.Series(["train"] * 100 + ["val"] * 50 + ["test"] * 150, index=obs.index)
    checks = check_split(parts, obs, by="donor")
    assert found(checks, "groups-on-both-sides").severity == "note"
    assert "train and val: 1 (a)" in found(checks, "groups-in-train-and-val").sentence


def test_cells_without_group_warn():
    donor = np.array(["a", "b", "c", None] * 100, dtype=object)
    obs = pd.DataFrame({"donor": donor}, index=[f"c{i}" for i in range(400)])
    parts = pd.Series(np.where(donor == "a", "test", "train"), index=obs.index)
    parts.iloc[3] = "test"
    check = found(check_split(parts, obs, by="donor"), "cells-without-group")
    assert "100 of 400 cells have no donor, 1 of them in test" in check.sentence


def test_missing_and_small_classes_are_named():
    obs = pd.DataFrame({"kind": ["x"] * 200 + ["y"] * 20 + ["z"] * 4})
    obs.index = [f"c{i}" for i in range(224)]
    parts = pd.Series("train", index=obs.index)
    parts.iloc[:120] = "test"
    parts.iloc[200:203] = "test"
    checks = check_split(parts, obs, label="kind")
    assert "1 of 3 classes of kind have no cell in test (z)" in (
        found(checks, "classes-missing").sentence
    )
    assert "(y: 3)" in found(checks, "classes-small").sentence


def test_a_small_test_set_is_told_with_its_uncertainty():
    obs = pd.DataFrame({"donor": list("abcd") * 15}, index=[f"c{i}" for i in range(60)])
    parts = pd.Series(np.where(obs["donor"] == "a", "test", "train"), index=obs.index)
    checks = check_split(parts, obs)
    # The half-width of a 95 % interval around one half: 1.96 sqrt(0.25 / 15).
    assert "15 cells" in found(checks, "test-size").sentence
    assert f"± {1.96 * np.sqrt(0.25 / 15):.2f}" in found(checks, "test-size").sentence
    assert "Groups of donor in test: 1" in found(checks, "test-units").sentence
    none = check_split(pd.Series("train", index=obs.index), obs)
    assert "No cell is in test" in found(none, "test-size").sentence


def test_a_label_that_is_the_batch_is_told():
    obs = pd.DataFrame({"batch": list("abcd") * 50, "kind": list("xxyy") * 50})
    obs.index = [f"c{i}" for i in range(200)]
    made = check_split(
        pd.Series(["train"] * 100 + ["test"] * 100, index=obs.index), obs, label="kind"
    )
    check = found(made, "label-confounded")
    assert check.severity == "warning"
    assert "batch alone names kind for 1.000 of the cells (largest class: 0.500" in check.sentence
    assert "4 of 4 groups" in check.sentence


def test_confounding_is_the_leave_one_out_majority():
    """Against a loop over cells."""
    rng = np.random.default_rng(0)
    groups = pd.Series(rng.integers(0, 30, 200).astype(str))
    labels = pd.Series(
        np.where(rng.random(200) < 0.6, groups.astype(int) % 3, rng.integers(0, 3, 200))
    )
    hits = 0.0
    largest = labels.value_counts().idxmax()
    for n in range(200):
        others = labels[(groups == groups[n]) & (groups.index != n)].value_counts()
        if others.empty:
            hits += labels[n] == largest
        else:
            top = others.index[others == others.max()]
            hits += (labels[n] in top) / len(top)
    measured = confounding(labels, groups)
    assert measured.accuracy == pytest.approx(hits / 200, abs=1e-12)
    assert measured.majority == pytest.approx(labels.value_counts().max() / 200)


def test_confounding_gives_chance_no_credit():
    """Random groups of three cells tell nothing; counting the cell itself would say 0.67."""
    rng = np.random.default_rng(1)
    labels = pd.Series(rng.random(3000) < 0.5)
    groups = pd.Series(np.repeat(np.arange(1000), 3))
    assert confounding(labels, groups).accuracy == pytest.approx(0.5, abs=0.03)
    assert not confounding(labels, groups).strong


def test_the_library_of_the_real_neurons_gives_their_type_away(real_data):
    cells = read_cells(real_data / "whb_neurons" / "whb_neurons_1152x2000.h5ad")
    made = split(cells, label="subtype")
    checks = check_split(made, cells.obs, cell_hashes(counts_of(cells)))
    assert not [check for check in checks if check.severity == "failure"]
    measured = confounding(cells.obs["subtype"], cells.obs["library_label"])
    assert found(checks, "label-confounded").severity == "warning"
    assert measured.accuracy == pytest.approx(0.90, abs=0.03)  # published protocol: 0.875


def test_seen_is_told_by_counts_and_only_then_by_name():
    fitted = ["a", "b", "zero"]
    empty = cell_hashes(np.zeros((1, 3)))[0]
    hashes = np.array([1, 2, empty], dtype=np.uint64)
    asked = np.array([1, 9, 2, 7, empty, empty], dtype=np.uint64)
    seen = check_seen(fitted, hashes, ["a", "b", "copy-of-b", "new", "zero", "other-zero"], asked)
    assert seen.tolist() == [
        "seen-unlabelled",  # same name, same counts
        "clean",  # one name with two hashes is two cells
        "seen-unlabelled",  # one hash under two names is a duplicate
        "clean",
        "seen-unlabelled",  # empty cells are told by name
        "clean",
    ]
    by_name = check_seen(fitted, None, ["a", "x"], asked[:2])
    assert by_name.tolist() == ["seen-unlabelled", "clean"]
    with pytest.raises(DataError, match="1 hashes for 2 cells"):
        check_seen(fitted, hashes, ["a", "b"], asked[:1])


def test_what_does_not_fit_is_named(neurons, made, hashes):
    with pytest.raises(DataError, match="599 hashes for 600 cells"):
        check_split(made, neurons.obs, hashes[1:])
    with pytest.raises(DataError, match="'colour'"):
        check_split(made.assignment, neurons.obs, label="colour")
    lost = made.assignment.iloc[2:]
    with pytest.raises(DataError, match=f"2 of 600 cells .* {neurons.obs_names[0]!r}"):
        check_split(lost, neurons.obs)
    twice = pd.concat([made.assignment, made.assignment.iloc[:1]])
    with pytest.raises(DataError, match=f"{neurons.obs_names[0]!r} stands twice"):
        check_split(twice, neurons.obs)
