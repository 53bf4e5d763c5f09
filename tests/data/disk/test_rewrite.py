"""What is written reads back as plain anndata in memory would have cut it."""

from __future__ import annotations

import anndata as ad
import h5py
import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings

from cellwright.data.disk import rows as rows_module
from cellwright.data.disk import sink
from cellwright.data.disk.rewrite import LEAST_MEMORY, TableEdit, rewrite
from cellwright.errors import DataError, RunError, SettingsError

N, G = 210, 37
ENDINGS = (".h5ad", ".zarr")


def expected(read, path, rows, columns):
    """The selection made in memory; CSC as CSR, and categories lost where rows are."""
    whole = read(path)
    cut = whole[
        slice(None) if rows is None else rows, slice(None) if columns is None else columns
    ].copy()
    if rows is None:
        cut.obs, cut.uns = whole.obs, whole.uns
    if columns is None:
        cut.var = whole.var
    for name in [None, *cut.layers]:
        matrix = cut.X if name is None else cut.layers[name]
        if sp.issparse(matrix):
            matrix = sp.csr_matrix(matrix)
            matrix.sort_indices()
            if name is None:
                cut.X = matrix
            else:
                cut.layers[name] = matrix
    if sp.issparse(cut.raw.X):
        raw = ad.AnnData(sp.csr_matrix(cut.raw.X), obs=cut.obs, var=cut.raw.var)
        raw.varm.update(dict(cut.raw.varm))
        cut.raw = raw
    return cut


@pytest.mark.parametrize("storage", ["csr", "csc", "dense"])
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("target", ENDINGS)
@pytest.mark.parametrize(("cut_rows", "cut_columns"), [(True, True), (False, False)])
def test_everything_is_cut_along(
    atlases, read, same, storage, ending, target, cut_rows, cut_columns, tmp_path
):
    rng = np.random.default_rng(1)
    # The first five cells are the only ones of their type, and go.
    rows = np.sort(rng.choice(np.arange(5, N), 60, replace=False)) if cut_rows else None
    columns = np.sort(rng.choice(G, 11, replace=False)) if cut_columns else None
    path, out = atlases[storage, ending], tmp_path / f"out{target}"
    written = rewrite(path, out, rows=rows, columns=columns)
    found = read(out)
    same(found, expected(read, path, rows, columns))
    assert (written.n_obs, written.n_vars) == found.shape
    assert ("rare" in found.obs["type"].cat.categories) is (not cut_rows)
    assert len(found.uns["type_colors"]) == (1 if cut_rows else 2)
    assert any("by_gene" in note for note in written.notes)
    assert any(note.startswith("X was stored by gene") for note in written.notes) is (
        storage == "csc"
    )


