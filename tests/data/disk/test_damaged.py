"""Damaged input: one sentence that names the place or the value, and nothing half-written."""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import signal
import sys
import warnings

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellwright.data.disk.rewrite import rewrite
from cellwright.data.prepare.crop import crop
from cellwright.data.prepare.subset import subset
from cellwright.data.prepare.unique import unique
from cellwright.errors import DataError

N, G = 210, 37


def halve(path, out):
    return rewrite(path, out, rows=np.arange(0, N, 2))


def halve_genes(path, out):
    return rewrite(path, out, columns=np.arange(0, G, 2))


def piece(path, out):
    return crop(path, out, cells=20, genes=10, layer="X")


def common(path, out):
    return subset(path, where=["type=common"], out=out)


def named(path, out):
    return unique(path, out, genes="collapse", cells="drop")


def refused(work, path, match):
    """The sentence; the input is as it was and nothing lies beside it."""
    before = {p: p.read_bytes() for p in path.parent.rglob("*") if p.is_file()}
    with pytest.raises(DataError, match=match) as caught:
        work(path, path.parent / "out.h5ad")
    said = str(caught.value)
    assert "\n" not in said and str(path) in said
    assert {p: p.read_bytes() for p in path.parent.rglob("*") if p.is_file()} == before
    return said


def replaced(group, name, values, **attrs):
    kept = dict(group[name].attrs)
    del group[name]
    group.create_dataset(name, data=values).attrs.update({**kept, **attrs})


def set_index(x, at, value):
    x["indices"][at] = value


def fall(x):
    offsets = x["indptr"][:]
    offsets[5], offsets[6] = offsets[6], offsets[5]
    x["indptr"][:] = offsets


def shape(x, *wanted):
    x.attrs["shape"] = np.array(wanted)


def garbage(node, chunk=0):
    """Bytes that cannot be unpacked, in place of a chunk."""
    node.id.write_direct_chunk((chunk,) + (0,) * (len(node.shape) - 1), b"\x07" * 100)


# What is done to X, and what must stand in the sentence: for a matrix by cell and one by gene.
DAMAGE = {
    "no indptr": (lambda x: x.__delitem__("indptr"), "X is damaged: its indptr is missing"),
    "no data": (lambda x: x.__delitem__("data"), "X is damaged: its data is missing"),
    "no indices": (lambda x: x.__delitem__("indices"), "X is damaged: its indices is missing"),
    "falling": (fall, r"its indptr runs from 0 to \d+ and must rise"),
    "short indptr": (lambda x: replaced(x, "indptr", x["indptr"][:-3]), r"its indptr has \d+ entries, but the shape 210 × 37 needs"),
    "too high": (lambda x: set_index(x, -1, 100_000), "it holds the index 100000, but there are"),
    "negative": (lambda x: set_index(x, 3, -2), "it holds the index -2, but there are"),
    "float indices": (lambda x: replaced(x, "indices", x["indices"][:].astype(float)), "its indices is stored as float64, expected whole numbers"),
    "float indptr": (lambda x: replaced(x, "indptr", x["indptr"][:].astype(float)), "its indptr is stored as float64"),
    "text": (lambda x: replaced(x, "data", np.array(["a"] * x["data"].size, dtype="S1")), r"its values are stored as \|S1"),
    "fewer values": (lambda x: replaced(x, "data", x["data"][:-7]), r"\d+ values stand beside \d+ indices"),
    "few cells": (lambda x: shape(x, 100, G), "100 × 37"),
    "few genes": (lambda x: shape(x, N, 12), "210 × 12"),
    "shape of text": (lambda x: x.attrs.__setitem__("shape", "large"), "X"),
    "a negative shape": (lambda x: shape(x, -1, -1), "-1"),
    "no shape": (lambda x: x.attrs.__delitem__("shape"), "with its shape"),
    "no encoding": (lambda x: x.attrs.__delitem__("encoding-type"), "X is stored as 'an unnamed group'"),
    "data a group": (lambda x: (x.__delitem__("data"), x.create_group("data")), "its data is no row of numbers"),
    "garbage values": (lambda x: garbage(x["data"]), "damaged at /X/data"),
    "garbage indices": (lambda x: garbage(x["indices"]), "damaged at /X/indices"),
    "garbage indptr": (lambda x: garbage(x["indptr"]), "damaged at /X/indptr"),
}  # fmt: skip


