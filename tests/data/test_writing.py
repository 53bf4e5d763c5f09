"""Written cells read back as they were; nothing half-written is left behind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellwright.data.reading import read_cells, record, write_cells
from cellwright.errors import DataError, RunError


@pytest.fixture
def cells() -> ad.AnnData:
    n = 40
    counts = sp.csr_matrix(np.random.default_rng(0).poisson(0.5, (n, 20)).astype(np.float32))
    every_third = [None if i % 3 == 0 else i for i in range(n)]
    obs = pd.DataFrame(
        {
            "text": [f"s{i % 4}" for i in range(n)],
            "category": pd.Categorical([f"k{i % 3}" for i in range(n)], ordered=True),
            "gaps": pd.Categorical([None if i % 3 == 0 else "a" for i in range(n)]),
            "whole": pd.array(every_third, dtype="Int64"),
            "flag": pd.array([None if i is None else i % 2 == 0 for i in every_third], "boolean"),
            "number": np.linspace(0, 1, n),
            "yes": np.arange(n) % 2 == 0,
        },
        index=[f"cell{i}" for i in range(n)],
    )
    cells = ad.AnnData(counts, obs=obs, var=pd.DataFrame(index=[f"GENE{i}" for i in range(20)]))
    cells.layers["counts"] = sp.csc_matrix(counts)
    cells.layers["dense"] = counts.toarray()
    cells.obsm["X_pca"] = np.random.default_rng(1).normal(size=(n, 3))
    cells.varm["run"] = np.ones((20, 2))
    cells.obsp["graph"] = sp.eye(n, format="csr")
    cells.uns["colours"] = {"a": 1, "b": np.array(["x", "y"])}
    cells.raw = cells.copy()
    return cells


def same(a: ad.AnnData, b: ad.AnnData) -> None:
    pd.testing.assert_frame_equal(a.obs, b.obs)
    pd.testing.assert_frame_equal(a.var, b.var)
    assert (a.X != b.X).nnz == 0
    assert a.X.dtype == b.X.dtype
    assert b.layers["counts"].format == "csc"
    np.testing.assert_array_equal(a.layers["dense"], b.layers["dense"])
    np.testing.assert_array_equal(a.obsm["X_pca"], b.obsm["X_pca"])
    np.testing.assert_array_equal(a.varm["run"], b.varm["run"])
    assert (a.obsp["graph"] != b.obsp["graph"]).nnz == 0
    assert (a.raw.X != b.raw.X).nnz == 0
    assert b.uns["colours"]["b"].tolist() == ["x", "y"]


def test_written_cells_read_back_identically(cells, tmp_path):
    before = cells.copy()
    write_cells(cells, tmp_path / "out.h5ad")
    same(before, ad.read_h5ad(tmp_path / "out.h5ad"))
    same(before, cells)
    assert [p.name for p in tmp_path.iterdir()] == ["out.h5ad"]


def test_backed_cells_are_copied_and_stay_where_they_are(cells, tmp_path):
    write_cells(cells, tmp_path / "first.h5ad")
    backed = read_cells(tmp_path / "first.h5ad", backed=True)
    write_cells(backed, tmp_path / "second.h5ad")
    assert Path(backed.filename).name == "first.h5ad"
    same(cells, read_cells(tmp_path / "second.h5ad"))
    with pytest.raises(DataError, match=r"first\.h5ad: the cells are being read from it"):
        write_cells(backed, tmp_path / "first.h5ad", force=True)


def test_views_are_written(cells, tmp_path):
    write_cells(cells[3:9, ::2], tmp_path / "part.h5ad")
    assert (cells.X[3:9, ::2] != read_cells(tmp_path / "part.h5ad").X).nnz == 0


def test_columns_of_python_objects_get_a_type_of_their_own(cells, tmp_path):
    cells.obs["text_gaps"] = pd.Series(["a", None] * 20, index=cells.obs_names, dtype=object)
    cells.obs["flags"] = pd.Series([True, None] * 20, index=cells.obs_names, dtype=object)
    cells.obs["numbers"] = pd.Series([1, None] * 20, index=cells.obs_names, dtype=object)
    cells.obs["nothing"] = pd.Series([None] * 40, index=cells.obs_names, dtype=object)
    write_cells(cells, tmp_path / "out.h5ad")
    found = read_cells(tmp_path / "out.h5ad").obs
    assert (
        found["text_gaps"].astype(object).where(found["text_gaps"].notna(), None).tolist()
        == [
            "a",
            None,
        ]
        * 20
    )
    assert found["flags"].dtype == "boolean"
    assert found["numbers"].dtype == "Int64"
    assert found["nothing"].isna().all()
    assert cells.obs["flags"].dtype == object


def test_an_existing_file_is_kept_unless_forced(cells, tmp_path):
    path = tmp_path / "out.h5ad"
    path.write_text("mine")
    with pytest.raises(RunError, match=r"out\.h5ad exists already"):
        write_cells(cells, path)
    assert path.read_text() == "mine"
    write_cells(cells, path, force=True)
    assert read_cells(path).n_obs == 40


def test_what_cannot_be_written_is_named_and_leaves_nothing(cells, tmp_path):
    with pytest.raises(DataError, match=r"the folder .*nowhere does not exist"):
        write_cells(cells, tmp_path / "nowhere" / "out.h5ad")
    with pytest.raises(DataError, match="is a folder"):
        write_cells(cells, tmp_path, force=True)
    cells.obs["mixed"] = [1, "a"] * 20
    with pytest.raises(DataError, match=r"obs\['mixed'\] .* mixes kinds .*e\.g\. 1"):
        write_cells(cells, tmp_path / "out.h5ad")
    del cells.obs["mixed"]
    cells.uns["thing"] = object()
    with pytest.raises(DataError, match="No method registered for writing <class 'object'>"):
        write_cells(cells, tmp_path / "out.h5ad")
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, signal, sys
import anndata as ad, scipy.sparse as sp
from cellwright.data.reading import write_cells
from cellwright.errors import DataError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
cells = ad.AnnData(sp.random(3000, 200, 0.3, format="csr", random_state=0, dtype="float32"))
said = []
for limit in (0, 1000, 20_000, 200_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        write_cells(cells, sys.argv[1])
    except DataError as error:
        said.append(str(error))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
print("\\n".join(said))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a thing of Unix")
def test_a_disk_that_fills_up_ends_in_one_sentence_and_leaves_nothing(tmp_path):
    # A limit on the size of files makes writes fail in the middle, as a full disk does.
    folder = tmp_path / "full"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(folder / "out.h5ad")],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.splitlines()
    assert said == [f"cannot write {folder / 'out.h5ad'}: File too large"] * 4
    assert list(folder.iterdir()) == []


def test_stages_are_numbered_and_survive_the_file(cells, tmp_path):
    record(cells, "split", {"by": "donor", "seed": 3})
    record(cells, "embed", {"run": "a"})
    write_cells(cells, tmp_path / "out.h5ad")
    again = read_cells(tmp_path / "out.h5ad")
    record(again, "split", {"by": None})
    stages = again.uns["cellwright"]
    assert list(stages) == ["0001-split", "0002-embed", "0003-split"]
    assert json.loads(stages["0001-split"]) == {"by": "donor", "seed": 3}
    with pytest.raises(DataError, match="'bad' cannot be noted"):
        record(again, "bad", {"x": float("nan")})
    assert list(again.uns["cellwright"]) == ["0001-split", "0002-embed", "0003-split"]
    again.uns["cellwright"] = "mine"
    with pytest.raises(DataError, match="is 'mine', expected a mapping"):
        record(again, "x", {})