@pytest.mark.parametrize(("cut_rows", "cut_columns"), [(True, False), (False, True)])
@pytest.mark.parametrize("storage", ["csr", "csc", "dense"])
def test_one_side_may_stay_whole(atlases, read, same, storage, cut_rows, cut_columns, tmp_path):
    rows = np.arange(5, N, 3) if cut_rows else None
    columns = np.arange(0, G, 2) if cut_columns else None
    rewrite(atlases[storage, ".h5ad"], tmp_path / "o.h5ad", rows=rows, columns=columns)
    same(read(tmp_path / "o.h5ad"), expected(read, atlases[storage, ".h5ad"], rows, columns))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_matrix_and_any_selection(data, read, write, tmp_path):
    """Shapes, densities, types, chunks, row order within a file: all drawn."""
    n, g = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 30))
    seed = data.draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    kind = data.draw(st.sampled_from(["i1", "u2", "i4", "i8", "f4", "f8"]))
    density = data.draw(st.sampled_from([0.0, 0.05, 0.4, 1.0]))
    values = np.where(rng.random((n, g)) < density, rng.integers(0, 100, (n, g)), 0).astype(kind)
    storage = data.draw(st.sampled_from(["csr", "csc", "dense"]))
    path, out = tmp_path / "in.h5ad", tmp_path / "out.h5ad"
    cells = ad.AnnData(np.zeros((n, g), np.float32))
    cells.obs_names, cells.var_names = [f"c{i}" for i in range(n)], [f"g{i}" for i in range(g)]
    write(cells, path)
    chunk = data.draw(st.sampled_from([1, 3, 7, 64]))
    packed = data.draw(st.sampled_from(["gzip", "lzf", None]))
    shuffle = data.draw(st.booleans())
    with h5py.File(path, "r+") as file:
        del file["X"]
        how = {"compression": packed, "shuffle": shuffle}
        if storage == "dense":
            tile = (min(n, chunk), min(g, data.draw(st.sampled_from([1, 5, 64]))))
            node = file.create_dataset("X", data=values, chunks=tile, **how)
            node.attrs["encoding-type"], node.attrs["encoding-version"] = "array", "0.2.0"
        else:
            made = sp.csr_matrix(values) if storage == "csr" else sp.csc_matrix(values)
            node = file.create_group("X")
            for part in ("data", "indices", "indptr"):
                stored = getattr(made, part)
                size = max(1, min(chunk, stored.size))
                more = {"chunks": (size,), "maxshape": (None,)} | how
                node.create_dataset(part, data=stored, **more)
            node.attrs["encoding-type"] = f"{storage}_matrix"
            node.attrs["encoding-version"] = "0.1.0"
            node.attrs["shape"] = np.array([n, g])
    rows = np.flatnonzero(rng.random(n) < data.draw(st.sampled_from([0.1, 0.5, 1.0])))
    columns = np.flatnonzero(rng.random(g) < data.draw(st.sampled_from([0.2, 1.0])))
    rows, columns = (x if x.size else np.array([0]) for x in (rows, columns))
    compression = data.draw(st.sampled_from(["gzip", "lzf", "none"]))
    rewrite(path, out, rows=rows, columns=columns, compression=compression, force=True)
    found = read(out).X
    assert found.dtype == values.dtype
    dense = found.toarray() if sp.issparse(found) else found
    np.testing.assert_array_equal(dense, values[np.ix_(rows, columns)])
    assert sp.issparse(found) is (storage != "dense")
    if sp.issparse(found):
        assert found.has_canonical_format


@pytest.mark.parametrize("storage", ["csr", "csc", "dense"])
def test_small_blocks_write_the_same_bytes(atlases, read, same, storage, tmp_path, monkeypatch):
    path, rows = atlases[storage, ".h5ad"], np.arange(0, N, 2)
    for module in (sink,):
        monkeypatch.setattr(module, "CHUNK", 64)
        monkeypatch.setattr(module, "_SMALLEST_CHUNK", 16)
    rewrite(path, tmp_path / "large.h5ad", rows=rows)
    monkeypatch.setattr(rows_module, "_LARGEST", 300)
    rewrite(path, tmp_path / "small.h5ad", rows=rows, memory=LEAST_MEMORY)
    assert (tmp_path / "small.h5ad").read_bytes() == (tmp_path / "large.h5ad").read_bytes()
    same(read(tmp_path / "small.h5ad"), expected(read, path, rows, None))


def test_names_and_columns_are_given_for_every_row_of_the_source(atlases, read, tmp_path):
    rows = np.array([3, 50, 51])
    names = pd.Index([f"new{i}" for i in range(N)])
    add = pd.DataFrame(
        {
            "fresh": pd.Categorical([f"k{i % 3}" for i in range(N)]),
            "number": np.arange(N),
            "label": [None if i == 50 else f"l{i}" for i in range(N)],
        }
    )
    rewrite(
        atlases["csr", ".h5ad"],
        tmp_path / "o.h5ad",
        rows=rows,
        obs=TableEdit(names=names, add=add),
        uns={"extra": 5},
        stage=("subset", {"n": 3}),
    )
    found = read(tmp_path / "o.h5ad")
    assert found.obs_names.tolist() == ["new3", "new50", "new51"]
    assert found.obs_names.name == "cell_label"
    assert found.obs["fresh"].tolist() == ["k0", "k2", "k0"]
    assert found.obs["number"].tolist() == [3, 50, 51]
    assert found.obs["label"].isna().tolist() == [False, True, False]
    assert list(found.obs.columns[-2:]) == ["fresh", "label"]
    assert found.uns["extra"] == 5
    assert dict(found.uns["cellwright"]) == {"0001-subset": '{"n": 3}'}


