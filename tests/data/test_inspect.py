"""An inspection says what was planted in the file, quickly and without loading the matrix."""

from __future__ import annotations

import json
import time
import tracemalloc
import warnings
import zlib

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata.io import write_elem

from cellwright.data.inspect import inspect
from cellwright.data.simulate import simulate
from cellwright.errors import DataError

PROMISED = {
    "n_obs", "n_vars", "format", "bytes", "density", "verdict", "counts_in", "gene_id_kind",
    "organism", "duplicates", "problems",
}  # fmt: skip


@pytest.fixture(scope="module")
def counts() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.poisson(rng.gamma(3, 1, (120, 1)) * rng.gamma(0.5, 1, (1, 50))).astype(np.float32)


def cells_of(matrix: object) -> ad.AnnData:
    rng = np.random.default_rng(1)
    n, g = matrix.shape
    obs = pd.DataFrame(
        {
            "subtype": pd.Categorical.from_codes(np.arange(n) % 3, ["exc", "inh", "glia"]),
            "donor": [f"d{i % 4}" for i in range(n)],
            "batch": pd.Categorical(np.where(np.arange(n) % 2, "x", "y")),
            "depth": rng.normal(size=n),
            "kept": np.arange(n) % 2 == 0,
        },
        index=[f"cell{i}" for i in range(n)],
    )
    var = pd.DataFrame(
        {"gene_symbol": [f"GENE{i}" for i in range(g)]},
        index=[f"ENSG{i:011d}" for i in range(g)],
    )
    return ad.AnnData(matrix, obs=obs, var=var)


@pytest.fixture
def save(tmp_path):
    def write(cells: ad.AnnData, **settings: object):
        path = tmp_path / "cells.h5ad"
        cells.write_h5ad(path, convert_strings_to_categoricals=False, **settings)
        return path

    return write


@pytest.mark.parametrize("storage", [sp.csr_matrix, sp.csc_matrix, np.asarray])
@pytest.mark.parametrize("held", [False, True])
def test_what_was_planted_is_found(counts, storage, held, save):
    cells = cells_of(storage(counts))
    cells.obsm["X_pca"] = np.zeros((120, 5))
    cells.uns["note"] = "x"
    path = save(cells, compression="gzip")
    found = inspect(cells if held else path).to_dict()
    assert set(found) >= PROMISED
    assert (found["n_obs"], found["n_vars"]) == (120, 50)
    assert found["format"] == {"csr_matrix": "csr", "csc_matrix": "csc"}.get(
        getattr(storage, "__name__", ""), "dense"
    )
    assert found["bytes"] == (None if held else path.stat().st_size)
    assert found["density"] == pytest.approx(np.count_nonzero(counts) / counts.size)
    assert (found["verdict"], found["counts_in"]) == ("float-counts", "X")
    assert (found["gene_id_kind"], found["organism"]) == ("ensembl", "human")
    assert (found["gene_ids_in"], found["gene_symbols_in"]) == ("index", "gene_symbol")
    assert found["duplicates"] == {"obs": 0, "var": 0}
    assert found["problems"] == []
    assert {c["name"]: c["kind"] for c in found["obs"]} == {
        "subtype": "categorical",
        "donor": "string",
        "batch": "categorical",
        "depth": "numeric",
        "kept": "bool",
    }
    assert found["uns"] == ["note"]
    assert found["obsm"] == {"X_pca": [120, 5]}
    assert (found["split_by"], found["split_groups"]["n"]) == ("donor", 4)
    for key, per_cell in (
        ("counts_per_cell", counts.sum(axis=1)),
        ("genes_per_cell", (counts > 0).sum(axis=1)),
    ):
        assert found[key]["median"] == pytest.approx(np.median(per_cell))
        assert found[key]["q05"] == pytest.approx(np.quantile(per_cell, 0.05))
        assert (found[key]["min"], found[key]["max"]) == (per_cell.min(), per_cell.max())
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def lognorm(counts: np.ndarray) -> np.ndarray:
    return np.log1p(1e4 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))


