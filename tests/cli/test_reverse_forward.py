"""``cellwright reverse forward`` as a user types it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData


@pytest.fixture
def screen(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat(["ctrl", "A1", "B1", "C1", "A1+B1", "A1+C1"], 12)
    counts = rng.poisson(4, (len(labels), 70))
    for row, name in enumerate(labels):
        for gene in name.split("+") if name != "ctrl" else []:
            counts[row, "ABC".index(gene[0]) * 9 : "ABC".index(gene[0]) * 9 + 6] += 5
    obs = pd.DataFrame({"condition": labels}, index=[f"c{i}" for i in range(len(labels))])
    cells = AnnData(counts.astype(np.float32), obs=obs)
    cells.var_names = [f"GENE{i}" for i in range(70)]
    cells.write_h5ad(tmp_path / "screen.h5ad")
    return tmp_path / "screen.h5ad"


def test_forward(run, screen, tmp_path):
    words = ("reverse", "forward", screen, "--split", "leave-one-double-out")
    status, said, error = run(*words, "-o", tmp_path / "out", "--json")
    assert status == 0, error
    found = json.loads(said)
    assert found["schema"] == "cellwright.reverse-forward/1"
    assert {s["rep"] for s in found["scores"]} == {
        "no-change", "mean", "additive", "linear", "effects",
    }  # fmt: skip
    assert all(s["value"] > 0 for s in found["scores"] if s["metric"] == "l2")
    status, said, error = run(*words, "-o", tmp_path / "out", "-q")
    assert status == 1 and "exists already" in error
    status, said, error = run(*words, "-o", tmp_path / "new", "--control", "NT")
    assert status == 1 and "'NT'" in error
