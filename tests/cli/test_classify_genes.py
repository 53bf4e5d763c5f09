"""``cellwright classify-genes`` as typed."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.csv"
    rows = [f"{'ZNF' if i % 2 else 'GATA'}{i},{'a' if (i % 4) < 2 else 'b'}" for i in range(40)]
    path.write_text("gene,kind\n" + "\n".join(rows) + "\n")
    return path


def test_the_text_and_the_folder_hold_the_same(run, labels, tmp_path):
    words = ("--labels", labels, "--classifier", "logistic-regression", "--folds", 2)
    words += ("--repeats", 1, "--hidden", "none", "-q")
    status, out, err = run("classify-genes", *words, "-o", tmp_path / "a")
    assert (status, err) == (0, "")
    found = json.loads((tmp_path / "a" / "metrics.json").read_text())
    assert found["schema"] == "cellwright.classify-genes/1"
    assert {s["rep"] for s in found["scores"]} == {"gene properties + LR", "family ZNF + LR"}
    assert "kind: single genes held out, 40 genes" in out
    assert "The gene-property baseline lacks length" in out


def test_bad_input_is_one_sentence(run, labels, tmp_path):
    status, _, err = run("classify-genes", "--labels", labels, "--folds", 30, "-o", tmp_path / "a")
    assert status == 1
    assert "class 'a' has 20 genes" in err and "fewer than the 30 folds" in err
    assert err.count("\n") == 1
    status, _, err = run(
        "classify-genes", "--labels", labels, "--hidden", "half", "-o", tmp_path / "a"
    )
    assert status == 1 and "--hidden is 'half'" in err
    assert not (tmp_path / "a").exists()
