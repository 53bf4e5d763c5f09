"""Splits: whole groups, right sizes, every class, whatever the order of the cells."""

from __future__ import annotations

import gzip
import itertools

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from cellwright.data.reading import read_cells
from cellwright.data.simulate import simulate
from cellwright.data.split import Split, group_columns, split, split_unit
from cellwright.data.split_file import write_split
from cellwright.data.stratify import choose_cells, choose_groups
from cellwright.errors import DataError, RunError, SettingsError


def cells_of(**columns) -> anndata.AnnData:
    n = len(next(iter(columns.values())))
    obs = pd.DataFrame(columns, index=[f"cell{i:04d}" for i in range(n)])
    return anndata.AnnData(sparse.csr_matrix((n, 2), dtype=np.float32), obs=obs)


@pytest.fixture
def whb(real_data):
    return read_cells(real_data / "whb_neurons" / "whb_neurons_1152x2000.h5ad")


def groups_shared(made: Split, groups: pd.Series, one: str, other: str) -> int:
    parts = made.assignment.to_numpy()
    return len(set(groups[parts == one]) & set(groups[parts == other]))


@pytest.mark.parametrize("seed", range(5))
def test_unequal_libraries_meet_sizes_and_class_shares(whb, seed):
    """176 libraries of 1 to 163 cells, most of one class only."""
    made = split(whb, label="subtype", seed=seed)
    assert made.by == "library_label"
    assert made.rule == "whole-groups"
    assert made.note == ""
    parts = made.assignment.to_numpy()
    for one, other in itertools.combinations(("train", "val", "test"), 2):
        assert groups_shared(made, whb.obs["library_label"], one, other) == 0
    shares = pd.crosstab(whb.obs["subtype"].to_numpy(), parts, normalize="index")
    for part, goal in (("test", 0.2), ("val", 0.1)):
        assert made.counts[part] / whb.n_obs == pytest.approx(goal, abs=0.01)
        assert shares[part].to_numpy() == pytest.approx(goal, abs=0.025)


