"""Pretraining on ranks from cells or tokens to a folder: what it leaves, loads, refuses and resumes."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import cellwright
from cellwright.cli.main import app
from cellwright.config import read_toml, resolve
from cellwright.data.blocks import iter_blocks
from cellwright.data.genes import gene_names
from cellwright.data.reading import write_cells
from cellwright.data.simulate import simulate
from cellwright.errors import DataError, Interrupted, RunError, SettingsError
from cellwright.representations.rank_run import RankRun, load_rank_run
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.training.settings import PretrainSettings
from cellwright.workflows import pretrain as workflow
from cellwright.workflows.embed import embed
from cellwright.workflows.pretrain import pretrain
from cellwright.workflows.pretrain_rank_cells import ranks_of_cells
from cellwright.workflows.tokenize import tokenize

REFERENCES = ("uniform", "token", "token_decile", "token_free", "token_decile_free")
QUICK = {
    "tokenizer": "ranked",
    "size": "tiny",
    "width": 16,
    "epochs": 2,
    "max_tokens": 40,
    "batch_size": 16,
    "precision": "float32",
}


@pytest.fixture(scope="module")
def given():
    return simulate(80, 60, seed=1)


@pytest.fixture(scope="module")
def finished(given, tmp_path_factory):
    """A run on these cells; nobody may change it."""
    return pretrain(given, tmp_path_factory.mktemp("ranks") / "run", **QUICK)


@pytest.fixture(scope="module")
def tokens(given, tmp_path_factory):
    """The same cells as a folder of tokens, with their donors."""
    folder = tmp_path_factory.mktemp("tokens") / "cells"
    tokenize(given, folder, vocabulary="fit", columns=["donor"], max_tokens=40)
    return folder


@pytest.fixture
def copy(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "copy")
    return tmp_path / "copy"


def bits(folder, name="model.safetensors"):
    return (folder / name).read_bytes()


def test_what_a_run_leaves(finished):
    metrics = json.loads((finished.folder / "metrics.json").read_text())
    assert metrics["task"] == "masked-ranks"
    assert set(metrics["perplexity"]) == {"model", *REFERENCES}
    assert metrics["best_reference"] == min(REFERENCES, key=metrics["perplexity"].get)
    assert {s["rep"] for s in metrics["scores"]} == {"model", "model_free", *REFERENCES}
    assert metrics["perplexity"]["uniform"] == pytest.approx(metrics["rule"]["genes"])
    row = finished.history.iloc[-1]
    assert row["perplexity"] == pytest.approx(np.exp(row["val_loss"]))
    assert {"hidden_perplexity", "free_perplexity", "ref_token_decile_free"} <= set(row.index)
    figures = {p.name for p in (finished.folder / "figures").iterdir()}
    assert figures == {
        "loss.png", "perplexity.png", "masked_accuracy.png", "places.png", "training.png",
    }  # fmt: skip
    assert "perplexity of masked genes" in finished.sentences[0]
    assert "<mask>" in finished.text()


def test_the_model_starts_around_the_token_frequencies_and_learns(given, tmp_path):
    settings = resolve(PretrainSettings, QUICK)
    task = ranks_of_cells(given, settings)
    model = task.builder()()
    with torch.no_grad():  # what is left is the bias
        model.encoder.tokens.weight.zero_()
    start = task.objective.measure(model, torch.device("cpu"))
    assert start["perplexity"] == pytest.approx(task.reference_columns()["ref_token"], rel=1e-4)
    run = pretrain(given, tmp_path / "run", **QUICK | {"epochs": 12, "batch_size": 4})
    losses = run.history["val_loss"]
    assert losses.iloc[-1] < losses.iloc[0] - 0.03


def test_medians_come_from_training_cells_alone(given, finished):
    run = cellwright.load(finished.folder)
    train = given[run.cells.names_n[run.cells.parts_n == "train"]]
    names = gene_names(train.var)
    expected = RankVocabulary.from_training(iter_blocks(train), names.gene_id, names.gene_symbol)
    assert run.vocabulary.gene_ids.tolist() == expected.gene_ids.tolist()
    np.testing.assert_array_equal(run.vocabulary.medians_g, expected.medians_g)


def test_that_it_loads_and_embeds_and_knows_what_it_has_seen(given, finished, copy, tmp_path):
    run = cellwright.load(finished.folder)
    assert isinstance(run, RankRun)
    vectors = run.transform(given)
    assert vectors.shape == (80, 16) and np.isfinite(vectors).all()
    seen = run.seen(given)
    parts = dict(zip(run.cells.names_n, run.cells.parts_n, strict=True))
    expected = ["clean" if parts[n] == "test" else "seen-unlabelled" for n in given.obs_names]
    assert seen.tolist() == expected
    # The order of cells, their names and the scale of their counts do not matter.
    other = given[::-1].copy()
    other.obs_names = [f"new{i}" for i in range(80)]
    assert run.seen(other).tolist() == expected[::-1]
    np.testing.assert_allclose(run.transform(other), vectors[::-1], atol=1e-5)
    again = cellwright.load(copy)
    np.testing.assert_array_equal(again.transform(given), vectors)
    found = embed(run, given)
    assert found.seen == {
        "clean": expected.count("clean"),
        "seen-unlabelled": 80 - expected.count("clean"),
    }
    run.save(tmp_path / "saved")
    np.testing.assert_array_equal(cellwright.load(tmp_path / "saved").transform(given), vectors)
    assert not np.allclose(run.untrained().transform(given), vectors)


def test_that_it_exports_to_transformers_and_back(given, finished, tmp_path):
    run = cellwright.load(finished.folder)
    run.export_hf(tmp_path / "hf")
    back = cellwright.load(tmp_path / "hf")
    np.testing.assert_allclose(back.transform(given), run.transform(given), atol=1e-5)


def test_that_the_same_seed_gives_the_same_bits(given, finished, tmp_path):
    again = pretrain(given, tmp_path / "again", **QUICK)
    assert bits(again.folder) == bits(finished.folder)
    other = pretrain(given, tmp_path / "other", **QUICK, seed=3)
    assert bits(other.folder) != bits(finished.folder)


def test_that_it_continues_to_the_same_bits(given, finished, tmp_path, monkeypatch):
    """Stopped by a signal in the middle of the second epoch."""

    def stop(progress, _):
        if progress.epoch == 1 and progress.batch == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match="epoch 2"):
        pretrain(given, tmp_path / "run", **QUICK, on_step=stop)
    resumed = pretrain(given, tmp_path / "run", **QUICK, resume=True)
    assert bits(resumed.folder) == bits(finished.folder)
    assert bits(resumed.folder, "last.safetensors") == bits(finished.folder, "last.safetensors")
    with pytest.raises(SettingsError, match="max_tokens"):
        pretrain(given, tmp_path / "run", **QUICK | {"max_tokens": 30}, resume=True)


def test_that_a_folder_of_tokens_is_learned_from(given, tokens, tmp_path):
    run = pretrain(tokens, tmp_path / "run", **QUICK | {"max_tokens": None}, split_by="donor")
    assert run.metrics["rule"]["tokens"].count("the first 40 tokens") == 1
    loaded = cellwright.load(run.folder)
    # By hashes of tokens, from counts: what the folder held out is clean.
    parts = dict(zip(loaded.cells.names_n, loaded.cells.parts_n, strict=True))
    expected = ["clean" if parts[n] == "test" else "seen-unlabelled" for n in given.obs_names]
    assert loaded.seen(given).tolist() == expected
    assert read_toml(run.folder / "split.toml")["by"] == "donor"
    again = pretrain(tokens, tmp_path / "again", **QUICK | {"max_tokens": None}, split_by="donor")
    assert bits(again.folder) == bits(run.folder)


def test_that_a_vocabulary_of_ones_own_is_taken(given, finished, tmp_path):
    table = finished.folder / "vocabulary.tsv"
    run = pretrain(given, tmp_path / "run", **QUICK, vocabulary=str(table))
    # The same medians, the same cells: the same run.
    assert bits(run.folder) == bits(finished.folder)


def test_that_cls_frames_cells_and_pools(given, tmp_path):
    run = pretrain(given, tmp_path / "run", **QUICK, with_cls=True, pooling="cls")
    loaded = cellwright.load(run.folder)
    assert loaded.vocabulary.cls_id is not None and loaded.pooling == "cls"
    assert loaded.transform(given).shape == (80, 16)


def test_what_cannot_work_is_said(given, tokens, finished, copy, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(SettingsError, match="num_bins is 7, but it belongs to binned tokens"):
        pretrain(given, out, **QUICK, num_bins=7)
    with pytest.raises(SettingsError, match="max_tokens is 40, but it belongs to ranked tokens"):
        pretrain(given, out, **QUICK | {"tokenizer": "binned"})
    with pytest.raises(SettingsError, match="pooling is 'concat'"):
        pretrain(given, out, **QUICK, pooling="concat")
    with pytest.raises(SettingsError, match="add --tokenizer ranked"):
        pretrain(tokens, out)
    with pytest.raises(DataError, match=r"state\.json"):
        pretrain(tmp_path, out, **QUICK)
    with pytest.raises(DataError, match=r"no rank vocabulary at nowhere\.tsv"):
        pretrain(given, out, **QUICK, vocabulary="nowhere.tsv")
    with pytest.raises(SettingsError, match="with_cls"):
        pretrain(tokens, out, **QUICK, with_cls=True)
    # The same genes one token higher: every token would be read as its neighbour.
    own = RankVocabulary.load(tokens / "vocabulary.tsv")
    replace(own, token_ids_g=own.token_ids_g + 1).save(tmp_path / "other.tsv")
    with pytest.raises(DataError, match=rf"token 2 is {own.gene_ids[0]} there and unknown here"):
        pretrain(tokens, out, **QUICK, vocabulary=str(tmp_path / "other.tsv"))
    logs = given.copy()
    logs.X = logs.X.log1p()
    logs.layers.clear()
    with pytest.raises(DataError, match="counts"):
        pretrain(logs, out, **QUICK)
    assert not out.exists()
    (copy / "model.safetensors").write_bytes(b"no")
    with pytest.raises(RunError, match=r"model\.safetensors"):
        load_rank_run(copy)


def test_by_its_command(given, finished, tmp_path):
    write_cells(given, tmp_path / "cells.h5ad")
    done = CliRunner().invoke(
        app,
        ["pretrain", str(tmp_path / "cells.h5ad"), "-o", str(tmp_path / "run"), "--tokenizer",
         "ranked", "--size", "tiny", "--width", "16", "--epochs", "2", "--max-tokens", "40",
         "--batch-size", "16", "--precision", "float32", "--json"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["perplexity"]["model"] > 1
    assert bits(tmp_path / "run") == bits(finished.folder)
    report = CliRunner().invoke(
        app, ["report", str(tmp_path / "run"), "-o", str(tmp_path / "page.html")]
    )
    assert report.exit_code == 0, report.output
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Perplexity of masked genes" in page and "rank " in page
    assert workflow.read_finished(tmp_path / "run").metrics["task"] == "masked-ranks"
