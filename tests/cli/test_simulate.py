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


def test_a_screen_is_written_as_the_preset_says(run, tmp_path):
    out = tmp_path / "screen.h5ad"
    words = ("simulate", "screen", "-o", out, "--preset", "norman", "--cells", 8)
    status, said, _ = run(*words, "--depth", 1000, "--interference", "--own-measured", 1)
    assert status == 0
    assert f"wrote {out}: 364 cells × 500 genes, 18 single and 15 double" in said
    cells = anndata.read_h5ad(out)
    facts = json.loads(cells.uns["truth"])["settings"]
    assert (facts["counts_per_gene"], facts["kind"], facts["own_measured"]) == (
        2.0,
        "interference",
        1.0,
    )
    assert cells.obs["condition"].nunique() == 34
    status, said, _ = run(*words, "--force", "--json")
    told = json.loads(said)
    assert (told["schema"], told["doubles"], told["preset"]) == (
        "cellwright.simulate/1",
        15,
        "norman",
    )


def test_options_of_the_other_kind_and_settings_that_cannot_work_are_named(run, tmp_path):
    out = tmp_path / "screen.h5ad"
    for words, expected in (
        (("screen", "--donors", 3), "--donors is an option of neurons, and screen was asked for"),
        (("neurons", "--targets", 3), "--targets is an option of screens"),
        (("screen", "--preset", "normen"), "did you mean 'norman'"),
        (("screen", "--targets", 3, "--doubles", 5), "3 targets make only 3 pairs"),
        (("screen", "--depth", 0), "depth is 0"),
    ):
        status, said, error = run("simulate", *words, "-o", out)
        assert (status, said) == (1, "")
        assert expected in error
        assert error.count("\n") == 1
    assert not out.exists()
