"""``cellwright split`` as a user types it."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pytest

from cellwright.data.simulate import simulate
from cellwright.data.split import Split


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "neurons.h5ad"
    simulate(400, 40).write_h5ad(path)
    return path


def test_writes_the_split_beside_its_settings(run, file, tmp_path):
    out = tmp_path / "out.h5ad"
    status, said, _ = run("split", file, "-o", out, "--label", "subclass", "--cells")
    assert status == 0
    assert "Split by whole groups of donor, stratified by subclass" in said
    assert "groups of donor" in said
    assert "subclass L5 IT" in said
    made = Split.load(tmp_path / "out.split.toml")
    made.verify(anndata.read_h5ad(out).obs)
    assert len(made.assignment) == 400


def test_json_holds_parts_and_checks(run, file, tmp_path):
    words = ("split", file, "-o", tmp_path / "o.h5ad", "--by", "none", "--val", 0, "--seed", 42)
    status, said, _ = run(*words, "--json")
    facts = json.loads(said)
    assert status == 0
    assert facts["rule"] == "random-cells"
    assert facts["cells"] == {"train": 320, "val": 0, "test": 80}
    assert facts["parts"]["test"]["cells"] == 80
    assert "random-cells" in [check["name"] for check in facts["checks"]]


def test_copies_across_the_split_fail_under_strict(run, tmp_path):
    cells = simulate(400, 60)
    again = cells[:200].copy()
    again.obs_names = ["copy:" + name for name in again.obs_names]
    both = anndata.concat([cells, again], merge="same", uns_merge="same")
    both.write_h5ad(tmp_path / "copies.h5ad")
    words = ("split", tmp_path / "copies.h5ad", "-o", tmp_path / "o.h5ad", "--by", "none")
    status, _, error = run(*words, "--strict")
    assert status == 3
    assert "the very counts of a cell outside test" in error
    assert not (tmp_path / "o.h5ad").exists()
    status, said, _ = run(*words)
    assert status == 0
    assert "FAILURE" in said


def test_scaled_values_are_split_but_not_searched_for_copies(run, tmp_path):
    cells = simulate(100, 30)
    cells.X = np.asarray(cells.X.toarray() - 1.5, dtype=np.float32)
    cells.write_h5ad(tmp_path / "scaled.h5ad")
    status, said, _ = run("split", tmp_path / "scaled.h5ad", "-o", tmp_path / "o.h5ad")
    assert status == 0
    assert "Copies of cells were not looked for" in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--by", "donnor"), "did you mean 'donor'"),
        (("--label", "subclas"), "did you mean 'subclass'"),
        (("--test", "0.7", "--val", "0.4"), "sum to 1.1"),
    ],
)
def test_bad_input_is_one_sentence(run, file, tmp_path, words, told):
    status, said, error = run("split", file, "-o", tmp_path / "o.h5ad", *words)
    assert (status, said) == (1, "")
    assert told in error
    assert error.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["neurons.h5ad"]


def test_a_file_that_is_no_h5ad_is_named(run, tmp_path):
    (tmp_path / "x.h5ad").write_text("hello")
    status, _, error = run("split", tmp_path / "x.h5ad", "-o", tmp_path / "o.h5ad")
    assert status == 1
    assert "x.h5ad" in error
    status, _, error = run("split", tmp_path / "none.h5ad", "-o", tmp_path / "o.h5ad")
    assert status == 1
    assert "none.h5ad" in error
