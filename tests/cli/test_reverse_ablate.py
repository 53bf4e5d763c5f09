"""``cellwright reverse ablate`` as a user types it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
from anndata import AnnData


def test_ablate(run, tmp_path):
    rng = np.random.default_rng(0)
    labels = np.repeat(["control", *(f"T{i}" for i in range(6))], 8)
    cells = AnnData(
        rng.poisson(3, (len(labels), 60)).astype(np.float32),
        obs=pd.DataFrame({"condition": labels}, index=[f"c{i}" for i in range(len(labels))]),
    )
    cells.var_names = [f"G{i}" for i in range(60)]
    cells.write_h5ad(tmp_path / "screen.h5ad")
    (tmp_path / "known.csv").write_text(
        "gene,score\n" + "\n".join(f"T{i},{i % 3}" for i in range(6)) + "\n"
    )
    words = ("reverse", "ablate", tmp_path / "screen.h5ad", "--k", "4", "--partitions", "1")
    more = ("--knowledge", f"table:{tmp_path / 'known.csv'}", "--shuffles", "1")
    status, said, error = run(*words, *more, "-o", tmp_path / "out", "--json")
    assert status == 0, error
    found = json.loads(said)
    assert found["schema"] == "cellwright.reverse-ablate/1"
    assert {s["variant"] for s in found["scores"]} == {"none", "only table", "shuffled table"}
    status, said, error = run(*words, "--knowledge", "postions", "-o", tmp_path / "new")
    assert status == 1 and "'postions': did you mean 'positions'" in error
    status, said, error = run(*words, "-o", tmp_path / "new")
    assert status == 2 and "--knowledge" in error
