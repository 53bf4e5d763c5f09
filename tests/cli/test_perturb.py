"""``cellwright perturb`` as a user types it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cellwright.data.simulate import simulate
from cellwright.models.rank_encoder import RankShape, random_rank_encoder
from cellwright.representations.geneformer import GeneformerRun
from cellwright.tokens.rank_vocabulary import RankVocabulary


@pytest.fixture
def words(tmp_path):
    cells = simulate(60, 50, seed=0)
    cells.obs["state"] = np.array(["well", "sick"])[np.arange(60) % 2]
    cells.write_h5ad(tmp_path / "cells.h5ad")
    genes = cells.var_names.to_numpy().astype(str)
    special = {"<pad>": 0, "<mask>": 1}
    vocabulary = RankVocabulary(genes, genes, np.ones(50), 2 + np.arange(50), special)
    model = random_rank_encoder(RankShape(52, 16, 2, 2, 24, 64), 0).eval()
    GeneformerRun("small", tmp_path, model, {}, vocabulary, "mean").save(tmp_path / "small")
    base = ("perturb", tmp_path / "small", tmp_path / "cells.h5ad", "-o", tmp_path / "edits")
    return base, tmp_path, genes


def test_two_edits_toward_a_state(run, words):
    base, folder, genes = words
    how = ("--null", 20, "--cells-per-gene", 6, "--min-cells", 3)
    goal = ("--states", "state", "--goal", "well:sick")
    pair = f"{genes[1]},{genes[2]}"
    status, said, error = run(*base, "--delete", genes[0], "--delete", pair, *goal, *how, "--json")
    assert status == 0, error
    found = json.loads(said)
    assert found["schema"] == "cellwright.perturb/1" and found["headline"] == "toward"
    assert {edit["edit"] for edit in found["edits"]} == {genes[0], pair.replace(",", "+")}
    assert "edited cells to embed" in error
    assert json.loads((folder / "edits" / "metrics.json").read_text())["edits"] == found["edits"]
    status, said, error = run(*base, "--raise", genes[0], *how, "--force")
    assert status == 0 and genes[0] in said and "written to" in said, error


def test_one_sentence_for_what_cannot_be(run, words):
    base, folder, genes = words
    for more, wanted in (
        (("--delete", genes[0], "--raise", genes[1]), f"--delete {genes[0]} and --raise"),
        (("--scale", genes[0], "--factor", "0"), "factor is 0"),
        (("--delete", "NOPE1"), "'NOPE1'"),
        ((), "no edit was given"),
        (("--delete", genes[0], "--states", "state", "--goal", "well:ill"), "'ill'"),
    ):
        status, said, error = run(*base, *more)
        assert status == 1 and not said and wanted in error
        assert len(error.strip().splitlines()) == 1
    assert not (folder / "edits").exists()