@pytest.mark.parametrize("what", DAMAGE)
@pytest.mark.parametrize("storage", ["csr", "csc"])
def test_a_damaged_matrix(storage, what, atlases, tmp_path):
    path = shutil.copy(atlases[storage, ".h5ad"], tmp_path / "in.h5ad")
    damage, match = DAMAGE[what]
    with h5py.File(path, "r+") as file:
        damage(file["X"])
    for work in (halve_genes, named) if storage == "csr" else (halve, piece):
        refused(work, path, match)


@pytest.mark.parametrize("what", ["garbage values", "too high", "no indptr"])
def test_a_damaged_matrix_in_a_subset(what, atlases, tmp_path):
    path = shutil.copy(atlases["csr", ".h5ad"], tmp_path / "in.h5ad")
    with h5py.File(path, "r+") as file:
        DAMAGE[what][0](file["X"])
    refused(common, path, DAMAGE[what][1])


ELSEWHERE = {
    "a layer": (lambda f: garbage(f["layers/counts/data"]), "damaged at /layers/counts/data"),
    "a dense layer": (lambda f: garbage(f["layers/scaled"]), "damaged at layers/scaled"),
    "text in a layer": (lambda f: replaced(f["layers"], "scaled", np.array([[b"a"] * G] * N)), r"layers/scaled is not a matrix of numbers"),
    "a short layer": (lambda f: replaced(f["layers"], "scaled", np.ones((9, G))), "layers/scaled is 9 × 37"),
    "a short obsm": (lambda f: replaced(f["obsm"], "X_pca", np.ones((9, 2))), "obsm/X_pca has 9 rows, but the table has 210"),
    "a short varm": (lambda f: replaced(f["varm"], "loadings", np.ones((9, 2))), "varm/loadings has 9 rows, but the table has 37"),
    "a short table": (lambda f: [replaced(f["obsm/table"], n, f[f"obsm/table/{n}"][:9]) for n in list(f["obsm/table"])], "obsm/table has 9 rows"),
    "garbage in obsm": (lambda f: garbage(f["obsm/X_pca"]), "in.h5ad cannot be read|damaged"),
    "garbage in obs": (lambda f: garbage(f["obs/number"]), "in.h5ad cannot be read"),
    "garbage in names": (lambda f: garbage(f["obs/cell_label"]), "in.h5ad cannot be read"),
    "garbage in uns": (lambda f: garbage(f["uns/nested/list"]), "in.h5ad cannot be read"),
    "codes beyond": (lambda f: f["obs/type/codes"].__setitem__(3, 9), "in.h5ad"),
    "a short column": (lambda f: replaced(f["obs"], "number", np.ones(5)), r"obs is damaged: its column 'number' has 5 entries for 210 rows"),
    "no column": (lambda f: f["obs"].__delitem__("number"), "its column 'number' is missing"),
    "no names": (lambda f: f["var"].__delitem__("_index"), "var is damaged: its index '_index' is missing"),
    "no obs": (lambda f: f.__delitem__("obs"), "it has no obs"),
    "raw without genes": (lambda f: f["raw"].__delitem__("var"), "raw"),
    "a short raw": (lambda f: f["raw/X"].attrs.__setitem__("shape", np.array([3, G])), "raw/X"),
    "a graph": (lambda f: garbage(f["obsp/distances/data"]), "damaged at /obsp/distances/data"),
    "a short graph": (lambda f: f["obsp/distances"].attrs.__setitem__("shape", np.array([3, 3])), "obsp/distances"),
    "layers an array": (lambda f: (f.__delitem__("layers"), f.create_dataset("layers", data=np.ones(3))), "layers"),
    "X of one dimension": (lambda f: (f.__delitem__("X"), f.create_dataset("X", data=np.ones(3))), "X is not a matrix of numbers"),
    "X of half numbers": (lambda f: (f.__delitem__("X"), f.create_dataset("X", data=np.ones((N, G), "f2"))), "float16"),
}  # fmt: skip


