"""``cellwright cluster`` as a user types it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cellwright.data.simulate import simulate


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("cells") / "neurons.h5ad"
    simulate(150, 60, n_donors=4, subclasses=["L5 IT", "Sst"]).write_h5ad(path)
    return path


def test_writes_a_folder_and_prints_both_resolutions(run, file, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(150, 4))
    np.save(tmp_path / "mine.npy", vectors)
    out = tmp_path / "out"
    words = ("cluster", file, "--rep", f"file:{tmp_path / 'mine.npy'}", "--label", "subclass")
    status, said, error = run(*words, "-o", out, "--resolution", 0.5, "--method", "louvain")
    assert status == 0, error
    assert "subclass: clusters by louvain at resolution 0.5" in said
    assert "as many clusters as there are labels (2)" in said
    assert "depth" in said and "unknown" in said
    assert json.loads((out / "metrics.json").read_text())["settings"]["method"] == "louvain"


def test_json_is_one_object(run, file, tmp_path):
    status, said, _ = run(
        "cluster", file, "--label", "subclass", "-o", tmp_path / "out", "--json", "--neighbors", 10
    )
    facts = json.loads(said)
    assert status == 0
    assert facts["schema"] == "cellwright.cluster/1" and facts["settings"]["neighbors"] == 10
    assert set(facts["reps"]["hvg"]["given"]) >= {"ari", "nmi", "homogeneity", "completeness"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--label", "subclas"), "did you mean 'subclass'?"),
        (("--label", "subclass", "--metric", "cosin"), "'cosin'"),
        (("--label", "subclass", "--method", "leidn"), "'leidn'"),
        (("--label", "subclass", "--resolution", "-1"), "-1"),
        (("--label", "subclass", "--rep", "file:no.npy"), "no.npy"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(run, file, tmp_path, words, said):
    status, _, error = run("cluster", file, *words, "-o", tmp_path / "out")
    assert status == 1
    assert said in error.splitlines()[-1]
    assert not list(tmp_path.iterdir())