@pytest.mark.parametrize(
    ("layer", "counts_in", "problem"),
    [
        ("counts", "layers/counts", None),
        ("raw_counts", "layers/raw_counts", "add --layer raw_counts"),
        (None, None, "No raw counts were found (X: lognorm)"),
        ("raw", "raw/X", "add --layer raw"),
    ],
)
def test_counts_are_found_wherever_they_stand(counts, layer, counts_in, problem, save):
    cells = cells_of(sp.csr_matrix(counts))
    if layer == "raw":
        cells.raw = cells.copy()
    elif layer:
        cells.layers[layer] = cells.X.copy()
    cells.X = sp.csr_matrix(lognorm(counts))
    path = save(cells[:, :40].copy() if layer == "raw" else cells)
    found = inspect(path)
    assert found.counts_in == counts_in
    assert found.verdict == ("lognorm" if layer is None else "float-counts")
    assert {m.name: m.verdict.kind for m in found.matrices}["X"] == "lognorm"
    if problem is None:
        assert found.problems == []
    else:
        assert problem in " ".join(found.problems)
    assert "log-normalized" in found.text()


def test_integers_and_scaled_values(counts, save):
    assert inspect(save(cells_of(sp.csr_matrix(counts.astype(np.int32))))).verdict == "counts"
    log = lognorm(counts)
    scaled = (log - log.mean(axis=0)) / np.maximum(log.std(axis=0), 1e-6)
    found = inspect(save(cells_of(scaled)))
    assert (found.verdict, found.counts_in) == ("scaled", None)


def test_every_problem_is_a_sentence_with_its_number(counts, save):
    spoiled = counts.copy()
    spoiled[[5, 6]] = 0
    spoiled[0, 0], spoiled[1, 0], spoiled[2, 0] = np.nan, np.inf, -4
    cells = cells_of(sp.csr_matrix(spoiled))
    cells.obs_names = ["same", "same", "same", *cells.obs_names[3:]]
    cells.var_names = ["ENSG1", *cells.var_names[1:-1], cells.var_names[1]]
    found = inspect(save(cells))
    text = " ".join(found.problems)
    assert found.duplicates == {"obs": 2, "var": 1}
    assert "2 cell names repeat an earlier one (first 'same')" in text
    assert "1 gene name repeat" in text
    assert "X holds 1 NaN value;" in text
    assert "X holds 1 infinite value;" in text
    assert "X holds 1 negative value (lowest -4)" in text
    assert "2 cells without a single count" in text
    assert found.verdict == "unknown"
    matrix = found.to_dict()["matrices"][0]
    assert (matrix["nan"], matrix["infinite"], matrix["negative"]) == (1, 1, 1)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda c: c.__setattr__("X", sp.csr_matrix(c.shape, dtype="f4")), "No counts anywhere"),
        (lambda c: c.X.data.fill(1), "Every nonzero value of X is 1"),
        (lambda c: c.X.data.__setitem__(slice(9), 0), "X stores 9 zeros"),
        (lambda c: c.__setattr__("obs_names", [str(i) for i in range(120)]), "only numbered (0, 1"),
        (lambda c: c.__setattr__("var_names", [f"{i}_at" for i in range(50)]), "neither Ensembl"),
        (
            lambda c: c.__setattr__("var_names", [*c.var_names[:20], *c.var["gene_symbol"][20:]]),
            "Gene ids are mixed: 40 % are Ensembl",
        ),
        (
            lambda c: c.__setattr__(
                "var_names", ["ENSG00000000009.1", *c.var_names[1:49], "ENSG00000000009.2"]
            ),
            "2 more gene ids repeat an earlier one once versions are left out",
        ),
    ],
)
def test_smaller_problems(counts, change, sentence, save):
    cells = cells_of(sp.csr_matrix(counts))
    change(cells)
    assert sentence in " ".join(inspect(save(cells)).problems)


