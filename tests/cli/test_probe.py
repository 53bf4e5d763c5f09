"""``cellwright probe`` as a user types it."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import pytest

from cellwright.data.simulate import simulate


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Simulated neurons with a class to predict, a log-normalized copy beside them."""
    folder = tmp_path_factory.mktemp("cells")
    cells = simulate(150, 60, n_donors=4, subclasses=["L5 IT", "Sst"])
    cells.write_h5ad(folder / "neurons.h5ad")
    logged = cells.copy()
    logged.X = logged.X.astype(np.float32).log1p()
    logged.write_h5ad(folder / "logged.h5ad")
    return folder / "neurons.h5ad"


def test_writes_a_folder_and_prints_scores_beside_the_shortcuts(run, file, tmp_path):
    out = tmp_path / "out"
    words = ("probe", file, "--rep", "pca", "--label", "subclass", "-o", out, "--shuffles", 2)
    status, said, error = run(*words)
    assert status == 0, error
    for expected in ("subclass: whole donor held out", "hvg", "depth+batch", "chance", "not seen"):
        assert expected in said
    assert f"Everything is in {out}." in said
    assert (out / "metrics.json").is_file()
    status, _, error = run(*words)
    assert status == 1 and "exists already" in error
    status, said, _ = run(*words, "--force", "--quiet")
    assert status == 0


def test_json_is_one_object(run, file, tmp_path):
    out = tmp_path / "out"
    words = ("probe", file, "--label", "subclass", "-o", out, "--positive", "Sst")
    status, said, _ = run(*words, "--shuffles", 0, "--json")
    facts = json.loads(said)
    assert status == 0
    assert facts["schema"] == "cellwright.probe/1" and facts["positive"] == "Sst"
    assert facts["asked"] == ["hvg"] and facts["folder"] == str(out)
    keys = {"task", "rep", "model", "metric", "value", "low", "high", "interval", "unit", "n",
            "chance", "split", "fold_unit", "seen", "stratum", "baseline", "difference"}  # fmt: skip
    assert keys <= set(facts["scores"][0])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--label", "subclas"), "no label column 'subclas' in obs: did you mean 'subclass'?"),
        (("--label", "subclass", "--rep", "hgv"), "did you mean 'hvg'?"),
        (("--label", "subclass", "--rep", "obsm:X_pca"), "no 'X_pca' in obsm"),
        (("--label", "subclass", "--positive", "Pvalb", "--negative", "Sst"), "'Pvalb'"),
        (("--label", "subclass", "--group", "plate"), "no grouping column 'plate'"),
        (("--label", "subclass", "--layer", "raw"), "'raw'"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(run, file, tmp_path, words, said):
    status, _, error = run("probe", file, *words, "-o", tmp_path / "out", "--shuffles", 0)
    assert status == 1
    assert said in error
    assert len([line for line in error.splitlines() if line.startswith("cellwright: ")]) == 1
    assert not list(tmp_path.iterdir())


def test_lognormalized_data_and_a_missing_file(run, file, tmp_path):
    logged = file.with_name("logged.h5ad")
    status, _, error = run("probe", logged, "--label", "subclass", "-o", tmp_path / "out")
    assert status == 1 and "log" in error and "--layer" in error
    status, _, error = run("probe", tmp_path / "no.h5ad", "--label", "x", "-o", tmp_path / "out")
    assert status == 1 and "no.h5ad" in error


def test_a_failed_check_ends_in_status_3_under_strict_with_everything_written(run, tmp_path):
    cells = simulate(120, 60, n_donors=4, subclasses=["L5 IT", "Sst"])
    again = cells[:60].copy()
    again.obs_names = ["copy:" + name for name in again.obs_names]
    again.obs["donor"] = "copied"
    both = anndata.concat([cells, again], merge="same", uns_merge="same")
    both.write_h5ad(tmp_path / "copies.h5ad")
    out = tmp_path / "out"
    words = ("probe", tmp_path / "copies.h5ad", "--rep", "depth", "--label", "subclass", "-o", out)
    status, said, error = run(*words, "--shuffles", 0, "--strict")
    assert status == 3
    assert "the very counts of a cell outside test" in error and "Failed: " in said
    assert len(pd.read_csv(out / "predictions.tsv", sep="\t"))
