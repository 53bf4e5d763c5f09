"""``cellwright reverse`` as a user types it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData


@pytest.fixture
def screen(tmp_path):
    rng = np.random.default_rng(0)
    lift = {"A1": 3, "B1": 5, "A1+B1": 8, "C1": 2, "A1+C1": 6}
    labels = np.repeat(["ctrl", *lift], 12)
    counts = rng.poisson(3, (len(labels), 70))
    for row, name in enumerate(labels):
        for gene in name.split("+") if name != "ctrl" else []:
            counts[row, "ABC".index(gene[0]) * 9 : "ABC".index(gene[0]) * 9 + 6] += 5
    obs = pd.DataFrame({"condition": labels}, index=[f"c{i}" for i in range(len(labels))])
    cells = AnnData(counts.astype(np.float32), obs=obs)
    cells.var_names = [f"GENE{i}" for i in range(70)]
    cells.write_h5ad(tmp_path / "screen.h5ad")
    return tmp_path / "screen.h5ad"


def test_benchmark(run, screen, tmp_path):
    words = ("reverse", "benchmark", screen, "--k", "3,all", "--method", "additive")
    more = ("--method", "frequency", "-o", tmp_path / "out")
    status, said, error = run(*words, *more, "--json")
    assert status == 0, error
    found = json.loads(said)
    assert found["schema"] == "cellwright.reverse-benchmark/1"
    assert "leave-one-double-out" in error
    best = next(s for s in found["scores"] if s["metric"] == "exact_set@1" and s["k"] == "all")
    assert best["rep"] == "additive" and best["value"] == 1.0
    status, said, error = run(*words, *more, "-q")
    assert status == 1 and "exists already" in error
    status, said, error = run(*words, *more, "-q", "--force")
    assert status == 0 and "additive ranks best" in said and "written to" in said


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--control", "nt"), "'nt'"),
        (("--perturbation", "conditon"), "did you mean 'condition'"),
        (("--split", "missing.json"), "missing.json"),
        (("--split", "ahlmann-eltze-2025"), "the data have 2"),
    ],
)
def test_what_does_not_fit_is_one_sentence(run, screen, tmp_path, words, expected):
    status, _, error = run("reverse", "benchmark", screen, "-o", tmp_path / "out", *words)
    assert status == 1 and expected in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()
