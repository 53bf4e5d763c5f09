"""``cellwright embed FOLDER`` with the folder of a checkpoint, as a user types it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from cellwright.data.simulate import simulate
from cellwright.models.rank_encoder import RankShape, random_rank_encoder
from cellwright.representations.geneformer import GeneformerRun
from cellwright.tokens.rank_vocabulary import RankVocabulary


@pytest.fixture
def folder(tmp_path):
    cells = simulate(40, 50, seed=0)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    genes = cells.var_names.to_numpy().astype(str)
    special = {"<pad>": 0, "<mask>": 1}
    vocabulary = RankVocabulary(genes, genes, np.ones(50), 2 + np.arange(50), special)
    model = random_rank_encoder(RankShape(52, 16, 2, 2, 24, 64), 0).eval()
    GeneformerRun("small", tmp_path, model, {}, vocabulary, "mean").save(tmp_path / "small")
    return tmp_path


def test_layer_and_pooling_as_options(run, folder):
    words = ("embed", folder / "small", folder / "cells.h5ad", "-o", folder / "out.h5ad")
    status, said, error = run(*words, "--layer-of", -1, "--pooling", "mean", "--json")
    assert status == 0, error
    found = json.loads(said)
    assert found["schema"] == "cellwright.embed/1"
    assert (found["layer_of"], found["pooling"], found["dims"]) == (-1, "mean", 16)
    assert (found["coverage"], found["coverage_of"]) == (1.0, "counts")
    assert found["seen"] == {"unknown": 40} and found["obsm"] == "X_small"


def test_one_sentence_for_what_cannot_be(run, folder):
    words = ("embed", folder / "small", folder / "cells.h5ad", "-o", folder / "out.h5ad")
    status, said, error = run(*words, "--pooling", "cls")
    assert status == 1 and not said and "no <cls>" in error
    status, _, error = run(*words, "--layer-of", 7)
    assert status == 1 and "no layer 7" in error
    status, _, error = run(*words, "--vocabulary", folder / "nowhere.tsv")
    assert status == 1 and "nowhere.tsv" in error
    assert not (folder / "out.h5ad").exists()
