"""The exam on real neurons: what simple methods score there is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anndata as ad
import numpy as np
import pytest

from cellwright.evaluation.annotation import Annotation
from cellwright.evaluation.clustering import ClusterAgreement
from cellwright.interfaces import CellView


@pytest.fixture(scope="module")
def neurons(real_data: Path) -> ad.AnnData:
    return ad.read_h5ad(real_data / "whb_neurons" / "whb_neurons_1152x2000.h5ad")


@pytest.fixture(scope="module")
def views(neurons: ad.AnnData) -> dict[str, CellView]:
    counts = neurons.X.toarray().astype(np.float64)
    logs = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    depth = np.log1p(np.c_[counts.sum(axis=1), (counts > 0).sum(axis=1)])
    u, s, _ = np.linalg.svd(logs - logs.mean(axis=0), full_matrices=False)
    vectors = {"hvg": logs, "pca": u[:, :50] * s[:50], "depth": depth}
    clean = np.full(neurons.n_obs, "clean")
    return {
        name: CellView(name, lambda rows, x=x: x.astype(np.float32), clean, neurons.obs, True)
        for name, x in vectors.items()
    }


def settings(neurons: ad.AnnData) -> dict:
    label = neurons.obs["subtype"].astype("category").cat
    return {
        "label_codes_n": label.codes.to_numpy().astype(np.int64),
        "classes": tuple(label.categories),
        "cell_names_n": neurons.obs_names.to_numpy().astype(str),
        "groups_n": neurons.obs["library_label"].to_numpy().astype(str),
        "group_name": "library_label",
    }


def test_depth_alone_scores_080_and_log_counts_everything(neurons, views) -> None:
    task = Annotation(**settings(neurons), resamples=500)
    answers = [a for view in views.values() for a in task.predict(view)]
    found = task.judge([replace(a, baseline=a.rep != "pca") for a in answers])
    value = {(s.split, s.rep, s.metric): s for s in found.scores}
    assert value["random", "depth", "accuracy"].value == pytest.approx(0.80, abs=0.03)
    assert value["random", "depth", "roc_auc"].value == pytest.approx(0.88, abs=0.03)
    assert value["grouped", "depth", "accuracy"].value == pytest.approx(0.80, abs=0.03)
    assert value["grouped", "hvg", "accuracy"].value >= 0.999
    best = value["grouped", "hvg", "accuracy"]
    assert (best.unit, best.n) == ("library_label", 176)
    assert 0.97 < best.low < 0.99
    assert "does not beat hvg" in found.sentences[0]


def test_clusters_of_log_counts_are_the_two_types(neurons, views) -> None:
    found = ClusterAgreement(**settings(neurons)).predict(views["hvg"])[0].fitted[0]
    assert found.matched.n_clusters == 2
    assert found.matched.ari > 0.95
    assert found.given.n_clusters > 2
    low, high = found.majority.shuffled["low"], found.majority.shuffled["high"]
    assert 0.53 < low < high < 0.6
