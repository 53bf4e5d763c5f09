"""Networks as methods of the reverse benchmark: beside the baselines, checked, and watched over epochs."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from cellwright.errors import SettingsError
from cellwright.workflows.reverse_benchmark import reverse_benchmark

QUICK = {"hidden": (8,), "width": 16, "heads": 2, "epochs": 2, "groups": 4, "batch_size": 32}


@pytest.fixture(scope="module")
def cells() -> AnnData:
    """Poisson counts of six targets and ten of their doubles; log effects add up."""
    rng = np.random.default_rng(3)
    effects = 0.7 * rng.normal(size=(6, 80))
    effects[:, :6] = 2 * np.eye(6)
    rate = rng.lognormal(1, 0.5, 80)
    pairs = list(combinations(range(6), 2))
    doubles = [pairs[i] for i in rng.permutation(len(pairs))[:10]]
    labels, counts = [], []
    for chosen in [(), *((i,) for i in range(6)), *doubles]:
        size = 24 if chosen else 50
        lift = np.exp(effects[list(chosen)].sum(axis=0))
        counts.append(rng.poisson(rate * lift, (size, 80)))
        labels += ["+".join(f"T{i}" for i in chosen) or "control"] * size
    obs = pd.DataFrame({"condition": labels}, index=[f"c{i}" for i in range(len(labels))])
    var = pd.DataFrame({"length": np.arange(80.0)}, index=[f"T{i}" for i in range(80)])
    return AnnData(np.vstack(counts).astype(np.float32), obs=obs, var=var)


def test_networks_stand_beside_baselines(cells, tmp_path):
    found = reverse_benchmark(
        cells,
        split="ahlmann-eltze-2025",
        partitions=2,
        k=[5],
        methods=["frequency", "additive", "mlp", "graph"],
        network=QUICK,
        knowledge=["var"],
        most=3,
        out=tmp_path / "out",
    )
    rows = found.table[(found.table.metric == "mrr") & (found.table.stratum == "all")]
    value = rows.set_index(["method", "genes"])["value"]
    for name in ("mlp", "graph"):
        assert value[name, "hidden"] > value["frequency", "hidden"] + 0.2
    curves = pd.read_csv(tmp_path / "out" / "curves.tsv", sep="\t")
    # Two networks, own genes visible and hidden, two partitions, two epochs.
    assert len(curves) == 2 * 2 * 2 * 2
    assert curves[["training_mrr", "unseen_mrr", "val_loss"]].notna().all().all()
    assert (tmp_path / "out" / "figures" / "curves.png").is_file()
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["settings"]["network"]["epochs"] == 2
    checked = [c["sentence"] for c in metrics["checks"] if "Dependence" in c["sentence"]]
    assert len(checked) == 2
    # Thresholds are chosen on validation conditions, which this split has.
    assert "micro_f1" in set(found.table.metric)


def test_without_validation_all_epochs_are_run(cells):
    found = reverse_benchmark(cells, k=[5], methods=["mlp"], network=QUICK, most=2, permutations=0)
    assert found.curves.epoch.max() == 2
    assert found.curves.val_loss.isna().all()
    assert found.curves.part.nunique() == 10


def test_networks_are_asked_for_by_name(cells):
    found = reverse_benchmark(cells, k=["all"], methods=["frequency"], most=1)
    assert found.curves.empty
    with pytest.raises(SettingsError, match="'cross-atention': did you mean 'cross-attention'"):
        reverse_benchmark(cells, methods=["cross-atention"])
    with pytest.raises(SettingsError, match=r"cell-graph is refused: .* joins cells of the test"):
        reverse_benchmark(cells, methods=["cell-graph"])


@pytest.mark.parametrize("name", ["kind", "k", "seed"])
def test_a_setting_that_the_benchmark_decides_is_refused(cells, name):
    with pytest.raises(SettingsError, match=f"{name} is no setting of the networks"):
        reverse_benchmark(cells, methods=["mlp"], network={name: 1})
    with pytest.raises(SettingsError, match="'epoch'"):
        reverse_benchmark(cells, methods=["mlp"], network={"epoch": 1})
