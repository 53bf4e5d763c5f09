"""``cellwright unique`` as a user types it."""

from __future__ import annotations

import json
import warnings

import anndata
import numpy as np
import pytest
import scipy.sparse as sp


@pytest.fixture
def file(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that repeat
        cells = anndata.AnnData(sp.csr_matrix(np.arange(20, dtype=np.float32).reshape(5, 4)))
        cells.obs_names, cells.var_names = list("aabcd"), list("ghgg")
        cells.write_h5ad(tmp_path / "in.h5ad")
    return tmp_path / "in.h5ad"


def test_names_are_settled_and_told(run, file):
    out = file.with_name("out.h5ad")
    status, said, _ = run("unique", file, "-o", out, "--genes", "collapse", "--cells", "drop")
    assert status == 0
    assert "1 cells repeated an earlier name: dropped; 2 genes repeated" in said
    assert f"wrote {out}: 4 cells × 2 genes, " in said
    made = anndata.read_h5ad(out)
    assert made.X.toarray()[0].tolist() == [0 + 2 + 3, 1]
    status, said, log = run("unique", file, "-o", out, "--force", "--json", "-q")
    facts = json.loads(said)
    assert (status, log) == (0, "")
    assert facts["schema"] == "cellwright.unique/1"
    assert (facts["repeated_cells"], facts["repeated_genes"]) == (1, 2)
    assert (facts["genes"], facts["n_obs"], facts["n_vars"]) == ("make_unique", 5, 4)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("--memory", "lots"), "--memory is 'lots'"),
        (("--memory", "1MB"), "memory is 1,000,000 bytes"),
        (("--workers", "0"), "--workers is 0"),
        (("--workers", "2", "--dask", "tcp://x:1"), "--workers 2 and --dask tcp://x:1"),
    ],
)
def test_what_cannot_work_is_one_sentence(run, file, typed, said):
    status, out, log = run("unique", file, "-o", file.with_name("out.h5ad"), *typed)
    assert (status, out) == (1, "")
    assert log.startswith("cellwright: ") and said in log and log.count("\n") == 1
    assert not file.with_name("out.h5ad").exists()
