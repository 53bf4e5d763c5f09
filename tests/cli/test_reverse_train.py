"""``cellwright reverse train`` and ``predict`` typed by hand: one object of JSON, one sentence of error."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from typer.testing import CliRunner

from cellwright.cli.main import app
from cellwright.errors import RunError, SettingsError


@pytest.fixture(scope="module")
def screen_file(tmp_path_factory):
    """Five targets and their ten doubles; effects add up."""
    rng = np.random.default_rng(0)
    effects = 0.8 * rng.normal(size=(5, 70))
    rate = rng.lognormal(1, 0.5, 70)
    labels, counts = [], []
    for members in [(), *((i,) for i in range(5)), *((i, j) for i in range(5) for j in range(i))]:
        lift = np.exp(effects[list(members)].sum(axis=0))
        counts.append(rng.poisson(rate * lift, (24, 70)))
        labels += ["+".join(f"T{i}" for i in sorted(members)) or "control"] * 24
    obs = pd.DataFrame({"condition": labels}, index=[f"c{i}" for i in range(len(labels))])
    var = pd.DataFrame(index=[f"GENE{i}" for i in range(70)])
    path = tmp_path_factory.mktemp("screen") / "screen.h5ad"
    AnnData(np.vstack(counts).astype(np.float32), obs=obs, var=var).write_h5ad(path)
    return path


@pytest.fixture(scope="module")
def run(screen_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "reverse"
    typed = f"reverse train {screen_file} -o {out} --epochs 8 --k 5 --hidden 16,8 --json -q"
    done = CliRunner().invoke(app, typed.split())
    assert done.exit_code == 0, done.output
    return out, json.loads(done.stdout)


def test_train_prints_one_object(run):
    out, metrics = run
    assert metrics["schema"] == "cellwright.reverse/1" and metrics["conditions"]["test"] == 3
    assert "hidden = [\n    16,\n    8,\n]" in (out / "config.toml").read_text()


def test_predict_prints_a_ranking_or_one_object(run, screen_file, tmp_path):
    out, _ = run
    typed = f"reverse predict {out} {screen_file} --case T1 --top 3 -q"
    done = CliRunner().invoke(app, typed.split())
    assert done.exit_code == 0 and "T1: 24 cells against 24 controls" in done.stdout
    done = CliRunner().invoke(app, [*typed.split(), "--json", "-o", str(tmp_path / "p")])
    found = json.loads(done.stdout)
    assert found["schema"] == "cellwright.reverse-predict/1"
    assert [c["case"] for c in found["cases"]] == ["T1"]
    assert found["cases"][0]["genes"][0]["gene"] == "T1"
    assert (tmp_path / "p" / "ranking.tsv").is_file()


@pytest.mark.parametrize(
    ("typed", "error", "words"),
    [
        ("--hidden 12,big", SettingsError, "'12,big'"),
        ("--kind perceptron", SettingsError, "'perceptron'"),
        ("--control contrl", SettingsError, "'contrl'.*'control'"),
        ("--own-genes none", SettingsError, "'none'"),
    ],
)
def test_bad_settings_are_one_sentence(screen_file, tmp_path, typed, error, words):
    command = f"reverse train {screen_file} -o {tmp_path / 'run'} -q {typed}"
    with pytest.raises(error, match=words):
        CliRunner().invoke(app, command.split(), catch_exceptions=False)


def test_a_folder_that_is_no_run(screen_file, tmp_path):
    with pytest.raises(RunError, match="no run folder at"):
        CliRunner().invoke(
            app,
            ["reverse", "predict", str(tmp_path / "x"), str(screen_file)],
            catch_exceptions=False,
        )


def test_help_names_defaults():
    done = CliRunner().invoke(app, ["reverse", "train", "--help"])
    assert "Default: 20" in done.stdout and "Example:" in done.stdout
