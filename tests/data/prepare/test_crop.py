"""Crops held to the same steps made in memory with NumPy, and to each other across storages."""

from __future__ import annotations

import csv
import json
import warnings

import anndata as ad
import h5py
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings

from cellwright.data.disk import rows as rows_module
from cellwright.data.disk.rewrite import LEAST_MEMORY
from cellwright.data.prepare import crop_choice
from cellwright.data.prepare.crop import COLUMNS, crop
from cellwright.data.prepare.join import join
from cellwright.errors import CellwrightError, DataError, RunError, SettingsError

N, G = 130, 45
STORAGES = {"csr": sp.csr_matrix, "csc": sp.csc_matrix, "dense": np.asarray}


def make(*args, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that repeat
        return _make(*args, **kwargs)


def _make(storage="csr", seed=0, *, twice=False, layer="counts"):
    """Cells of differing depth, some of them empty, genes of differing spread, some empty."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(1, 1, (N, 1)) * rng.gamma(0.5, 1, (1, G)))
    counts[rng.choice(N, 6, replace=False)] = 0
    counts[:, rng.choice(G, 4, replace=False)] = 0
    names = [f"g{i % 40 if twice else i}" for i in range(G)]
    cells_names = [f"c{i % 120 if twice else i}" for i in range(N)]
    cells = ad.AnnData(
        STORAGES[storage](counts.astype(np.float32)),
        obs=pd.DataFrame({"kind": pd.Categorical(rng.choice(list("ab"), N))}, cells_names),
        var=pd.DataFrame({"length": np.arange(G)}, names),
    )
    if layer:
        cells.X = STORAGES[storage](np.log1p(counts).astype(np.float32))
        cells.layers[layer] = STORAGES[storage](counts.astype(np.int32))
    cells.obsm["X_map"] = rng.random((N, 2))
    cells.raw = ad.AnnData(sp.csr_matrix(counts.astype(np.float32)), cells.obs, cells.var)
    return cells


def save(cells, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells.write_zarr(path) if path.suffix == ".zarr" else cells.write_h5ad(path)
    return path


def load(path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ad.read_zarr(path) if path.suffix == ".zarr" else ad.read_h5ad(path)


def array(matrix):
    return matrix.toarray() if sp.issparse(matrix) else np.asarray(matrix)


def summed(matrix, names):
    """Columns of one name added up, where the first of them stands."""
    table = pd.DataFrame(array(matrix).T.astype(float)).groupby(np.asarray(names), sort=False)
    return table.sum().to_numpy().T


def summary(counts):
    there = counts != 0
    return {
        "shape": list(counts.shape),
        "nonzero_fraction": there.mean(),
        "median_nonzero_per_cell": np.median(there.sum(axis=1)),
        "median_nonzero_per_gene": np.median(there.sum(axis=0)),
    }


def check(source, result, out, basis=None, **asked):
    """Redo the steps of a crop in memory; where it draws, hold the draw to its rules."""
    how = {"cells": 200, "genes": 500, "strata": 4, "min_gene_detect_frac": 0.05} | asked
    made = load(out)
    rows = made.uns["crop_indices"]["selected_cell_indices_from_input"]
    columns = made.uns["crop_indices"]["selected_gene_indices_from_input"]
    assert (np.diff(rows) > 0).all() and (np.diff(columns) > 0).all()
    collapse, drop = how.get("gene_dedupe") == "collapse", how.get("cell_dedupe") == "drop"
    layers = {None: source.X, **source.layers}
    kept_g = np.flatnonzero(~source.var_names.duplicated()) if collapse else np.arange(G)
    values = {k: summed(m, source.var_names) if collapse else array(m) for k, m in layers.items()}
    basis = basis or ("counts" if "counts" in values else None)
    kept_n = np.flatnonzero(~source.obs_names.duplicated()) if drop else np.arange(len(source))
    counts = values[basis][kept_n]
    if how.get("drop_allzero_cells"):
        kept_n = kept_n[(counts != 0).any(axis=1)]
    if how.get("drop_allzero_genes"):
        kept_g = kept_g[(counts != 0).any(axis=0)]
    place = {g: i for i, g in enumerate(np.flatnonzero(~source.var_names.duplicated()))}
    at = (lambda g: [place[i] for i in g]) if collapse else list
    before = values[basis][np.ix_(kept_n, at(kept_g))]
    assert result.before == summary(before)
    # Cells: from each stratum its quota, or all it has.
    assert set(rows) <= set(kept_n) and rows.size == min(how["cells"], kept_n.size)
    depth = (before != 0).sum(axis=1)
    strata = min(how["strata"], how["cells"])
    edges = np.quantile(depth, np.arange(1, strata) / strata)
    of_cell = (depth[:, None] > edges).sum(axis=1)
    taken = of_cell[np.isin(kept_n, rows)]
    for stratum in range(strata):
        there = (of_cell == stratum).sum()
        assert (taken == stratum).sum() >= min(there, rows.size // strata)
    # Genes: those found often enough, or else those found most.
    assert set(columns) <= set(kept_g)
    n_genes = kept_g.size if how["genes"] == "all" else min(how["genes"], kept_g.size)
    assert columns.size == n_genes
    if n_genes < kept_g.size:
        detected = (values[basis][np.ix_(rows, at(kept_g))] != 0).mean(axis=0)
        enough = detected >= how["min_gene_detect_frac"]
        least = np.sort(detected)[-n_genes]
        allowed = enough if enough.sum() >= n_genes else detected >= least
        assert set(columns) <= set(kept_g[allowed])
    # Everything is cut along.
    for key, whole in values.items():
        found = made.X if key is None else made.layers[key]
        np.testing.assert_allclose(array(found), whole[np.ix_(rows, at(columns))], rtol=1e-6)
        assert sp.issparse(found) is sp.issparse(layers[key])
    assert result.after == summary(values[basis][np.ix_(rows, at(columns))])
    assert made.obs["kind"].astype(str).tolist() == source.obs["kind"].iloc[rows].tolist()
    assert made.var["length"].tolist() == source.var["length"].iloc[columns].tolist()
    np.testing.assert_array_equal(made.obsm["X_map"], source.obsm["X_map"][rows])
    assert made.obs_names.is_unique and made.var_names.is_unique
    return made, rows, columns


ASKED = {
    "some": {"cells": 50, "genes": 12},
    "all genes": {"cells": 50, "genes": "all"},
    "more than there are": {"cells": 10**6, "genes": 10**6},
    "no zeros": {"cells": 60, "genes": 20, "drop_allzero_cells": True, "drop_allzero_genes": True},
    "only zeros go": {"cells": 500, "genes": "all", "drop_allzero_cells": True, "drop_allzero_genes": True},
    "many strata": {"cells": 50, "genes": 5, "strata": 20},
    "few strata": {"cells": 3, "genes": 5, "strata": 9},
    "rare genes": {"cells": 50, "genes": 30, "min_gene_detect_frac": 0.9},
    "one": {"cells": 1, "genes": 1},
}  # fmt: skip


@pytest.mark.parametrize("asked", ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("storage", STORAGES)
def test_a_crop_is_what_the_steps_give_in_memory(storage, asked, tmp_path):
    source = make(storage)
    path, out = save(source, tmp_path / "in.h5ad"), tmp_path / "out.h5ad"
    made, _, _ = check(source, crop(path, out, **asked), out, **asked)
    assert made.raw is None


@pytest.mark.parametrize("rules", [("make_unique", "drop"), ("collapse", "make_unique"), ("collapse", "drop")])  # fmt: skip
@pytest.mark.parametrize("storage", STORAGES)
def test_repeated_names_are_settled_before_anything_is_counted(storage, rules, tmp_path):
    source = make(storage, twice=True)
    path, out = save(source, tmp_path / "in.h5ad"), tmp_path / "out.h5ad"
    asked = {"gene_dedupe": rules[0], "cell_dedupe": rules[1], "cells": 40, "genes": 15}
    for zeros in (False, True):
        more = asked | {"drop_allzero_genes": zeros, "drop_allzero_cells": zeros}
        result = crop(path, out, **more, force=True)
        check(source, result, out, **more)
        assert (result.unique.repeated_cells, result.unique.repeated_genes) == (10, 5)
        assert "10 cells repeated an earlier name" in result.text()


def test_storages_and_endings_give_one_crop(tmp_path):
    asked = {"cells": 30, "genes": 10, "seed": 5}
    found = []
    for storage in STORAGES:
        for ending in (".h5ad", ".zarr"):
            path = save(make(storage), tmp_path / f"{storage}{ending}")
            crop(path, tmp_path / f"out{ending}", **asked, force=True)
            made = load(tmp_path / f"out{ending}")
            found.append(
                (made.obs_names.tolist(), made.var_names.tolist(), array(made.layers["counts"]))
            )
    for names, genes, counts in found[1:]:
        assert (names, genes) == found[0][:2]
        np.testing.assert_array_equal(counts, found[0][2])


@pytest.mark.parametrize("dropped", [False, True])
def test_stored_zeros_change_nothing(dropped, tmp_path, monkeypatch):
    """Offsets then overstate cells, so those put aside on the first reading are the wrong ones."""
    source = make(layer=None)
    dense = array(source.X)
    stuffed = sp.csr_matrix(np.where(dense == 0, 7, dense))
    gone = np.random.default_rng(1).random(N) < 0.5
    keep = (dense != 0) | gone[:, None]  # half of the cells hold all their zeros
    stuffed = sp.csr_matrix(
        (dense[keep], np.nonzero(keep)[1], np.r_[0, np.cumsum(keep.sum(axis=1))]), (N, G)
    )
    assert stuffed.nnz > source.X.nnz
    plain = save(source, tmp_path / "plain.h5ad")
    source.X = stuffed
    padded = save(source, tmp_path / "padded.h5ad")
    asked = {"cells": 40, "genes": 12, "drop_allzero_cells": dropped}
    crop(plain, tmp_path / "a.h5ad", **asked)
    result = crop(padded, tmp_path / "b.h5ad", **asked)
    check(source, result, tmp_path / "b.h5ad", **asked)
    one, other = load(tmp_path / "a.h5ad"), load(tmp_path / "b.h5ad")
    assert one.obs_names.tolist() == other.obs_names.tolist()
    assert one.var_names.tolist() == other.var_names.tolist()
    np.testing.assert_array_equal(array(one.X), array(other.X))


@pytest.mark.parametrize("storage", STORAGES)
def test_a_seed_gives_the_same_bytes_whatever_the_memory(storage, tmp_path, monkeypatch):
    path = save(make(storage), tmp_path / "in.h5ad")
    asked = {"cells": 50, "genes": 12, "report_csv": tmp_path / "r.csv", "force": True}
    crop(path, tmp_path / "large.h5ad", **asked)
    rows = (tmp_path / "r.csv").read_bytes()
    monkeypatch.setattr(rows_module, "_LARGEST", 500)
    monkeypatch.setattr(rows_module, "MOST_ROWS", 7)
    crop(path, tmp_path / "small.h5ad", **asked, memory=LEAST_MEMORY)
    assert (tmp_path / "small.h5ad").read_bytes() == (tmp_path / "large.h5ad").read_bytes()
    assert (tmp_path / "r.csv").read_bytes() == rows
    # Nothing can be put aside: the rows are read again.
    monkeypatch.setattr(crop_choice.CropChoice, "_fits", lambda *_: False)
    crop(path, tmp_path / "full.h5ad", **asked)
    assert (tmp_path / "full.h5ad").read_bytes() == (tmp_path / "large.h5ad").read_bytes()
    crop(path, tmp_path / "other.h5ad", **asked, seed=2)
    assert (tmp_path / "other.h5ad").read_bytes() != (tmp_path / "large.h5ad").read_bytes()


def test_what_is_recorded(tmp_path):
    path, out, report = save(make(), tmp_path / "in.h5ad"), tmp_path / "o.h5ad", tmp_path / "r.csv"
    result = crop(path, out, cells=50, genes=12, seed=9, report_csv=report)
    made = load(out)
    params = made.uns["crop_params"]
    assert {k: v.item() if hasattr(v, "item") else v for k, v in params.items()} == {
        "cells": 50, "genes": 12, "seed": 9, "strata": 4, "min_gene_detect_frac": 0.05,
        "alpha_detect": 1.0, "beta_std": 0.5, "drop_allzero_genes": False,
        "drop_allzero_cells": False, "gene_dedupe_mode": "make_unique",
        "cell_dedupe_mode": "make_unique", "input_basis": "layers/counts", "input_file": "in.h5ad",
    }  # fmt: skip
    with report.open() as handle:
        table = list(csv.DictReader(handle))
    assert list(table[0]) == list(COLUMNS) and len(table) == 2
    for row, stage in zip(table, ("before", "after"), strict=True):
        told = made.uns["sparsity_summary"][stage]
        assert row["stage"] == stage
        assert [int(row["n_obs"]), int(row["n_vars"])] == told["shape"].tolist()
        for key in COLUMNS[3:]:
            assert float(row[key]) == told[key] == getattr(result, stage)[key]
    record = json.loads(made.uns["cellwright"]["0001-crop"])
    assert record["basis"] == "layers/counts" and record["seed"] == 9
    crop(path, tmp_path / "all.h5ad", genes="all")
    assert load(tmp_path / "all.h5ad").uns["crop_params"]["genes"] == "all"


def test_the_layout_is_that_of_the_published_crop(real_data, tmp_path):
    [path] = (real_data / "whb_neurons").glob("*.h5ad")
    crop(path, tmp_path / "o.h5ad")
    published, ours = (load(p).uns for p in (path, tmp_path / "o.h5ad"))
    for key in ("crop_params", "sparsity_summary", "crop_indices"):
        assert set(published[key]) == set(ours[key])
    for stage in ("before", "after"):
        assert set(published["sparsity_summary"][stage]) == set(ours["sparsity_summary"][stage])
    told = published["sparsity_summary"]["after"]
    again = ours["sparsity_summary"]["before"]
    assert again["shape"].tolist() == told["shape"].tolist()
    for key in ("nonzero_fraction", "median_nonzero_per_cell", "median_nonzero_per_gene"):
        assert again[key] == pytest.approx(told[key], abs=1e-6)


def test_the_basis_may_be_chosen(tmp_path):
    source = make(layer="spliced")
    path, out = save(source, tmp_path / "in.h5ad"), tmp_path / "o.h5ad"
    assert crop(path, out, cells=20).basis == "X"
    for name in ("spliced", "layers/spliced"):
        result = crop(path, out, cells=20, genes=5, layer=name, force=True)
        assert result.basis == "layers/spliced"
        check(source, result, out, "spliced", cells=20, genes=5)
    with pytest.raises(DataError, match=r"has no matrix 'splised': did you mean 'spliced'"):
        crop(path, tmp_path / "no.h5ad", layer="splised")


def test_raw_is_kept_when_asked(tmp_path):
    source = make()
    path, out = save(source, tmp_path / "in.h5ad"), tmp_path / "o.h5ad"
    crop(path, out, cells=20, genes=5, keep_raw=True)
    made = load(out)
    rows = made.uns["crop_indices"]["selected_cell_indices_from_input"]
    np.testing.assert_array_equal(array(made.raw.X), array(source.raw.X)[rows])


def test_columns_beside_the_file_come_along(tmp_path):
    path = save(make(), tmp_path / "in.h5ad")
    table = pd.DataFrame(
        {"cell": [f"c{i}" for i in range(N)], "donor": [f"d{i % 7}" for i in range(N)]}
    )
    table.sample(frac=1, random_state=0).to_csv(tmp_path / "t.csv", index=False)
    join(path, tables=[tmp_path / "t.csv"], sidecar=True)
    crop(path, tmp_path / "o.h5ad", cells=30)
    made = load(tmp_path / "o.h5ad")
    assert made.obs["donor"].tolist() == [f"d{int(name[1:]) % 7}" for name in made.obs_names]


BAD = {
    "cells is 0": {"cells": 0},
    "genes is -3": {"genes": -3},
    "genes is 'many'": {"genes": "many"},
    "strata is 0": {"strata": 0},
    "seed is -1": {"seed": -1},
    r"min_gene_detect_frac is 1\.5": {"min_gene_detect_frac": 1.5},
    "min_gene_detect_frac is nan": {"min_gene_detect_frac": float("nan")},
    "alpha_detect is -1": {"alpha_detect": -1.0},
    "beta_std is inf": {"beta_std": float("inf")},
    "genes is 'sum', expected make_unique or collapse": {"gene_dedupe": "sum"},
}


@pytest.mark.parametrize("said", BAD)
def test_settings_that_cannot_work_are_named(said, tmp_path):
    path = save(make(), tmp_path / "in.h5ad")
    with pytest.raises(SettingsError, match=said):
        crop(path, tmp_path / "o.h5ad", **BAD[said])
    assert [p.name for p in tmp_path.iterdir()] == ["in.h5ad"]


def test_a_report_that_cannot_be_written_is_told_before_the_work(tmp_path):
    path, out = save(make(), tmp_path / "in.h5ad"), tmp_path / "o.h5ad"
    before = path.read_bytes()
    (tmp_path / "mine.csv").write_text("mine")
    with pytest.raises(RunError, match=r"mine\.csv exists already"):
        crop(path, out, report_csv=tmp_path / "mine.csv")
    with pytest.raises(DataError, match=r"the folder .*nowhere does not exist"):
        crop(path, out, report_csv=tmp_path / "nowhere" / "r.csv")
    for same in (path, out):
        with pytest.raises(DataError, match=rf"cannot write {same}"):
            crop(path, out, report_csv=same, force=True)
    assert not out.exists() and path.read_bytes() == before


def test_nothing_but_zeros_is_said(tmp_path):
    cells = ad.AnnData(sp.csr_matrix((8, 5), dtype=np.float32))
    path = save(cells, tmp_path / "in.h5ad")
    for name, what in (("drop_allzero_cells", "cell"), ("drop_allzero_genes", "gene")):
        with pytest.raises(DataError, match=f"every {what} is zero in X; nothing to crop"):
            crop(path, tmp_path / "o.h5ad", **{name: True})
    result = crop(path, tmp_path / "o.h5ad", cells=3, genes=2)
    assert result.after == summary(np.zeros((3, 2)))


def test_values_that_are_no_number_are_carried(tmp_path):
    source = make(layer=None)
    dense = array(source.X)
    dense[::3, 7] = np.nan
    dense[5, 9] = np.inf
    source.X = sp.csr_matrix(dense)
    path, out = save(source, tmp_path / "in.h5ad"), tmp_path / "o.h5ad"
    asked = {"cells": 60, "genes": 44, "min_gene_detect_frac": 0.0}
    check(source, crop(path, out, **asked), out, **asked)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_matrix_and_any_settings(data, tmp_path):
    """It is cropped as asked or refused in one sentence."""
    n, g = data.draw(st.integers(1, 25)), data.draw(st.integers(1, 12))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    kind = data.draw(st.sampled_from(["i1", "u1", "i8", "f4", "f8", "?"]))
    density = data.draw(st.sampled_from([0.0, 0.1, 0.6, 1.0]))
    values = np.where(rng.random((n, g)) < density, rng.integers(-3, 100, (n, g)), 0).astype(kind)
    matrix = data.draw(st.sampled_from(list(STORAGES.values())))(values)
    if sp.issparse(matrix) and data.draw(st.booleans()):
        matrix.data[:: data.draw(st.integers(1, 3))] = 0
        values = matrix.toarray()
    names = rng.integers(0, data.draw(st.sampled_from([3, 1000])), n + g)
    obs, var = ([f"x{i}" for i in part] for part in (names[:n], names[n:]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells = ad.AnnData(np.zeros((n, g), np.float32))
        cells.obs_names, cells.var_names = obs, var
        path, out = save(cells, tmp_path / "in.h5ad"), tmp_path / "out.h5ad"
    with h5py.File(path, "r+") as file:
        del file["X"]
        ad.io.write_elem(file, "X", matrix)
    asked = {
        "cells": data.draw(st.integers(1, 30)),
        "genes": data.draw(st.one_of(st.just("all"), st.integers(1, 15))),
        "strata": data.draw(st.integers(1, 6)),
        "seed": data.draw(st.integers(0, 9)),
        "min_gene_detect_frac": data.draw(st.sampled_from([0.0, 0.05, 0.5, 1.0])),
        "alpha_detect": data.draw(st.sampled_from([0.0, 1.0, 50.0])),
        "beta_std": data.draw(st.sampled_from([0.0, 0.5, 300.0])),
        "drop_allzero_genes": data.draw(st.booleans()),
        "drop_allzero_cells": data.draw(st.booleans()),
        "gene_dedupe": data.draw(st.sampled_from(["make_unique", "collapse"])),
        "cell_dedupe": data.draw(st.sampled_from(["make_unique", "drop"])),
    }
    try:
        result = crop(path, out, **asked, force=True)
    except CellwrightError as error:
        assert "nothing to crop" in str(error)
        first = ~pd.Index(obs).duplicated() if asked["cell_dedupe"] == "drop" else slice(None)
        assert not values[first].any() or asked["gene_dedupe"] == "collapse"
        return
    made = load(out)
    rows, columns = (
        made.uns["crop_indices"][f"selected_{what}_indices_from_input"] for what in ("cell", "gene")
    )
    wanted = values.astype(float)
    if asked["gene_dedupe"] == "collapse":
        wanted = np.stack([wanted[:, np.array(var) == name].sum(axis=1) for name in var], axis=1)
    np.testing.assert_array_equal(array(made.X).astype(float), wanted[np.ix_(rows, columns)])
    assert made.shape == (rows.size, columns.size) == (result.written.n_obs, result.written.n_vars)
    assert rows.size == min(asked["cells"], result.before["shape"][0])
    most = result.before["shape"][1]
    assert columns.size == (most if asked["genes"] == "all" else min(asked["genes"], most))
    assert made.obs_names.is_unique and made.var_names.is_unique
    assert not [p for p in tmp_path.iterdir() if p.name not in ("in.h5ad", "out.h5ad")]