def test_choice_of_groups_is_near_the_best_of_all_choices():
    """Against the optimum over all subsets of 12 groups."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        counts_gk = rng.poisson(rng.lognormal(3, 1, (12, 1)) * rng.dirichlet(np.ones(3), 12))
        counts_gk = np.maximum(counts_gk, 1).astype(float)
        chosen = choose_groups(counts_gk, 0.25, rng)
        all_k = counts_gk.sum(axis=0)

        def error(mask, counts_gk=counts_gk, all_k=all_k):
            part_k = counts_gk[list(mask)].sum(axis=0)
            size = part_k.sum() / all_k.sum() - 0.25
            return size**2 + np.mean((part_k / all_k - 0.25) ** 2)

        every = itertools.product([False, True], repeat=12)
        best = min(error(mask) for mask in every if 0 < sum(mask) < 12)
        assert np.sqrt(error(chosen)) < np.sqrt(best) + 0.01


def test_groups_stay_whole_with_one_giant_and_one_class_each():
    counts_gk = np.array([[900.0, 0], [0, 30], [40, 0], [0, 25], [30, 5]])
    for seed in range(5):
        chosen = choose_groups(counts_gk, 0.1, np.random.default_rng(seed), leave=2)
        assert not chosen[0]
        assert (counts_gk[chosen].sum(axis=0) > 0).all()
        assert (~chosen).sum() >= 2


def test_cells_are_chosen_by_largest_remainder():
    codes_n = np.repeat([0, 1, 2, 3], [50, 33, 2, 1])
    chosen = choose_cells(codes_n, 0.2, np.random.default_rng(0))
    assert np.bincount(codes_n[chosen], minlength=4).tolist() == [10, 7, 1, 0]


def test_every_cell_is_equally_likely_to_be_held_out():
    codes_n = np.repeat([0, 1], [30, 20])
    times_n = np.zeros(50)
    for seed in range(2000):
        times_n += choose_cells(codes_n, 0.2, np.random.default_rng(seed))
    # Binomial with p = 0.2: a standard deviation of 17.9 in 2,000 draws.
    assert np.abs(times_n - 400).max() < 5 * 17.9


def test_the_order_of_cells_does_not_matter(whb):
    order = np.random.default_rng(3).permutation(whb.n_obs)
    for by in ("auto", None):
        one, two = split(whb, by=by, label="subtype"), split(whb[order], by=by, label="subtype")
        assert one.hash == two.hash
        assert (one.assignment[whb.obs_names] == two.assignment[whb.obs_names]).all()
        assert two.assignment.index.equals(whb.obs_names[order])


def test_seeds_differ_and_val_does_not_move_test(whb):
    one = split(whb, label="subtype", seed=0)
    assert one.hash == split(whb, label="subtype", seed=0).hash
    assert one.hash != split(whb, label="subtype", seed=1).hash
    other = split(whb, label="subtype", seed=0, val=0.3)
    assert ((one.assignment == "test") == (other.assignment == "test")).all()


def test_single_cells_keep_exact_class_shares_and_say_so(whb):
    made = split(whb, by=None, label="subtype", val=0.0, test=0.2, seed=42)
    assert made.counts == {"train": 922, "val": 0, "test": 230}
    test = made.assignment.to_numpy() == "test"
    assert (whb.obs["subtype"][test] == "cluster_2523").sum() == 124
    assert "Single cells were split, as asked" in made.note
    assert made.by is None
    assert made.rule == "random-cells"
    assert split(whb, by="none", label="subtype", val=0.0, seed=42).hash == made.hash


def test_without_a_grouping_column_the_split_says_so():
    made = split(cells_of(kind=list("ab") * 50), label="kind")
    assert made.by is None
    assert "No column groups the cells" in made.note


def test_a_path_is_split_like_the_cells(tmp_path):
    cells = simulate(200, 40)
    cells.write_h5ad(tmp_path / "c.h5ad")
    assert split(tmp_path / "c.h5ad").hash == split(cells).hash


def test_nothing_is_changed(whb):
    before = whb.obs.copy()
    split(whb, label="subtype")
    pd.testing.assert_frame_equal(whb.obs, before)
    assert "cellwright" not in whb.uns


def test_the_unit_is_the_widest_that_fits():
    n = 60
    obs = pd.DataFrame(
        {
            "batch": np.arange(n) % 4,
            "Library Label": np.arange(n) % 5,
            "donor_id": np.arange(n) % 3,
            "sample": np.arange(n),  # names each cell: no group
            "patient": "p1",  # one value: no group
        }
    )
    assert group_columns(obs) == ["donor_id", "Library Label", "batch"]
    assert split_unit(obs) == "donor_id"
    assert split_unit(obs.assign(donor_id=np.arange(n) % 2)) == "Library Label"
    assert split_unit(obs[["donor_id"]].assign(donor_id=np.arange(n) % 2)) == "donor_id"
    assert split_unit(obs[["sample", "patient"]]) is None


def test_simulated_neurons_are_split_by_donor():
    made = split(simulate(600, 40), label="subclass")
    assert made.by == "donor"
    assert made.counts["test"] / 600 == pytest.approx(0.2, abs=0.07)


def test_two_groups_give_a_test_group_and_val_cells():
    cells = cells_of(donor=["a"] * 70 + ["b"] * 30, kind=list("xyxyx") * 20)
    made = split(cells, label="kind")
    test = made.assignment == "test"
    assert set(cells.obs["donor"][test.to_numpy()]) == {"b"}
    assert made.counts["val"] == 10
    assert "donor has two groups only" in made.note
    assert "val holds single cells" in made.note


def test_cells_without_a_group_are_units_of_their_own():
    donor = pd.Series(list("abcd") * 25, dtype=object)
    donor[::5] = None
    made = split(cells_of(donor=donor.to_numpy(), kind=list("xy") * 50), label="kind")
    assert "20 of 100 cells have no donor" in made.note
    lone = donor.isna().to_numpy()
    assert made.counts["test"] == pytest.approx(20, abs=6)
    assert set(made.assignment[lone]) == {"train", "val", "test"}
    parts = made.assignment.to_numpy()[~lone]
    per_group = pd.crosstab(donor[~lone].to_numpy(), parts)
    assert ((per_group > 0).sum(axis=1) == 1).all()


def test_cells_without_a_label_are_a_class_of_their_own():
    kind = np.array(["x", "y", None, "x"] * 25, dtype=object)
    made = split(cells_of(kind=kind), label="kind", val=0.0)
    assert "25 of 100 cells have no kind" in made.note
    unlabelled = pd.isna(kind) & (made.assignment == "test").to_numpy()
    assert unlabelled.sum() == 5


def test_a_class_of_one_cell_stays_in_train_and_is_named():
    made = split(cells_of(kind=["rare"] + ["x", "y"] * 30), label="kind")
    assert made.assignment.iloc[0] == "train"
    assert "1 classes of kind have one cell (rare)" in made.note


def test_tiny_data_works():
    made = split(simulate(50, 30), label="cell_class")
    assert min(made.counts.values()) > 0


@pytest.mark.parametrize(
    ("asked", "error", "told"),
    [
        ({"by": "donr"}, DataError, "'donr' in obs: did you mean 'donor'"),
        ({"label": "knd"}, DataError, "'knd' in obs: did you mean 'kind'"),
        ({"by": "qqq"}, DataError, "columns: donor, kind"),
        ({"by": "one"}, DataError, r"'one' holds one group only \('g'\)"),
        ({"label": "one"}, DataError, r"'one' holds one class only \('g'\)"),
        ({"label": "empty"}, DataError, r"'empty' holds one class only \(nothing\)"),
        ({"label": "number"}, DataError, "'number' holds 60 different values in 60 cells"),
        ({"by": "kind", "label": "kind"}, SettingsError, "'kind' was given as group and as label"),
        ({"test": 1.0}, SettingsError, "test is 1.0"),
        ({"val": -0.1}, SettingsError, "val is -0.1"),
        ({"val": 0.5, "test": 0.6}, SettingsError, r"val 0\.5 and test 0\.6 sum to 1\.1"),
        ({"val": 0.0, "test": 0.0}, SettingsError, "nothing to split"),
    ],
)
def test_what_cannot_be_split_is_named(asked, error, told):
    cells = cells_of(
        donor=list("abc") * 20,
        kind=list("xy") * 30,
        one=["g"] * 60,
        empty=[np.nan] * 60,
        number=np.linspace(0, 1, 60),
    )
    with pytest.raises(error, match=told):
        split(cells, **asked)


def test_too_few_cells_and_repeated_names_are_refused():
    with pytest.raises(DataError, match="2 cells cannot be split"):
        split(cells_of(kind=["x", "y"]))
    cells = cells_of(kind=list("xy") * 5)
    cells.obs_names = ["same", "same", *cells.obs_names[2:]]
    with pytest.raises(DataError, match="'same' stands 2 times"):
        split(cells)


def test_rows_apply_and_verify(whb):
    made = split(whb, label="subtype")
    made.apply(whb)
    assert list(whb.obs["split"].cat.categories) == ["train", "val", "test"]
    for part in ("train", "val", "test"):
        rows = made.rows(part, whb.obs_names)
        assert rows.dtype == np.int64
        assert (whb.obs["split"].iloc[rows] == part).all()
        assert len(rows) == made.counts[part]
    assert made.rows("test", ["unknown", *whb.obs_names]).min() > 0
    made.verify(whb.obs)
    again = Split.from_obs(whb)
    assert again.hash == made.hash
    assert (again.by, again.label) == ("library_label", "subtype")
    with pytest.raises(DataError, match="'tset'"):
        made.rows("tset", whb.obs_names)


def test_the_split_survives_a_file(whb, tmp_path):
    made = split(whb, label="subtype")
    made.apply(whb)
    whb.write_h5ad(tmp_path / "c.h5ad")
    made.save(tmp_path / "split.toml", cells=True)
    read = anndata.read_h5ad(tmp_path / "c.h5ad")
    assert Split.from_obs(read).hash == made.hash
    loaded = Split.load(tmp_path / "split.toml")
    loaded.verify(read.obs)
    assert (loaded.assignment[whb.obs_names] == made.assignment[whb.obs_names]).all()
    assert loaded.to_dict() == made.to_dict()


def test_what_differs_is_named(tmp_path):
    cells = cells_of(kind=list("xy") * 50)
    made = split(cells, label="kind")
    made.apply(cells)
    made.save(tmp_path / "split.toml", cells=True)
    made.save(tmp_path / "bare.toml")
    known, bare = Split.load(tmp_path / "split.toml"), Split.load(tmp_path / "bare.toml")

    dropped = cells.obs.iloc[3:]
    with pytest.raises(RunError, match=r"3 cells missing \(first 'cell0000'\)"):
        known.verify(dropped)
    with pytest.raises(RunError, match=r"cells, expected \d+"):
        bare.verify(dropped)

    moved = cells.obs.copy()
    name = moved.index[moved["split"] == "test"][0]
    moved.loc[name, "split"] = "train"
    with pytest.raises(RunError, match=f"1 cells moved .first '{name}', test before, train here"):
        known.verify(moved)

    swapped = moved.copy()
    swapped.loc[moved.index[(moved["split"] == "train") & (moved.index != name)][0], "split"] = (
        "test"
    )
    with pytest.raises(RunError, match="other cells"):
        bare.verify(swapped)

    renamed = cells.obs.rename(index={"cell0000": "new"})
    with pytest.raises(RunError, match=r"1 cells unknown \(first 'new'\)"):
        known.verify(renamed)
    with pytest.raises(DataError, match="without its list of cells"):
        bare.rows("test", cells.obs_names)


def test_a_changed_or_foreign_split_column_is_told(caplog):
    cells = cells_of(kind=list("xy") * 50)
    split(cells, label="kind").apply(cells)
    fewer = cells[10:].copy()
    assert "not the split recorded here" in Split.from_obs(fewer).note
    own = cells_of(kind=list("xy") * 50)
    with pytest.raises(DataError, match=r"no obs\['split'\]"):
        Split.from_obs(own)
    own.obs["split"] = ["train"] * 80 + ["test"] * 20
    assert "not made by cellwright" in Split.from_obs(own).note
    assert Split.from_obs(own).counts == {"train": 80, "val": 0, "test": 20}
    own.obs["split"] = ["train"] * 80 + ["heldout"] * 20
    with pytest.raises(DataError, match=r"'heldout' in 20 of 100 cells"):
        Split.from_obs(own)


def test_applying_to_other_cells_is_refused():
    made = split(cells_of(kind=list("xy") * 20))
    with pytest.raises(DataError, match="20 of 60 cells are not in the split"):
        made.apply(cells_of(kind=list("xy") * 30))


def test_files_that_are_no_split_are_named(tmp_path):
    with pytest.raises(RunError, match=r"nothing\.toml"):
        Split.load(tmp_path / "nothing.toml")
    (tmp_path / "other.toml").write_text('schema = "something/1"\n')
    with pytest.raises(RunError, match="something/1"):
        Split.load(tmp_path / "other.toml")
    made = split(cells_of(kind=list("xy") * 20))
    made.save(tmp_path / "s.toml", cells=True)
    text = (tmp_path / "s.toml").read_text()
    (tmp_path / "s.toml").write_text(text.replace("seed = 0\n", ""))
    with pytest.raises(RunError, match="lacks seed"):
        Split.load(tmp_path / "s.toml")
    (tmp_path / "s.toml").write_text(text)
    lines = gzip.decompress((tmp_path / "s.cells.txt.gz").read_bytes())
    (tmp_path / "s.cells.txt.gz").write_bytes(gzip.compress(lines.replace(b"\ttest", b"\tval")))
    with pytest.raises(RunError, match=r"s\.cells\.txt\.gz is not the split"):
        Split.load(tmp_path / "s.toml")
    (tmp_path / "s.cells.txt.gz").write_bytes(b"not gzip")
    with pytest.raises(RunError, match="cannot be read"):
        Split.load(tmp_path / "s.toml")


def test_writing_adds_the_split_and_leaves_the_rest(tmp_path):
    cells = simulate(300, 60)
    cells.layers["counts"] = cells.X.copy()
    cells.write_h5ad(tmp_path / "in.h5ad")
    made = split(cells, label="subclass")
    write_split(tmp_path / "in.h5ad", tmp_path / "out.h5ad", made)
    before, after = (
        anndata.read_h5ad(tmp_path / "in.h5ad"),
        anndata.read_h5ad(tmp_path / "out.h5ad"),
    )
    Split.from_obs(after)
    made.verify(after.obs)
    pd.testing.assert_frame_equal(after.obs.drop(columns="split"), before.obs)
    pd.testing.assert_frame_equal(after.var, before.var)
    assert (after.layers["counts"] != before.layers["counts"]).nnz == 0
    assert set(after.uns) == {"truth", "cellwright"}
    # Splitting again replaces the column and keeps both records.
    other = split(cells, by="none", seed=9)
    write_split(tmp_path / "out.h5ad", tmp_path / "out.h5ad", other, force=True)
    twice = anndata.read_h5ad(tmp_path / "out.h5ad")
    assert Split.from_obs(twice).hash == other.hash
    assert sorted(twice.uns["cellwright"]) == ["0001-split", "0002-split"]
    assert list(twice.obs.columns).count("split") == 1


def test_writing_refuses_an_existing_file_and_leaves_nothing_half_written(tmp_path):
    cells = simulate(50, 30)
    cells.write_h5ad(tmp_path / "in.h5ad")
    made = split(cells)
    (tmp_path / "out.h5ad").write_text("mine")
    with pytest.raises(RunError, match=r"out\.h5ad exists already"):
        write_split(tmp_path / "in.h5ad", tmp_path / "out.h5ad", made)
    other = split(cells_of(kind=list("xy") * 20))
    with pytest.raises(DataError, match="50 of 50 cells are not in the split"):
        write_split(tmp_path / "in.h5ad", tmp_path / "new.h5ad", other)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.h5ad", "out.h5ad"]


def test_a_file_of_an_old_format_is_written_anew(tmp_path):
    path = tmp_path / "old.h5ad"
    names = np.array([f"c{i}".encode() for i in range(12)])
    with h5py.File(path, "w") as file:
        file["X"] = np.arange(24, dtype=np.float32).reshape(12, 2)
        file["obs"] = np.rec.fromarrays([names], names="index")
        file["var"] = np.rec.fromarrays([np.array([b"g0", b"g1"])], names="index")
    made = split(read_cells(path))
    write_split(path, tmp_path / "new.h5ad", made)
    made.verify(anndata.read_h5ad(tmp_path / "new.h5ad").obs)
