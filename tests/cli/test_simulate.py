"""``cellwright simulate`` as a user types it."""

from __future__ import annotations

import json

import anndata
import pandas as pd


def test_writes_cells_and_tables(run, tmp_path):
    out, tables = tmp_path / "n.h5ad", tmp_path / "tables"
    words = ("simulate", "neurons", "-o", out, "--cells", 120, "--genes", 40, "--tables", tables)
    status, said, _ = run(*words)
    assert status == 0
    assert f"wrote {out}: 120 neurons × 40 genes" in said
    cells = anndata.read_h5ad(out)
    assert cells.shape == (120, 40)
    metadata = pd.read_csv(tables / "cell_metadata.csv")
    assert list(metadata["cell_label"]) == list(cells.obs_names)


def test_json_is_one_object(run, tmp_path):
    words = ("simulate", "neurons", "-o", tmp_path / "n.h5ad", "--cells", 60, "--genes", 30)
    status, said, _ = run(*words, "--subclass", "L5 IT", "--subclass", "Sst", "--json")
    facts = json.loads(said)
    assert status == 0
    assert (facts["n_obs"], facts["subclasses"]) == (60, 2)


def test_an_unknown_kind_or_subclass_and_an_existing_file_are_refused(run, tmp_path):
    out = tmp_path / "n.h5ad"
    status, said, error = run("simulate", "glia", "-o", out)
    assert (status, said) == (1, "")
    assert "'glia'" in error
    status, _, error = run("simulate", "neurons", "-o", out, "--subclass", "Pvalv")
    assert status == 1
    assert "did you mean 'Pvalb'" in error
    out.write_text("mine")
    status, _, error = run("simulate", "neurons", "-o", out, "--cells", 50, "--genes", 30)
    assert status == 1
    assert "exists already" in error
    assert out.read_text() == "mine"
    assert error.count("\n") == 1


def test_tables_that_exist_are_refused_before_anything_is_drawn(run, tmp_path):
    (tmp_path / "cluster.csv").write_text("mine")
    words = ("simulate", "neurons", "-o", tmp_path / "n.h5ad", "--tables", tmp_path)
    status, _, error = run(*words)
    assert status == 1
    assert "cluster.csv exists already" in error
    assert not (tmp_path / "n.h5ad").exists()
