"""``cellwright reverse train`` and ``benchmark`` of a pretrained encoder, as typed."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

SMALL = ("--epochs", "1", "--seed", "0")


@pytest.fixture(scope="module")
def screen_file(tmp_path_factory):
    """Four targets and their six doubles; effects add up."""
    rng = np.random.default_rng(0)
    effects = 0.8 * rng.normal(size=(4, 60))
    rate = rng.lognormal(1, 0.5, 60)
    labels, counts = [], []
    for members in [(), *((i,) for i in range(4)), *((i, j) for i in range(4) for j in range(i))]:
        lift = np.exp(effects[list(members)].sum(axis=0))
        counts.append(rng.poisson(rate * lift, (24, 60)))
        labels += ["+".join(f"T{i}" for i in sorted(members)) or "control"] * 24
    obs = pd.DataFrame({"condition": labels}, index=[f"c{i}" for i in range(len(labels))])
    var = pd.DataFrame(index=[f"GENE{i}" for i in range(60)])
    path = tmp_path_factory.mktemp("screen") / "screen.h5ad"
    AnnData(np.vstack(counts).astype(np.float32), obs=obs, var=var).write_h5ad(path)
    return path


def test_from_pretraining_to_a_ranking(run, screen_file, tmp_path):
    runs = tmp_path / "pretrained"
    status, _, said = run(
        "pretrain", screen_file, "-o", runs, "--size", "tiny", "--split-by", "none", "-q", *SMALL
    )
    assert status == 0, said
    out = tmp_path / "run"
    typed = ("--kind", "encoder", "--pretrained", runs, "--freeze-layers", "1", "--encoder-alone")
    status, shown, said = run(
        "reverse", "train", screen_file, "-o", out, *typed, "--k", "5", "--json", "-q", *SMALL
    )
    assert status == 0, said
    metrics = json.loads(shown)
    assert metrics["kind"] == "encoder"
    checks = {check["name"]: check for check in metrics["checks"]}
    # The screen itself was pretrained on, the test perturbations with it.
    assert checks["pretraining_cells"]["severity"] == "warning"
    config = (out / "config.toml").read_text()
    assert "freeze_layers = 1" in config and "encoder_alone = true" in config
    status, shown, _ = run("reverse", "predict", out, screen_file, "--case", "T1", "-q")
    assert status == 0 and "T1: 24 cells against 24 controls" in shown
    status, _, said = run(
        "reverse", "benchmark", screen_file, "-o", tmp_path / "b", "--method", "mlp",
        "--pretrained", runs,
    )  # fmt: skip
    assert status == 1 and "is for networks of the kind encoder" in said


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("--kind", "encoder"), "give its folder with --pretrained"),
        (("--kind", "encoder", "--pretrained", "nowhere"), "no run folder at nowhere"),
        (("--pretrained", "somewhere"), "--pretrained somewhere is for networks of the kind"),
    ],
)
def test_bad_settings_are_one_sentence(run, screen_file, tmp_path, typed, words):
    status, shown, said = run("reverse", "train", screen_file, "-o", tmp_path / "run", *typed)
    assert status == 1 and shown == ""
    assert words in said and "Traceback" not in said
    assert not (tmp_path / "run").exists()