def test_a_file_without_a_matrix(tmp_path):
    path = tmp_path / "cells.h5ad"
    ad.AnnData(obs=pd.DataFrame(index=["a", "b"]), var=pd.DataFrame(index=["x"])).write_h5ad(path)
    found = inspect(path)
    assert (found.verdict, found.counts_in) == ("unknown", None)
    assert "There is no matrix" in found.problems[0]
    assert "without a matrix" in found.text()
    json.dumps(found.to_dict(), allow_nan=False)


def test_the_first_known_label_column_is_summarized(counts, save):
    cells = cells_of(sp.csr_matrix(counts))
    found = inspect(save(cells)).to_dict()["column"]
    assert found["name"] == "subtype"
    assert found["most_frequent"] == [{"value": v, "n": 40} for v in ("exc", "glia", "inh")]
    assert found["examples"] == ["exc", "inh", "glia"]
    cells.obs["cluster"] = np.arange(120) // 60
    assert inspect(save(cells)).column.name == "cluster"
    del cells.obs["cluster"], cells.obs["subtype"]
    assert inspect(save(cells)).column is None


def test_a_column_by_another_agrees_with_pandas(counts, save):
    cells = cells_of(sp.csr_matrix(counts))
    rng = np.random.default_rng(2)
    cells.obs["kind"] = pd.Categorical([f"k{i}" for i in rng.integers(0, 25, 120)])
    cells.obs["site"] = rng.choice(["a", "b", None], 120)
    cells.obs["site"] = cells.obs["site"].astype("category")
    found = inspect(save(cells), column="kind", by="site", values=["k3", "k1"])
    kinds = cells.obs["kind"].astype(str)
    assert found.column.wanted == [("k3", (kinds == "k3").sum()), ("k1", (kinds == "k1").sum())]
    cross = found.column.cross
    expected = pd.crosstab(
        kinds.where(kinds.isin(["k1", "k3"]), "(other)"),
        cells.obs["site"].astype(object).where(cells.obs["site"].notna(), "(missing)"),
    )
    got = pd.DataFrame(cross.counts, index=cross.rows, columns=cross.columns)
    pd.testing.assert_frame_equal(
        got.sort_index().sort_index(axis=1), expected, check_names=False, check_dtype=False
    )
    ten = inspect(save(cells), column="kind").column.most_frequent
    counted = kinds.value_counts()
    assert [n for _, n in ten] == counted.head(10).tolist()
    assert all(counted[value] == n for value, n in ten)


def test_numbers_as_labels_and_as_measurements(counts, save):
    cells = cells_of(sp.csr_matrix(counts))
    cells.obs["alias"] = np.where(np.arange(120) < 50, 2523.0, 210.0)
    cells.obs.iloc[3, cells.obs.columns.get_loc("alias")] = np.nan
    found = inspect(save(cells), column="alias", values=["210"])
    assert found.column.wanted == [("210", 70)]
    assert found.column.n_missing == 1
    assert "1 missing" in found.text()
    depth = inspect(save(cells), column="depth").column
    assert depth.quantiles["median"] == pytest.approx(cells.obs["depth"].median())
    assert "median" in inspect(save(cells), column="depth").text()


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"column": "subtipe"}, "no column 'subtipe': did you mean 'subtype'"),
        ({"column": "qqqq"}, "no column 'qqqq': there are: subtype, donor"),
        ({"by": "dono"}, "no column 'dono': did you mean 'donor'"),
        ({"values": ["exc", "inhh"]}, "no cell has 'inhh' in column 'subtype': did you mean 'inh'"),
    ],
)
def test_unknown_columns_and_values_name_the_nearest(counts, asked, sentence, save):
    path = save(cells_of(sp.csr_matrix(counts)))
    with pytest.raises(DataError, match=sentence):
        inspect(path, **asked)