@pytest.mark.parametrize("what", ELSEWHERE)
def test_damage_beside_the_matrix(what, full_cells, write, tmp_path):
    path = write(full_cells("csr"), tmp_path / "in.h5ad")
    damage, match = ELSEWHERE[what]
    with h5py.File(path, "r+") as file:
        for name in ("obsm/X_pca", "obs/number", "obs/cell_label", "uns/nested/list"):
            node = file[name]
            if node.chunks is None:  # so that there is a chunk to damage
                values, attrs = node[:], dict(node.attrs)
                del file[name]
                file.create_dataset(name, data=values, chunks=values.shape, compression="gzip")
                file[name].attrs.update(attrs)
        damage(file)
    refused(halve, path, match)


@pytest.mark.parametrize("what", ["garbage", "text", "one column too many"])
def test_a_damaged_dense_matrix(what, atlases, tmp_path):
    path = shutil.copy(atlases["dense", ".h5ad"], tmp_path / "in.h5ad")
    with h5py.File(path, "r+") as file:
        if what == "garbage":
            garbage(file["X"])
            match = "damaged at X"
        elif what == "text":
            replaced(file, "X", np.array([[b"a"] * G] * N))
            match = "X is not a matrix of numbers"
        else:
            replaced(file, "X", np.ones((N, G + 1)))
            match = "X is 210 × 38, but the tables have 210 × 37"
    for work in (halve, halve_genes, piece):
        refused(work, path, match)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("work", [halve, piece, common])
def test_a_file_cut_short(share, work, atlases, tmp_path):
    whole = atlases["csr", ".h5ad"].read_bytes()
    path = tmp_path / "in.h5ad"
    path.write_bytes(whole[: int(share * len(whole))])
    said = refused(work, path, "in.h5ad is (truncated|empty|not an .h5ad)")
    if share > 0.01:
        assert f"{path.stat().st_size:,} bytes of {len(whole):,}" in said


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("storage", ["csr", "csc", "dense"])
def test_bytes_lost_in_a_chunk(storage, seed, atlases, tmp_path):
    """As after a broken copy: the chunk cannot be unpacked, or what it holds does not add up."""
    path = shutil.copy(atlases[storage, ".h5ad"], tmp_path / "in.h5ad")
    rng = np.random.default_rng(seed)
    with h5py.File(path) as file:
        node = file["X" if storage == "dense" else f"X/{rng.choice(['data', 'indices', 'indptr'])}"]
        chunk = node.id.get_chunk_info(int(rng.integers(node.id.get_num_chunks())))
    data = bytearray(path.read_bytes())
    at = chunk.byte_offset + int(rng.integers(chunk.size))
    data[at : chunk.byte_offset + chunk.size] = bytes(chunk.byte_offset + chunk.size - at)
    path.write_bytes(data)
    for work in (halve_genes, piece):
        refused(work, path, "damaged|cannot be read")


def test_layers_without_x(full_cells, write, read, tmp_path):
    path = write(full_cells("csr"), tmp_path / "in.h5ad")
    with h5py.File(path, "r+") as file:
        del file["X"]
    halve(path, tmp_path / "out.h5ad")
    made = read(tmp_path / "out.h5ad")
    assert made.X is None
    np.testing.assert_array_equal(made.layers["scaled"], read(path).layers["scaled"][::2])
    assert crop(path, tmp_path / "crop.h5ad", cells=20).basis == "layers/counts"
    with pytest.raises(DataError, match=r"in\.h5ad has no matrix 'X'"):
        piece(path, tmp_path / "no.h5ad")


