"""Cells and counts come in unharmed from every storage, and bad files end in one sentence."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellwright.data.reading import counts_of, read_cells
from cellwright.errors import DataError

N, G = 60, 40


@pytest.fixture
def counts() -> sp.csr_matrix:
    return sp.csr_matrix(np.random.default_rng(0).poisson(0.5, (N, G)).astype(np.float32))


def cells_of(matrix: object, **layers: object) -> ad.AnnData:
    cells = ad.AnnData(
        matrix,
        obs=pd.DataFrame(index=[f"cell{i}" for i in range(N)]),
        var=pd.DataFrame(index=[f"GENE{i}" for i in range(G)]),
    )
    for name, layer in layers.items():
        cells.layers[name] = layer
    return cells


def lognorm(counts: sp.csr_matrix) -> sp.csr_matrix:
    dense = counts.toarray()
    return sp.csr_matrix(np.log1p(1e4 * dense / np.maximum(dense.sum(axis=1, keepdims=True), 1)))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.uint8, np.uint16])
@pytest.mark.parametrize(
    "storage", [sp.csr_matrix, sp.csc_matrix, sp.csr_array, sp.csr_matrix.toarray]
)
@pytest.mark.parametrize("where", ["X", "layer", "view", "backed", "backed layer", "backed view"])
def test_counts_are_the_same_from_every_storage(counts, dtype, storage, where, tmp_path):
    matrix = storage(counts.astype(dtype))
    wrong = lognorm(counts)
    cells = cells_of(wrong, counts=matrix) if "layer" in where else cells_of(matrix)
    expected = counts.toarray()
    if "backed" in where:
        cells.write_h5ad(tmp_path / "cells.h5ad")
        cells = read_cells(tmp_path / "cells.h5ad", backed=True)
        assert cells.isbacked
    if "view" in where:
        cells, expected = cells[5:30, ::2], expected[5:30, ::2]
    found = counts_of(cells)
    assert isinstance(found, sp.csr_matrix)
    assert found.dtype == np.float32
    assert found.has_canonical_format
    assert (found.data != 0).all()
    np.testing.assert_array_equal(found.toarray(), expected)


def test_explicit_zeros_and_repeated_entries_are_resolved():
    # Row 0: gene 2 twice (1 + 3), gene 1 once; row 1: a stored zero.
    raw = sp.csr_matrix(([1.0, 5.0, 3.0, 0.0], [2, 1, 2, 0], [0, 3, 4]), shape=(2, 3))
    cells = ad.AnnData(raw)
    found = counts_of(cells)
    np.testing.assert_array_equal(found.toarray(), [[0, 5, 4], [0, 0, 0]])
    assert found.indices.tolist() == [1, 2]


@pytest.mark.parametrize("storage", [sp.csr_matrix, sp.csc_matrix, sp.csr_matrix.toarray])
def test_the_callers_object_stays_as_it_is(counts, storage):
    matrix = storage(counts)
    cells = cells_of(matrix.copy())
    found = counts_of(cells)
    found.data[:] = -7
    found.indices[:] = 0
    same = cells.X if isinstance(matrix, np.ndarray) else cells.X.toarray()
    np.testing.assert_array_equal(same, counts.toarray())
    assert list(cells.layers) == []


def test_counts_too_large_for_float32_are_held_exactly():
    matrix = np.array([[2**24 + 1, 0], [3, 1]], dtype=np.int64)
    found = counts_of(ad.AnnData(matrix))
    assert found.dtype == np.float64
    assert found[0, 0] == 2**24 + 1
    small = counts_of(ad.AnnData(np.array([[2**24 - 1, 0], [3, 1]], dtype=np.int64)))
    assert small.dtype == np.float32
    assert int(small[0, 0]) == 2**24 - 1


def test_the_counts_layer_comes_before_x_and_a_named_layer_before_both(counts):
    cells = cells_of(counts, counts=counts * 2, other=counts * 3)
    assert counts_of(cells).sum() == 2 * counts.sum()
    assert counts_of(cells, layer="other").sum() == 3 * counts.sum()
    assert counts_of(cells, layer="layers/other").sum() == 3 * counts.sum()
    assert counts_of(cells, layer="X").sum() == counts.sum()


@pytest.mark.parametrize("backed", [False, True])
def test_raw_is_matched_to_the_genes_by_name(counts, backed, tmp_path):
    cells = cells_of(counts)
    cells.raw = cells.copy()
    cells = cells[:, ::-3].copy()
    cells.X = lognorm(counts)[:, ::-3]
    if backed:
        cells.write_h5ad(tmp_path / "cells.h5ad")
        cells = read_cells(tmp_path / "cells.h5ad", backed=True)
    np.testing.assert_array_equal(
        counts_of(cells, layer="raw").toarray(), counts.toarray()[:, ::-3]
    )
    with pytest.raises(DataError, match="raw holds counts: use it with --layer raw"):
        counts_of(cells)


def test_lognormalized_values_are_refused_with_evidence_and_the_way_out(counts):
    with pytest.raises(DataError, match=r"X is log-normalized.*add up to 10,000.*--assume-counts"):
        counts_of(cells_of(lognorm(counts)))
    with pytest.raises(
        DataError, match=r"layers/raw_counts holds counts: use it with --layer raw_"
    ):
        counts_of(cells_of(lognorm(counts), raw_counts=counts))
    with pytest.raises(DataError, match="layers/counts is log-normalized"):
        counts_of(cells_of(counts, counts=lognorm(counts)))
    taken = counts_of(cells_of(lognorm(counts)), assume_counts=True)
    np.testing.assert_allclose(taken.toarray(), lognorm(counts).toarray())


@pytest.mark.parametrize("assume_counts", [False, True])
@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (np.nan, "1 NaN of 9"),
        (np.inf, "1 infinite of 9"),
        (-3.0, "from -3 to"),
        (-0.25, "from -0.25 to"),
    ],
)
def test_nan_infinite_and_negative_values_are_always_refused(
    counts, value, sentence, assume_counts
):
    counts.data[7] = value
    with pytest.raises(DataError, match=sentence):
        counts_of(cells_of(counts), assume_counts=assume_counts)


def test_fractions_pass_only_when_asked(counts):
    counts.data[7] = 2.5
    with pytest.raises(DataError, match=r"e\.g\. 2\.5"):
        counts_of(cells_of(counts))
    found = counts_of(cells_of(counts), assume_counts=True)
    assert found.dtype == np.float64
    assert (found != counts).nnz == 0


def test_nothing_but_zeros_is_refused():
    with pytest.raises(DataError, match="X holds no counts: all 60 × 40 values are zero"):
        counts_of(cells_of(sp.csr_matrix((N, G), dtype=np.float32)))


def test_cells_without_counts_stay(counts):
    dense = counts.toarray()
    dense[[3, 7]] = 0
    found = counts_of(cells_of(sp.csr_matrix(dense)))
    assert found.shape == (N, G)
    assert np.flatnonzero(np.diff(found.indptr) == 0).tolist() == [3, 7]


def test_an_unknown_layer_names_the_nearest(counts):
    cells = cells_of(counts, spliced=counts)
    with pytest.raises(DataError, match="no layer 'splced': did you mean 'spliced'"):
        counts_of(cells, layer="splced")
    with pytest.raises(DataError, match="no layer 'qqq': there are: X, spliced"):
        counts_of(cells, layer="qqq")


@pytest.mark.parametrize("backed", [False, True])
def test_a_missing_x_says_so(backed, tmp_path):
    ad.AnnData(obs=pd.DataFrame(index=["a", "b"]), var=pd.DataFrame(index=["x"])).write_h5ad(
        tmp_path / "no_x.h5ad"
    )
    with pytest.raises(DataError, match=r"there is no X.*layers: none"):
        counts_of(read_cells(tmp_path / "no_x.h5ad", backed=backed))


def test_an_anndata_passes_through(counts):
    cells = cells_of(counts)
    assert read_cells(cells) is cells


@pytest.mark.parametrize(
    ("shape", "lacks"), [((0, 4), "cells"), ((4, 0), "genes"), ((0, 0), "cells")]
)
def test_empty_matrices_are_refused(shape, lacks, tmp_path):
    cells = ad.AnnData(np.zeros(shape, dtype=np.float32))
    sentence = rf"there are no {lacks} \(shape {shape[0]} × {shape[1]}\)"
    with pytest.raises(DataError, match=sentence):
        read_cells(cells)
    cells.write_h5ad(tmp_path / "empty.h5ad")
    with pytest.raises(DataError, match=rf"empty\.h5ad: {sentence}"):
        read_cells(tmp_path / "empty.h5ad")


@pytest.fixture
def good(counts, tmp_path) -> Path:
    path = tmp_path / "good.h5ad"
    cells_of(counts).write_h5ad(path)
    return path


def not_hdf5(path: Path) -> None:
    path.write_text("gene,cell\n1,2\n")


def zipped(path: Path) -> None:
    path.write_bytes(gzip.compress(path.read_bytes()))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def ten_x(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file.create_group("matrix")


def edited(change):
    def apply(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return apply


def drop(name: str):
    return edited(lambda file: file.__delitem__(name))


def put(name: str, at: int, value: int):
    def change(file: h5py.File) -> None:
        file[name][at] = value

    return edited(change)


BAD_FILES = {
    "text": (
        not_hdf5,
        r"not an \.h5ad: it does not begin like an HDF5 file \(but with b'gene,cell",
    ),
    "gzip": (zipped, r"not an \.h5ad: it is a gzip archive"),
    "empty": (lambda p: p.write_bytes(b""), r"is empty \(0 bytes\)"),
    "truncated": (cut, r"is truncated: [\d,]+ bytes of [\d,]+ are there"),
    "10x": (ten_x, "it is a 10x Genomics file"),
    "no obs": (drop("obs"), "it has no obs"),
    "no var": (drop("var"), "it has no var"),
    "no index": (drop("obs/_index"), "index '_index' is missing"),
    "no indptr": (drop("X/indptr"), "X is damaged: its indptr is missing"),
    "no data": (drop("X/data"), "X is damaged: its data is missing"),
    "index too large": (put("X/indices", 3, 99), "it holds the index 99, but there are 40 genes"),
    "index negative": (put("X/indices", 3, -2), "it holds the index -2"),
    "indptr falls": (put("X/indptr", 3, 9999), "indptr .* must rise from 0 to the 9"),
    "indptr ends early": (put("X/indptr", -1, 5), "indptr runs from 0 to 5"),
    "no shape": (edited(lambda f: f["X"].attrs.__delitem__("shape")), "expected a csr_matrix or"),
    "foreign encoding": (
        edited(lambda f: f["X"].attrs.__setitem__("encoding-type", "csx_matrix")),
        "X is stored as 'csx'",
    ),
    "wrong shape": (
        edited(lambda f: f["X"].attrs.__setitem__("shape", np.array([50, 40]))),
        "50",
    ),
}


@pytest.mark.parametrize("fault", BAD_FILES)
@pytest.mark.parametrize("backed", [False, True])
def test_bad_files_end_in_one_sentence_that_names_the_file(good, fault, backed):
    spoil, sentence = BAD_FILES[fault]
    spoil(good)
    with pytest.raises(DataError, match=sentence) as caught:
        counts_of(read_cells(good, backed=backed))
    assert str(good) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_damaged_bytes_end_in_one_sentence(counts, tmp_path):
    path = tmp_path / "cells.h5ad"
    big = sp.csr_matrix(np.random.default_rng(0).poisson(0.5, (600, 400)).astype(np.float32))
    ad.AnnData(big).write_h5ad(path, compression="gzip")
    with h5py.File(path) as file:
        offset = file["X/data"].id.get_chunk_info(0).byte_offset
    data = bytearray(path.read_bytes())
    data[offset + 2 : offset + 60] = bytes(58)
    path.write_bytes(data)
    for backed in (False, True):
        with pytest.raises(DataError, match=r"cells\.h5ad.*(damaged|cannot be read)"):
            counts_of(read_cells(path, backed=backed))


def test_missing_files_and_folders_are_named(good, tmp_path):
    with pytest.raises(DataError, match=r"no file .*goood\.h5ad; did you mean .*good\.h5ad"):
        read_cells(tmp_path / "goood.h5ad")
    with pytest.raises(DataError, match=r"the folder .*nowhere does not exist"):
        read_cells(tmp_path / "nowhere" / "x.h5ad")
    with pytest.raises(DataError, match=r"is a folder, expected an \.h5ad file"):
        read_cells(tmp_path)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything"
)
def test_a_file_that_may_not_be_read_says_so(good):
    good.chmod(0)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        read_cells(good)


def test_files_of_the_first_anndata_are_read(tmp_path):
    path = tmp_path / "old.h5ad"
    counts = sp.csr_matrix(np.random.default_rng(0).poisson(1, (20, 8)).astype(np.float32))
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs["h5sparse_format"] = "csr"
        group.attrs["h5sparse_shape"] = np.array(counts.shape)
        for part in ("data", "indices", "indptr"):
            group[part] = getattr(counts, part)
        obs = np.zeros(20, dtype=[("index", "S10"), ("cluster", "i1")])
        obs["index"] = [f"c{i}".encode() for i in range(20)]
        obs["cluster"] = np.arange(20) % 2
        var = np.zeros(8, dtype=[("index", "S10")])
        var["index"] = [f"G{i}".encode() for i in range(8)]
        file["obs"], file["var"] = obs, var
        file["uns/cluster_categories"] = np.array([b"exc", b"inh"])
    for backed in (False, True):
        cells = read_cells(path, backed=backed)
        np.testing.assert_array_equal(counts_of(cells).toarray(), counts.toarray())
        assert cells.obs["cluster"].tolist()[:3] == ["exc", "inh", "exc"]


def test_layers_and_graphs_of_backed_cells_stay_on_disk(counts, tmp_path):
    path = tmp_path / "cells.h5ad"
    cells = cells_of(counts, counts=counts, dense=counts.toarray())
    cells.obsp["graph"] = sp.eye(N, format="csr")
    cells.obsm["X_pca"] = np.ones((N, 2))
    cells.write_h5ad(path)
    backed = read_cells(path, backed=True)
    held = [backed.X, *backed.layers.values(), *backed.obsp.values()]
    assert not any(sp.issparse(m) or isinstance(m, np.ndarray) for m in held)
    assert backed.obsm["X_pca"].shape == (N, 2)
    np.testing.assert_array_equal(backed.to_memory().layers["dense"], counts.toarray())


def test_real_counts_are_read(real_data, tmp_path):
    path = real_data / "whb_neurons" / "whb_neurons_1152x2000.h5ad"
    found = counts_of(read_cells(path))
    with h5py.File(path) as file:
        assert found.nnz == file["X/data"].shape[0]
        assert found.sum(dtype=np.float64) == file["X/data"][:].sum(dtype=np.float64)
    copy = tmp_path / "copy.h5ad"
    shutil.copy(path, copy)
    assert (counts_of(read_cells(copy, backed=True)) != found).nnz == 0
