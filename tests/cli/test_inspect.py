"""``cellwright inspect`` as a user meets it: what it prints, where, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellwright.cli.main import main


@pytest.fixture
def file(tmp_path):
    counts = np.random.default_rng(0).poisson(1, (60, 30)).astype(np.float32)
    cells = ad.AnnData(
        sp.csr_matrix(counts),
        obs=pd.DataFrame(
            {
                "subtype": pd.Categorical(["layer 5, deep", "inh"] * 30),
                "donor": pd.Categorical([f"d{i // 15}" for i in range(60)]),
            },
            index=[f"cell{i}" for i in range(60)],
        ),
        var=pd.DataFrame(index=[f"GENE{i}" for i in range(30)]),
    )
    path = tmp_path / "cells.h5ad"
    cells.write_h5ad(path)
    return path


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cellwright", "inspect", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return call


def test_people_get_text(file, run):
    status, out, err = run(file)
    assert (status, err) == (0, "")
    assert "cells.h5ad: 60 cells × 30 genes" in out
    assert "raw counts, stored as floats in X" in out
    assert "donor: 4 groups of 15 cells each" in out
    assert "no problems found" in out


def test_programs_get_one_json_object(file, run):
    status, out, err = run(file, "--json")
    found = json.loads(out)
    assert (status, err, out.count("\n")) == (0, "", 1)
    assert (found["n_obs"], found["verdict"], found["counts_in"]) == (60, "float-counts", "X")
    assert found["column"]["name"] == "subtype"


def test_a_column_across_another_with_values(file, run):
    status, out, _ = run(file, "--column", "subtype", "--by", "donor", "--values", "inh", "--json")
    column = json.loads(out)["column"]
    assert status == 0
    assert column["values"] == [{"value": "inh", "n": 30}]
    cross = column["cross"]
    assert cross["by"] == "donor"
    assert sum(cross["counts"][cross["rows"].index("inh")]) == 30
    # A value that holds a comma is quoted, as in a table.
    _, out, _ = run(file, "--values", '"layer 5, deep",inh', "--json")
    assert [v["n"] for v in json.loads(out)["column"]["values"]] == [30, 30]
    _, out, _ = run(file, "--by", "donor")
    assert "subtype by donor" in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--column", "subtyp"], "no column 'subtyp': did you mean 'subtype'"),
        (["--by", "doner"], "no column 'doner': did you mean 'donor'"),
        (["--values", "inh,exc"], "no cell has 'exc' in column 'subtype'"),
    ],
)
def test_wrong_names_end_in_one_sentence_and_status_1(file, run, words, sentence):
    status, out, err = run(file, *words)
    assert (status, out) == (1, "")
    assert sentence in err
    assert err.startswith("cellwright: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "there is no file"),
        (b"", "is empty (0 bytes)"),
        (b"not HDF5", "does not begin like an HDF5 file (but with b'not HDF5')"),
        ("half", "is truncated"),
    ],
)
def test_bad_files_end_in_one_sentence_and_status_1(file, run, tmp_path, content, sentence):
    path = tmp_path / "bad.h5ad"
    if content == "half":
        path.write_bytes(file.read_bytes()[:9000])
    elif content is not None:
        path.write_bytes(content)
    status, out, err = run(path)
    assert (status, out) == (1, "")
    assert sentence in err
    assert str(path) in err
    assert err.count("\n") == 1


def test_the_installed_command_shows_no_traceback(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", "from cellwright.cli.main import main; main()", "inspect", tmp_path],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"cellwright: {tmp_path} is a folder, expected an .h5ad file\n"