@pytest.mark.parametrize("storage", ["csr", "csc"])
def test_unsorted_and_repeated_genes_are_counted_once(storage, tmp_path):
    """The same cells as when anndata reads them and sums what stands twice."""
    rng = np.random.default_rng(0)
    major, minor = (60, 20) if storage == "csr" else (20, 60)
    lengths = rng.integers(0, 15, major)
    indices = rng.integers(0, minor, lengths.sum())
    data = rng.integers(-1, 4, lengths.sum()).astype(np.float32)  # some cancel, some are zero
    kind = sp.csr_matrix if storage == "csr" else sp.csc_matrix
    matrix = kind((data, indices, np.r_[0, np.cumsum(lengths)]), shape=(60, 20))
    path, out = tmp_path / "in.h5ad", tmp_path / "out.h5ad"
    ad.AnnData(matrix).write_h5ad(path)
    assert not ad.read_h5ad(path).X.has_canonical_format
    dense = matrix.toarray()
    result = crop(path, out, cells=20, genes=9)
    made = ad.read_h5ad(out)
    rows, columns = (
        made.uns["crop_indices"][f"selected_{w}_indices_from_input"] for w in ("cell", "gene")
    )
    np.testing.assert_array_equal(made.X.toarray(), dense[np.ix_(rows, columns)])
    assert result.before["nonzero_fraction"] == (dense != 0).mean()
    assert result.after["nonzero_fraction"] == (dense[np.ix_(rows, columns)] != 0).mean()
    plain = tmp_path / "plain.h5ad"
    ad.AnnData(sp.csr_matrix(dense)).write_h5ad(plain)
    crop(plain, tmp_path / "plain_out.h5ad", cells=20, genes=9)
    np.testing.assert_array_equal(
        ad.read_h5ad(tmp_path / "plain_out.h5ad").X.toarray(), made.X.toarray()
    )


def test_categories_with_gaps_and_without_values(full_cells, write, read, tmp_path):
    cells = full_cells("csr")
    cells.obs["none"] = pd.Categorical([None] * N, categories=["a"])
    path = write(cells, tmp_path / "in.h5ad")
    halve(path, tmp_path / "out.h5ad")
    pd.testing.assert_frame_equal(read(tmp_path / "out.h5ad").obs, read(path)[::2].copy().obs)


ZARR = {
    "no indptr": (lambda z: shutil.rmtree(z / "X" / "indptr"), "its indptr is missing"),
    "no data": (lambda z: shutil.rmtree(z / "X" / "data"), "its data is missing"),
    "no obs": (lambda z: shutil.rmtree(z / "obs"), "it has no obs"),
    "no column": (lambda z: shutil.rmtree(z / "obs" / "number"), "its column 'number' is missing"),
    "a lost chunk": (lambda z: chunk_of(z / "X" / "indices").unlink(), "of the 1 chunks of X/indices 1 are not there"),
    "a lost chunk of offsets": (lambda z: chunk_of(z / "X" / "indptr").unlink(), "its indptr runs"),
    "garbage": (lambda z: chunk_of(z / "X" / "data").write_bytes(b"\7" * 90), "damaged"),
    "half a chunk": (lambda z: os.truncate(chunk_of(z / "X" / "data"), 50), "damaged"),
    "garbage in obsm": (lambda z: chunk_of(z / "obsm" / "X_pca").write_bytes(b"\7" * 90), "z"),
    "broken metadata": (lambda z: [p.write_text("{") for p in (z / "X").glob("*.json")] + [p.write_text("{") for p in (z / "X").glob(".z*")], "in.zarr"),
}  # fmt: skip


def chunk_of(folder):
    return next(
        p
        for p in sorted(folder.rglob("*"))
        if p.is_file() and not p.name.startswith((".z", "zarr"))
    )


