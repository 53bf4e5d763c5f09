"""Reverse forward on counts whose truth is planted, and on what does not fit."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from cellwright.errors import DataError, RunError, SettingsError
from cellwright.workflows.reverse_forward import reverse_forward


def screen_of_counts(genes=80):
    """Eight singles and ten doubles whose log effects add up; the targets are the first genes."""
    rng = np.random.default_rng(4)
    effects = 0.6 * rng.normal(size=(8, genes))
    effects[:, :8] = 1.5 * np.eye(8)
    rate = rng.lognormal(1, 0.5, genes)
    pairs = [(0, 1), (2, 3), (4, 5), (6, 7), (0, 2), (1, 3), (4, 6), (5, 7), (0, 4), (1, 5)]
    labels, counts = [], []
    for chosen in [(), *((i,) for i in range(8)), *pairs]:
        size = 50 if not chosen else 20
        lift = np.exp(effects[list(chosen)].sum(axis=0))
        counts.append(rng.poisson(rate * lift, (size, genes)))
        labels += ["+".join(f"T{i}" for i in chosen) or "control"] * size
    obs = pd.DataFrame({"condition": labels}, index=[f"c{i}" for i in range(len(labels))])
    var = pd.DataFrame(index=[*(f"T{i}" for i in range(8)), *(f"G{i}" for i in range(genes - 8))])
    return AnnData(np.vstack(counts).astype(np.float32), obs=obs, var=var)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("forward") / "result"
    return reverse_forward(screen_of_counts(), partitions=2, top=60, out=out)


def test_what_adds_up_is_predicted_by_sums(found):
    rows = found.table[(found.table.stratum == "all") & (found.table.genes == "hidden")]
    value = rows.set_index(["method", "metric"])["value"]
    assert value["additive", "l2"] < value["mean", "l2"] < value["no-change", "l2"]
    assert value["additive", "pearson_delta"] > 0.7
    assert np.isnan(value["no-change", "pearson_delta"])
    # Both halves of a prediction are noisy; nothing is nearer than the noise of the cells.
    assert (rows[rows.metric == "l2"].value > rows.noise_floor.dropna().iloc[0]).all()
    assert found.settings["genes_compared"] == {"visible": 60, "hidden": 60}


def test_a_perturbation_of_two_partitions_counts_once(found):
    asked = found.each[(found.each.method == "mean") & (found.each.metric == "l2")]
    asked = asked[asked.genes == "hidden"]
    row = found.table[
        (found.table.method == "mean")
        & (found.table.metric == "l2")
        & (found.table.genes == "hidden")
        & (found.table.stratum == "all")
    ].iloc[0]
    assert row.perturbations == asked.perturbation.nunique() <= len(asked)
    assert row.value == pytest.approx(asked.groupby("perturbation").value.mean().mean())


def test_differences_are_paired_with_the_best_of_the_others(found):
    scores = [s for s in found.scores if s["metric"] == "l2" and s["genes"] == "hidden"]
    by_name = {s["rep"]: s for s in scores if s["stratum"].startswith("all")}
    best = min(by_name, key=lambda name: by_name[name]["value"])
    others = [name for name in by_name if name != best]
    assert all(by_name[name]["baseline"] == best for name in others)
    d = by_name["no-change"]["difference"]
    assert d["value"] == pytest.approx(by_name["no-change"]["value"] - by_name[best]["value"])
    assert 0 < d["low"] < d["value"] < d["high"]


def test_what_is_written(found):
    written = json.loads((found.folder / "metrics.json").read_text())
    assert written["schema"] == "cellwright.reverse-forward/1"
    assert any("Closest by distance" in s for s in written["sentences"])
    assert (found.folder / "figures" / "shifts.png").stat().st_size > 10_000
    assert len(pd.read_csv(found.folder / "perturbations.tsv", sep="\t")) == len(found.each)
    assert "additive" in found.text() and "written to" in found.text()
    with pytest.raises(RunError, match="exists already"):
        reverse_forward(screen_of_counts(), out=found.folder)


def test_an_unmeasured_target_is_said():
    cells = screen_of_counts()[:, 5:].copy()
    found = reverse_forward(cells, split="leave-one-double-out", methods=["linear", "mean"])
    assert any("5 of 8 perturbed genes are not measured" in s for s in found.sentences)
    assert any("75 genes, fewer than the 1,000" in c.sentence for c in found.checks)


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"methods": ["aditive"]}, SettingsError, "'aditive'"),
        ({"top": 1}, SettingsError, "top is 1"),
        ({"split": "unseen-single"}, SettingsError, "'unseen-single'"),
        ({"control": "NTC"}, SettingsError, "'NTC'"),
        ({"perturbation": "conditon"}, DataError, "'conditon'"),
    ],
)
def test_what_cannot_work_is_one_sentence(how, error, words):
    with pytest.raises(error, match=words):
        reverse_forward(screen_of_counts(), **how)


def test_guides_held_out_are_predicted_from_other_guides():
    cells = screen_of_counts()
    cells.obs["guide"] = [f"g{i % 2}" for i in range(cells.n_obs)]
    found = reverse_forward(cells, split="guides-held-out", guide="guide", partitions=1)
    assert all("·" not in name for name in found.each["perturbation"])
    assert found.settings["guide"] == "guide"
    with pytest.raises(DataError, match="--guide"):
        reverse_forward(cells, split="guides-held-out")
