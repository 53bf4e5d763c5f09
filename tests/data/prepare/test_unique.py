"""Unique names held to anndata's own, sums of genes to pandas'."""

from __future__ import annotations

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
from cellwright.data.prepare.unique import unique
from cellwright.errors import RunError, SettingsError

N, G = 40, 12
STORAGES = {"csr": sp.csr_matrix, "csc": sp.csc_matrix, "dense": np.asarray}
OBS = [f"c{i % 33}" for i in range(N)]
VAR = ["a", "b", "a", "c", "a-1", "b", "d", "a", "e", "f", "g", "h"]


def make(storage, kind="f4"):
    rng = np.random.default_rng(0)
    values = rng.poisson(1.0, (N, G)).astype(kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that repeat
        cells = ad.AnnData(
            STORAGES[storage](values),
            obs=pd.DataFrame({"n": np.arange(N)}, OBS),
            var=pd.DataFrame({"g": np.arange(G)}, VAR),
        )
        cells.layers["scaled"] = rng.normal(size=(N, G))
        cells.layers["by_gene"] = sp.csc_matrix(values)
        cells.obsm["X"] = rng.random((N, 2))
        cells.varm["loadings"] = rng.random((G, 2))
        cells.obsp["near"] = sp.random(N, N, 0.2, "csr", random_state=0)
        cells.varp["alike"] = rng.random((G, G))
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


def summed(matrix):
    return pd.DataFrame(array(matrix).T).groupby(VAR, sort=False).sum().to_numpy().T


@pytest.mark.parametrize("ending", [".h5ad", ".zarr"])
@pytest.mark.parametrize("storage", STORAGES)
def test_names_get_the_suffixes_of_anndata(storage, ending, tmp_path):
    cells = make(storage)
    path, out = save(cells, tmp_path / f"in{ending}"), tmp_path / f"out{ending}"
    result = unique(path, out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells.obs_names_make_unique()
        cells.var_names_make_unique()
    made = load(out)
    assert made.obs_names.tolist() == cells.obs_names.tolist()
    assert made.var_names.tolist() == cells.var_names.tolist()
    np.testing.assert_array_equal(array(made.X), array(cells.X))
    np.testing.assert_array_equal(made.layers["scaled"], cells.layers["scaled"])
    np.testing.assert_array_equal(array(made.obsp["near"]), array(cells.obsp["near"]))
    assert (result.plan.repeated_cells, result.plan.repeated_genes) == (7, 3)
    assert "7 cells repeated an earlier name: given a suffix; 3 genes" in result.text()


@pytest.mark.parametrize("storage", STORAGES)
def test_genes_of_one_name_are_added_up_and_later_cells_dropped(storage, tmp_path, monkeypatch):
    monkeypatch.setattr(rows_module, "_LARGEST", 200)
    cells = make(storage)
    path, out = save(cells, tmp_path / "in.h5ad"), tmp_path / "out.h5ad"
    result = unique(path, out, genes="collapse", cells="drop")
    made = load(out)
    first_n, first_g = np.arange(33), np.array([0, 1, 3, 4, 6, 8, 9, 10, 11])
    assert made.obs_names.tolist() == OBS[:33]
    assert made.var_names.tolist() == [VAR[i] for i in first_g]
    np.testing.assert_array_equal(array(made.X), summed(cells.X)[:33])
    np.testing.assert_allclose(made.layers["scaled"], summed(cells.layers["scaled"])[:33])
    np.testing.assert_array_equal(array(made.layers["by_gene"]), summed(cells.X)[:33])
    assert made.obs["n"].tolist() == first_n.tolist() and made.var["g"].tolist() == list(first_g)
    np.testing.assert_array_equal(made.varm["loadings"], cells.varm["loadings"][first_g])
    np.testing.assert_array_equal(made.obsm["X"], cells.obsm["X"][:33])
    near = array(cells.obsp["near"])[:33, :33]
    np.testing.assert_array_equal(array(made.obsp["near"]), near)
    alike = cells.varp["alike"][np.ix_(first_g, first_g)]
    np.testing.assert_array_equal(made.varp["alike"], alike)
    assert "added up" in result.plan.sentence() and "dropped" in result.plan.sentence()


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_sums_do_not_overflow_the_type_of_the_source(data, tmp_path):
    kind = data.draw(st.sampled_from(["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"]))
    seed = data.draw(st.integers(0, 999))
    rng = np.random.default_rng(seed)
    g = data.draw(st.integers(1, 9))
    names = [f"g{i}" for i in rng.integers(0, 3, g)]
    most = 1 if kind == "?" else min(np.iinfo(kind).max if kind[0] in "iu" else 2**20, 2**40)
    values = rng.choice([0, 1, most], (15, g)).astype(kind)
    storage = data.draw(st.sampled_from(list(STORAGES)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells = ad.AnnData(np.zeros((15, g), np.float32))
        cells.var_names = names
        path, out = save(cells, tmp_path / "in.h5ad"), tmp_path / "out.h5ad"
    with h5py.File(path, "r+") as file:
        del file["X"]
        ad.io.write_elem(file, "X", STORAGES[storage](values))
    unique(path, out, genes="collapse", force=True)
    exact = pd.DataFrame(values.T.astype(object)).groupby(names, sort=False).sum().to_numpy().T
    found = array(load(out).X)
    assert found.astype(object).tolist() == [[int(v) for v in row] for row in exact.tolist()]


def test_names_that_are_unique_are_left_as_they_are(tmp_path):
    cells = ad.AnnData(sp.random(9, 5, 0.5, "csr", np.float32, random_state=0))
    path, out = save(cells, tmp_path / "in.h5ad"), tmp_path / "out.h5ad"
    result = unique(path, out, genes="collapse", cells="drop")
    made = load(out)
    np.testing.assert_array_equal(array(made.X), array(cells.X))
    assert made.X.dtype == np.float32
    assert result.plan.sentence() == "every cell name stood once; every gene name stood once"
    assert made.uns["cellwright"].keys() == {"0001-unique"}


def test_one_name_for_all(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells = ad.AnnData(np.ones((4, 3), np.float32))
        cells.obs_names, cells.var_names = ["c"] * 4, ["g"] * 3
        path = save(cells, tmp_path / "in.h5ad")
    unique(path, tmp_path / "out.h5ad", genes="collapse", cells="drop")
    assert load(tmp_path / "out.h5ad").X.tolist() == [[3.0]]


def test_the_name_of_the_index_stays(tmp_path):
    cells = make("csr")
    cells.obs.index.name, cells.var.index.name = "cell_label", "gene_identifier"
    path = save(cells, tmp_path / "in.h5ad")
    unique(path, tmp_path / "out.h5ad")
    made = load(tmp_path / "out.h5ad")
    assert (made.obs.index.name, made.var.index.name) == ("cell_label", "gene_identifier")


def test_rules_and_targets_that_cannot_work_are_named(tmp_path):
    path, out = save(make("csr"), tmp_path / "in.h5ad"), tmp_path / "out.h5ad"
    with pytest.raises(SettingsError, match="genes is 'drop', expected make_unique or collapse"):
        unique(path, out, genes="drop")
    with pytest.raises(SettingsError, match="cells is 'collapse', expected make_unique or drop"):
        unique(path, out, cells="collapse")
    out.write_text("mine")
    with pytest.raises(RunError, match=r"out\.h5ad exists already"):
        unique(path, out)
    assert out.read_text() == "mine"