def test_raw_can_be_dropped_and_scanpy_takes_the_file(atlases, tmp_path):
    rewrite(atlases["csr", ".h5ad"], tmp_path / "o.h5ad", rows=np.arange(50), keep_raw=False)
    cells = sc.read_h5ad(tmp_path / "o.h5ad")
    assert cells.raw is None
    sc.pp.normalize_total(cells)
    assert np.isfinite(cells.X.data).all()


def test_tables_of_anndata_0_7_are_carried_over(full_cells, read, write, tmp_path):
    """Categories beside the codes, in a group of their own."""
    path = write(full_cells("csr"), tmp_path / "old.h5ad")
    with h5py.File(path, "r+") as file:
        obs = file["obs"]
        for column in list(obs):
            if column not in ("cell_label", "number", "type"):
                del obs[column]
        obs.attrs["column-order"] = ["type", "number"]
        obs.attrs["encoding-version"] = "0.1.0"
        codes, categories = obs["type/codes"][:], obs["type/categories"].asstr()[:]
        del obs["type"]
        obs["__categories/type"] = categories.astype(object)
        obs["type"] = codes
        obs["type"].attrs["categories"] = obs["__categories/type"].ref
    rows = np.array([1, 30, 31])
    rewrite(path, tmp_path / "o.h5ad", rows=rows)
    pd.testing.assert_frame_equal(read(tmp_path / "o.h5ad").obs, read(path)[rows].copy().obs)


def test_an_older_file_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "old.h5ad"
    with h5py.File(path, "w") as file:
        file["X"] = np.ones((4, 3))
        file["obs"] = np.array([(b"c", 1)] * 4, dtype=[("index", "S4"), ("k", "i4")])
        file["var"] = np.array([(b"g",)] * 3, dtype=[("index", "S4")])
    with pytest.raises(DataError, match=r"obs is not a table as anndata 0\.7.*read_h5ad"):
        rewrite(path, tmp_path / "o.h5ad")


@pytest.mark.parametrize("storage", ["csr", "csc"])
def test_a_gene_that_stands_twice_in_a_cell_is_summed_and_said(
    storage, full_cells, read, write, tmp_path
):
    path = write(full_cells(storage), tmp_path / "a.h5ad")
    with h5py.File(path, "r+") as file:
        x = file["X"]
        offsets = x["indptr"][:]
        first = int(offsets[np.flatnonzero(np.diff(offsets) > 2)[0]])
        indices = x["indices"][:]
        indices[first + 1] = indices[first]  # once more, then out of order
        indices[[first + 1, first + 2]] = indices[[first + 2, first + 1]]
        x["indices"][:] = indices
    whole = read(path).X.toarray()
    written = rewrite(path, tmp_path / "o.h5ad")
    np.testing.assert_allclose(read(tmp_path / "o.h5ad").X.toarray(), whole)
    assert "X held a gene twice in a cell; such values were summed" in written.notes


def test_positions_outside_are_refused(atlases, tmp_path):
    path, out = atlases["csr", ".h5ad"], tmp_path / "o.h5ad"
    for rows in ([5, 3], [4, 4], [-1, 2], [0, N]):
        with pytest.raises(DataError, match=str(rows[1]) if rows[1] == N else "rising order"):
            rewrite(path, out, rows=np.array(rows))
    with pytest.raises(DataError, match="no gene is selected"):
        rewrite(path, out, columns=np.array([], int))
    with pytest.raises(SettingsError, match="1,000 bytes"):
        rewrite(path, out, memory=1000)
    assert list(tmp_path.iterdir()) == []


def test_the_target_is_not_lost(atlases, tmp_path):
    path, out = atlases["csr", ".h5ad"], tmp_path / "o.h5ad"
    out.write_text("mine")
    with pytest.raises(RunError, match="exists already"):
        rewrite(path, out)
    assert out.read_text() == "mine"
    with pytest.raises(DataError, match="it is the file being read"):
        rewrite(path, path, force=True)
    for place, reason in (
        (tmp_path / "no" / "o.h5ad", "does not exist"),
        (tmp_path / "o.loom", r"\.loom"),
    ):
        with pytest.raises(DataError, match=reason):
            rewrite(path, place)
    folder = tmp_path / "f.h5ad"
    folder.mkdir()
    (folder / "x").write_text("")
    with pytest.raises(DataError, match="it is a folder"):
        rewrite(path, folder, force=True)