def test_by_without_a_column_says_what_to_name(counts, save):
    cells = cells_of(sp.csr_matrix(counts))
    cells.obs = cells.obs.rename(columns={"subtype": "kind"})
    with pytest.raises(DataError, match=r"--by needs a column.*there are: kind, donor"):
        inspect(save(cells), by="donor")


@pytest.mark.parametrize("shape", [(0, 5), (5, 0)])
def test_empty_files_are_refused(shape, tmp_path):
    path = tmp_path / "cells.h5ad"
    ad.AnnData(np.zeros(shape, dtype=np.float32)).write_h5ad(path)
    with pytest.raises(DataError, match=rf"cells\.h5ad: there are no .*{shape[0]} × {shape[1]}"):
        inspect(path)


def test_a_matrix_that_does_not_fit_its_tables(counts, save):
    path = save(cells_of(sp.csr_matrix(counts)))
    with h5py.File(path, "r+") as file:
        file["X"].attrs["shape"] = np.array([119, 50])
    with pytest.raises(DataError, match="X is 119 × 50, but there are 120 cells"):
        inspect(path)


def test_a_short_column_is_named(counts, save):
    path = save(cells_of(sp.csr_matrix(counts)))
    with h5py.File(path, "r+") as file:
        del file["obs/depth"]
        file["obs/depth"] = np.arange(7)
    with pytest.raises(DataError, match="column 'depth' has 7 entries for 120"):
        inspect(path)


def atlas(path, layout: str, n: int = 60_000, g: int = 2_000) -> np.ndarray:
    """A file of 24 million values made of one compressed chunk repeated; returns its offsets."""
    rng = np.random.default_rng(0)
    long, short = (n, g) if layout == "csr" else (g, n)
    chunk, period = 48_000, 120 if layout == "csr" else 4
    lengths = chunk // period + rng.permutation(np.repeat([-100, 100], period // 2))
    indices = np.concatenate([np.sort(rng.permutation(short)[:k]) for k in lengths])
    values = 1 + rng.poisson(1.0, chunk)
    repeats = long // period
    indptr = np.concatenate([[0], np.cumsum(np.tile(lengths, repeats))])
    with h5py.File(path, "w") as file:
        file.attrs["encoding-type"], file.attrs["encoding-version"] = "anndata", "0.1.0"
        group = file.create_group("X")
        group.attrs["encoding-type"] = f"{layout}_matrix"
        group.attrs["encoding-version"] = "0.1.0"
        group.attrs["shape"] = np.array([n, g])
        group["indptr"] = indptr
        for name, part in (("data", values.astype("f4")), ("indices", indices.astype("i4"))):
            packed = zlib.compress(part.tobytes(), 1)
            stored = group.create_dataset(
                name, (chunk * repeats,), part.dtype, chunks=(chunk,), compression="gzip"
            )
            for at in range(repeats):
                stored.id.write_direct_chunk((at * chunk,), packed)
        write_elem(file, "obs", pd.DataFrame(index=[f"c{i}" for i in range(n)]))
        write_elem(file, "var", pd.DataFrame(index=[f"ENSG{i:011d}" for i in range(g)]))
    return indptr


@pytest.mark.parametrize("layout", ["csr", "csc"])
def test_a_large_matrix_is_sampled_and_the_verdict_says_so(layout, tmp_path):
    path = tmp_path / "atlas.h5ad"
    indptr = atlas(path, layout)
    tracemalloc.start()
    start = time.perf_counter()
    found = inspect(path)
    seconds = time.perf_counter() - start
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The matrix is 192 MB in memory; a time limit generous enough for a busy machine.
    assert peak < 100e6
    assert seconds < 10
    assert found.verdict == "float-counts"
    assert found.to_dict()["density"] == pytest.approx(indptr[-1] / (60_000 * 2_000))
    if layout == "csc":
        assert "of 2,000 genes" in found.judged.verdict.evidence
        assert found.to_dict()["genes_per_cell"] is None
        assert "stored by gene" in found.text()
        return
    assert "of 60,000 cells" in found.judged.verdict.evidence
    assert 0 < found.judged.cells_read < 60_000
    # Nonzeros per cell are known exactly, counts from the sample: about two per nonzero here.
    exact = np.diff(indptr)
    genes = found.to_dict()["genes_per_cell"]
    assert genes["median"] == np.median(exact)
    assert genes["max"] == exact.max()
    counts = found.to_dict()["counts_per_cell"]
    assert counts["mean"] == pytest.approx(2 * exact.mean(), rel=0.03)