@pytest.mark.parametrize("what", ZARR)
def test_a_damaged_zarr(what, atlases, tmp_path):
    path = tmp_path / "in.zarr"
    shutil.copytree(atlases["csr", ".zarr"], path)
    (path / ".zmetadata").unlink(missing_ok=True)
    damage, match = ZARR[what]
    damage(path)
    for work in (halve, piece):
        refused(work, path, match)


def test_the_output_is_not_the_input(atlases, tmp_path):
    path = shutil.copy(atlases["csr", ".h5ad"], tmp_path / "in.h5ad")
    store = tmp_path / "in.zarr"
    shutil.copytree(atlases["csr", ".zarr"], store)
    (tmp_path / "link.h5ad").symlink_to(path)
    (tmp_path / "hard.h5ad").hardlink_to(path)
    (tmp_path / "link.zarr").symlink_to(store)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    for source, out in (
        (path, path),
        (path, tmp_path / "link.h5ad"),
        (path, tmp_path / "hard.h5ad"),
        (tmp_path / "link.h5ad", path),
        (store, store),
        (store, tmp_path / "link.zarr"),
        (store, store / "inside.h5ad"),
        (store, store / "X" / "inside.zarr"),
    ):
        for work in (rewrite, crop, unique):
            with pytest.raises(DataError, match=rf"cannot write {out}: it is (in )?the"):
                work(source, out, force=True)
    nest = tmp_path / "nest.zarr"
    nest.mkdir()
    inner = shutil.copy(path, nest / "in.h5ad")
    with pytest.raises(DataError, match=r"nest\.zarr: the file being read lies in it"):
        rewrite(inner, nest, force=True)
    assert inner.exists()
    assert {p: p.read_bytes() for p in before} == before


def test_no_source_is_said_even_where_something_stands_at_the_target(tmp_path):
    (tmp_path / "out.h5ad").write_text("mine")
    with pytest.raises(DataError, match=r"there is no file .*in\.h5ad"):
        rewrite(tmp_path / "in.h5ad", tmp_path / "out.h5ad", force=True)
    assert (tmp_path / "out.h5ad").read_text() == "mine"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc is a thing of Linux")
@pytest.mark.parametrize("ending", [".h5ad", ".zarr"])
def test_a_place_that_takes_no_files(ending, atlases):
    for work in (halve, piece):
        with pytest.raises(DataError, match=rf"/proc/out\{ending}|in /proc"):
            work(atlases["csr", ".h5ad"], f"/proc/out{ending}")


def fill(limit, path, out, work, said):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        work(path, out)
        text = "written"
    except DataError as error:
        text = str(error)
    said.send(text)


def in_a_fork(function, *args):
    """What ``function`` sends, from a process whose limits are its own."""
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    child = context.Process(target=function, args=(*args, theirs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        child.start()
    child.join(60)
    assert child.exitcode == 0
    return ours.recv()


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="a process is forked here, safely on Linux alone"
)
@pytest.mark.parametrize("limit", [3000, 20_000])
@pytest.mark.parametrize("ending", [".h5ad", ".zarr"])
@pytest.mark.parametrize(("storage", "work"), [("csr", crop), ("csc", rewrite)])
def test_a_full_disk(storage, work, ending, limit, tmp_path, write):
    """A limit on file sizes stands in for it; it meets the file, its chunks, what is put aside."""
    rng = np.random.default_rng(0)
    cells = sp.random(300, 200, 0.8, storage, np.float64, rng)
    path = write(ad.AnnData(cells), tmp_path / "in.h5ad")
    before = path.read_bytes()
    said = in_a_fork(fill, limit, path, tmp_path / f"out{ending}", work)
    assert said.startswith(("cannot write", "cannot put data aside")) and "File too large" in said
    assert [p.name for p in tmp_path.iterdir()] == ["in.h5ad"] and path.read_bytes() == before