def test_a_large_dense_matrix_is_sampled(tmp_path):
    path = tmp_path / "dense.h5ad"
    block = np.random.default_rng(0).poisson(0.3, (1000, 900)).astype("f4")
    with h5py.File(path, "w") as file:
        file.attrs["encoding-type"], file.attrs["encoding-version"] = "anndata", "0.1.0"
        stored = file.create_dataset(
            "X", (20_000, 900), "f4", chunks=(1000, 900), compression="gzip"
        )
        stored.attrs["encoding-type"], stored.attrs["encoding-version"] = "array", "0.2.0"
        packed = zlib.compress(block.tobytes(), 1)
        for at in range(20):
            stored.id.write_direct_chunk((at * 1000, 0), packed)
        write_elem(file, "obs", pd.DataFrame(index=[f"c{i}" for i in range(20_000)]))
        write_elem(file, "var", pd.DataFrame(index=[f"GENE{i}" for i in range(900)]))
    found = inspect(path)
    assert found.verdict == "float-counts"
    assert "of 20,000 cells" in found.judged.verdict.evidence
    assert found.to_dict()["density"] == pytest.approx((block > 0).mean(), rel=0.02)


def test_the_text_is_plain_and_fits_a_terminal(counts, save):
    cells = cells_of(sp.csr_matrix(counts))
    for i in range(12):
        cells.obs[f"a rather long column name {i}"] = pd.Categorical(np.arange(120) % (i + 1))
    found = inspect(save(cells), by="a rather long column name 11")
    text = found.text()
    assert max(map(len, text.splitlines())) < 100
    assert "\x1b" not in text
    assert str(found) == repr(found) == text
    assert "no problems found" in text


def test_real_files(real_data):
    found = inspect(real_data / "whb_neurons" / "whb_neurons_1152x2000.h5ad")
    assert (found.verdict, found.counts_in, found.split_by) == (
        "float-counts",
        "X",
        "library_label",
    )
    assert found.column.most_frequent == [("cluster_2523", 620), ("cluster_210", 532)]
    (path,) = (real_data / "allen_m1").glob("*.h5ad")
    found = inspect(path, column="celltype", by="donor")
    assert (found.verdict, found.genes.kind, found.split_by) == ("counts", "symbol", "donor")
    assert dict(found.column.categories)["Exc"] == 48_536
    assert sum(sum(row) for row in found.column.cross.counts) == 76_533


def test_a_zarr_is_looked_at_like_an_h5ad(tmp_path):
    cells = simulate(120, 60, seed=3)
    cells.layers["half"] = cells.X.tocsc() * 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cells.write_h5ad(tmp_path / "a.h5ad")
        cells.write_zarr(tmp_path / "a.zarr")
    one, two = (inspect(tmp_path / f"a.{e}", "subtype").to_dict() for e in ("h5ad", "zarr"))
    for found in (one, two):
        for key in ("file", "bytes"):
            del found[key]
        found["uns"] = sorted(found["uns"])
        for matrix in found["matrices"]:
            del matrix["compression"], matrix["stored_bytes"]
        found["matrices"].sort(key=lambda matrix: matrix["name"])
    assert one == two
    assert two["obs"][0]["kind"] == "string"
