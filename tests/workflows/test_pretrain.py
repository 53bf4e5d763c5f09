"""Pretraining from cells to a folder: what it leaves, what it refuses, what must not matter."""

from __future__ import annotations

import json
import re
import shutil

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

import cellwright
from cellwright.data.hashes import fingerprint
from cellwright.data.reading import write_cells
from cellwright.data.simulate import simulate
from cellwright.data.split import Split, split
from cellwright.errors import CellwrightError, DataError, RunError, SettingsError
from cellwright.representations.encoder import load
from cellwright.tokens.masking import MaskRule, cell_keys, mask
from cellwright.training.batches import VALIDATION_EPOCH
from cellwright.training.references import references
from cellwright.training.run_folder import RunFolder
from cellwright.training.settings import PretrainSettings
from cellwright.workflows.pretrain import pretrain, read_finished
from cellwright.workflows.pretrain_cells import chosen_split

REFERENCES = ("uniform", "unigram", "unigram_masked", "unigram_depth", "nearest_cells")
COLUMNS = [
    "epoch",
    "train_loss",
    "val_loss",
    "perplexity",
    "masked_accuracy",
    "zero_accuracy",
    "nonzero_accuracy",
    "bits_per_gene",
    "learning_rate",
    "cells_per_second",
    "seconds",
    *(f"ref_{name}" for name in REFERENCES),
    "ref_majority_accuracy",
]
QUICK = {"size": "tiny", "epochs": 2, "width": 16, "precision": "float32"}


@pytest.fixture(scope="module")
def given():
    """50 cells by 30 genes: as small as data may be. Six donors."""
    return simulate(50, 30, seed=1)


@pytest.fixture(scope="module")
def finished(given, tmp_path_factory):
    """A run on these cells; nobody may change it."""
    out = tmp_path_factory.mktemp("pretrain") / "run"
    return pretrain(given, out, **QUICK)


@pytest.fixture
def cells(given):
    return given.copy()


@pytest.fixture
def copy(finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "copy")
    return tmp_path / "copy"


def weights(run, name="model.safetensors"):
    return (run.folder / name).read_bytes()


# What it leaves


def test_tiny_data_give_a_whole_run_folder(finished):
    left = {p.relative_to(finished.folder).as_posix() for p in finished.folder.rglob("*")}
    events = {name for name in left if "tfevents" in name}
    assert len(events) == 1
    assert left - events == {
        "config.toml",
        "vocabulary.tsv",
        "tokenizer.npz",
        "model.safetensors",
        "last.safetensors",
        "checkpoint",
        "checkpoint/state.json",
        next(name for name in left if name.startswith("checkpoint/tensors-")),
        "history.csv",
        "metrics.json",
        "split.toml",
        "cells.txt.gz",
        "provenance.json",
        "examples.json",
        "run.log",
        "tensorboard",
        "figures",
        "figures/loss.png",
        "figures/perplexity.png",
        "figures/masked_accuracy.png",
        "figures/zero_nonzero.png",
        "figures/training.png",
    }


def test_the_metrics_have_the_keys_that_others_read(finished):
    metrics = json.loads((finished.folder / "metrics.json").read_text())
    assert metrics == finished.metrics
    assert metrics["schema"] == "cellwright.pretrain/1"
    assert set(metrics["perplexity"]) == {"model", *REFERENCES}
    assert {"model", "majority", "zero", "nonzero"} <= set(metrics["masked_accuracy"])
    assert metrics["best_reference"] == min(REFERENCES, key=metrics["perplexity"].get)
    for key in ("bits_per_gene", "seconds", "peak_memory_bytes", "cells_per_second"):
        assert metrics[key] > 0
    assert metrics["epochs"] == 2 and metrics["best_epoch"] in (1, 2)
    assert set(metrics["gap"]) == {"train", "val"} and isinstance(metrics["still_falling"], bool)
    assert metrics["rule"]["genes"] == 30
    assert "20 quantile bins per gene, zero apart" in metrics["rule"]["bins"]
    assert metrics["rule"]["mask"] == MaskRule().words
    assert {score["rep"] for score in metrics["scores"]} == {"model", *REFERENCES}
    assert len(metrics["sentences"]) >= 3


def test_the_history_has_the_columns_that_others_read(finished):
    assert finished.history.columns.tolist() == COLUMNS
    assert finished.history["epoch"].tolist() == [1, 2]
    row = finished.history.iloc[-1]
    assert row["perplexity"] == pytest.approx(np.exp(row["val_loss"]), rel=1e-12)
    assert row["bits_per_gene"] == pytest.approx(row["val_loss"] / np.log(2), rel=1e-12)
    assert finished.metrics["gap"]["val"] == finished.history["val_loss"].min()


def test_the_scores_are_those_of_the_saved_weights_on_the_test_cells(given, finished):
    """Once more by hand: bins, masks, one softmax per position, and the references anew."""
    run = load(finished.folder)
    part_n = run.cells.parts_n
    bins_ng = run.tokenizer.bins(given.X)
    rule, keys = MaskRule(), cell_keys(given.obs_names)
    test, train = part_n == "test", part_n == "train"
    hidden_ng = mask(rule, bins_ng[test] > 0, keys[test], VALIDATION_EPOCH, 0)
    targets_nm = np.nonzero(hidden_ng)[1].reshape(test.sum(), -1)
    with torch.no_grad():
        logits = run.model(
            torch.from_numpy(bins_ng[test].astype(np.int64)),
            torch.from_numpy(hidden_ng),
            torch.from_numpy(targets_nm),
        )
    truth_nm = np.take_along_axis(bins_ng[test], targets_nm, 1)[..., None].astype(np.int64)
    log_nmk = logits.double().log_softmax(-1).numpy()
    nll_nm = -np.take_along_axis(log_nmk, truth_nm, 2)[..., 0]
    metrics = finished.metrics
    assert metrics["scored_on"] == "test" and metrics["cells"]["test"] == test.sum()
    assert metrics["perplexity"]["model"] == pytest.approx(np.exp(nll_nm.mean()), rel=1e-6)
    assert metrics["bits_per_gene"] == pytest.approx(nll_nm.mean() / np.log(2), rel=1e-6)
    right_nm = log_nmk.argmax(2) == truth_nm[..., 0]
    assert metrics["masked_accuracy"]["model"] == pytest.approx(right_nm.mean(), abs=1e-12)
    beside = references(
        bins_ng[train],
        bins_ng[train] > 0,
        bins_ng[test],
        bins_ng[test] > 0,
        hidden_ng,
        rule,
        run.tokenizer.n_bins_g,
        n_values=20,
    )
    for name in REFERENCES:
        assert metrics["perplexity"][name] == pytest.approx(beside.perplexity[name], rel=1e-9)
    assert metrics["masked_accuracy"]["majority"] == pytest.approx(beside.accuracy["majority"])


def test_one_donor_in_test_gives_an_interval_over_cells_and_says_so(finished):
    """An interval over fewer than six donors would be a pretence."""
    model = next(s for s in finished.metrics["scores"] if s["rep"] == "model")
    assert model["unit"] == "cells" and model["n"] == finished.metrics["cells"]["test"]
    assert model["low"] < model["value"] < model["high"]
    (row,) = finished.metrics["by_unit"]
    assert row["unit"] == "donor" and row["cells"] == model["n"]
    assert row["model"] == pytest.approx(model["value"], rel=1e-9)
    assert f"{row['name']} {row['model']:.2f} against" in " ".join(finished.sentences)


def test_the_provenance_names_no_place_and_no_person(given, finished):
    text = (finished.folder / "provenance.json").read_text()
    facts = json.loads(text)
    assert facts["schema"] == "cellwright.provenance/1"
    assert facts["versions"]["cellwright"] == cellwright.__version__
    assert facts["data"]["fingerprint"] == fingerprint(given, given.X)
    assert facts["data"]["n_obs"] == 50 and facts["data"]["n_vars"] == 30
    assert facts["data"]["verdict"] == "counts"
    assert facts["seed"] == 0 and facts["seconds"] > 0 and facts["peak_memory_bytes"] > 1e6
    assert str(finished.folder.parent) not in text and "/home" not in text


def test_the_split_is_kept_with_its_hash(cells, finished):
    kept = Split.load(finished.folder / "split.toml")
    run = load(finished.folder)
    cells.obs["split"] = pd.Series(run.cells.parts_n, index=run.cells.names_n)
    kept.verify(cells.obs)
    facts = json.loads((finished.folder / "provenance.json").read_text())
    assert facts["data"]["split"]["hash"] == kept.hash
    cells.obs.loc[cells.obs_names[0], "split"] = "test"
    cells.obs.loc[cells.obs_names[1], "split"] = "val"
    with pytest.raises(RunError, match=kept.hash[:12]):
        kept.verify(cells.obs)


def test_the_example_is_a_validation_cell(given, finished):
    run = load(finished.folder)
    example = json.loads((finished.folder / "examples.json").read_text())
    parts = dict(zip(run.cells.names_n, run.cells.parts_n, strict=True))
    assert parts[example["cell"]] == "val"
    bins_g = run.tokenizer.bins(given[example["cell"]].X)[0]
    assert len(example["rows"]) == MaskRule().n_masked(30)
    for row in example["rows"]:
        gene = list(given.var_names).index(row["gene_id"])
        assert row["gene_symbol"] == given.var["gene_symbol"].iloc[gene]
        assert row["true_bin"] == bins_g[gene]
        chances = [p for _, p in row["top"]]
        assert len(chances) == 3 and chances == sorted(chances, reverse=True)


def test_nothing_is_pickled(finished):
    for path in finished.folder.rglob("*"):
        if path.is_file():
            assert not path.read_bytes()[:2].startswith(b"\x80\x04"), path
            assert path.suffix not in (".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib")
    with np.load(finished.folder / "tokenizer.npz", allow_pickle=False) as stored:
        assert all(stored[name].dtype != object for name in stored.files)


def test_the_log_tells_the_run(finished):
    lines = (finished.folder / "run.log").read_text().splitlines()
    counts = finished.metrics["cells"]
    sizes = f"{counts['train']} train, {counts['val']} val, {counts['test']} test cells, 30 genes"
    assert f"begins: {sizes}" in lines[0]
    assert sum(" of 2: training" in line for line in lines) == 2
    assert finished.sentences[0] in lines[-1]


def test_read_finished_gives_what_pretrain_gave(finished, copy):
    again = read_finished(finished.folder)
    assert again.metrics == finished.metrics
    pd.testing.assert_frame_equal(again.history, finished.history, check_exact=True)
    for content in ('{"schema": "cellwright.probe/1"}', "[]"):
        (copy / "metrics.json").write_text(content)
        with pytest.raises(RunError, match=r"is not a pretraining run: .*schema"):
            read_finished(copy)


# What decides, and what must not


def test_the_same_seed_gives_the_same_weights_from_memory_and_from_a_file(
    given, finished, tmp_path
):
    write_cells(given, tmp_path / "cells.h5ad")
    torch.manual_seed(5)
    np.random.seed(5)  # noqa: NPY002
    again = pretrain(tmp_path / "cells.h5ad", tmp_path / "again", **QUICK)
    for name in ("model.safetensors", "last.safetensors", "tokenizer.npz", "cells.txt.gz"):
        assert weights(again, name) == weights(finished, name), name
    assert again.metrics["perplexity"] == finished.metrics["perplexity"]
    other = pretrain(given, tmp_path / "other", **QUICK, seed=1)
    assert weights(other) != weights(finished)


def test_test_cells_influence_nothing_but_the_final_score(given, finished, tmp_path):
    test_n = load(finished.folder).cells.parts_n == "test"
    changed = given.copy()
    counts = changed.X.toarray()
    counts[test_n] = counts[test_n][:, ::-1] * 3 + 1
    changed.X = sp.csr_matrix(counts)
    other = pretrain(changed, tmp_path / "other", **QUICK)
    for name in ("model.safetensors", "last.safetensors", "tokenizer.npz", "vocabulary.tsv"):
        assert weights(other, name) == weights(finished, name), name
    timed = ["seconds", "cells_per_second"]
    pd.testing.assert_frame_equal(
        other.history.drop(columns=timed), finished.history.drop(columns=timed), check_exact=True
    )
    assert other.metrics["perplexity"]["model"] != finished.metrics["perplexity"]["model"]


def test_the_callers_cells_are_left_as_they_were(given, finished):
    assert "split" not in given.obs and "cellwright" not in given.uns
    assert list(given.obsm) == ["truth_programs", "truth_map"] and not given.layers
    assert (given.X != simulate(50, 30, seed=1).X).nnz == 0


def test_it_learns_what_was_planted(tmp_path):
    """Cells of thirteen kinds: after 40 epochs the network beats every guess without one."""
    cells = simulate(1000, 60, seed=0, depth=600)
    found = pretrain(
        cells,
        tmp_path / "run",
        size="tiny",
        epochs=40,
        batch_size=64,
        learning_rate=4e-3,
        split_by="none",
        dropout=0.0,
        precision="float32",
    )
    perplexity = found.metrics["perplexity"]
    best = min(perplexity[name] for name in REFERENCES)
    assert perplexity["model"] < best - 0.3
    assert "it is better than the best guess without a network" in found.sentences[0]
    # At the start it knew what the unigram under the masking rule knows.
    first = found.history.iloc[0]
    assert abs(first["perplexity"] - first["ref_unigram_masked"]) < 0.6


# The split


def parts(cells, **settings):
    chosen = chosen_split(cells, PretrainSettings(**settings))
    return chosen, chosen.assignment.reindex(cells.obs_names)


def test_a_given_split_is_used(cells):
    split(cells, by="library_label", val=0.2, test=0.3, seed=7).apply(cells)
    chosen, assignment = parts(cells)
    assert (assignment == cells.obs["split"].astype(str)).all()
    assert chosen.by == "library_label" and chosen.seed == 7 and chosen.note == ""


def test_val_is_carved_from_train_where_the_given_split_has_none(cells):
    cells.obs["split"] = np.where(cells.obs["donor"] == cells.obs["donor"].iloc[0], "test", "train")
    chosen, assignment = parts(cells)
    given_test = cells.obs["split"] == "test"
    assert ((assignment == "test") == given_test).all()
    val = assignment == "val"
    assert 0 < val.sum() < 20 and "no val cells" in chosen.note
    # Whole donors, as the rule for splitting has it.
    donors = cells.obs["donor"].astype(str)
    assert not set(donors[val]) & set(donors[assignment == "train"])
    assert parts(cells)[0].hash == chosen.hash


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (["test", "val"], r"obs\['split'\] has no train cells \(train 0, val 25, test 25\)"),
        (["train", "holdout"], "holdout"),
    ],
)
def test_a_given_split_that_cannot_be_used_is_refused(cells, tmp_path, values, words):
    cells.obs["split"] = np.resize(values, cells.n_obs)
    with pytest.raises(DataError, match=words):
        pretrain(cells, tmp_path / "run", **QUICK)
    assert not (tmp_path / "run").exists()


def test_a_given_split_passed_over_is_said(cells, caplog):
    split(cells, by="donor").apply(cells)
    with caplog.at_level("WARNING", logger="cellwright"):
        chosen, _ = parts(cells, split_by="none")
    assert chosen.by is None
    assert "obs['split'] is not used: split_by is 'none'" in caplog.text


# Bad input: one sentence with the offending value, and nothing left behind


def logged(cells):
    cells.X = sp.csr_matrix(cells.X).log1p()


def scaled(cells):
    values = cells.X.toarray()
    cells.X = (values - values.mean(0)) / (values.std(0) + 1)


def with_value(value):
    def change(cells):
        values = cells.X.toarray()
        values[3, 4] = value
        cells.X = values

    return change


def empty(cells):
    cells.X = sp.csr_matrix(cells.shape, dtype=np.float32)


def named_twice(cells):
    names = cells.obs_names.to_numpy().copy()
    names[7] = names[2]
    cells.obs_names = names


@pytest.mark.parametrize(
    ("change", "settings", "words"),
    [
        (logged, {}, r"X is log-normalized: .*--layer"),
        (scaled, {}, r"X is scaled: .*-\d"),
        (with_value(np.nan), {}, "1 .*NaN"),
        (with_value(np.inf), {}, "infinite"),
        (with_value(-2.0), {}, "-2"),
        (empty, {}, "all 50 × 30 values are zero"),
        (named_twice, {}, r"SIM_.*stands 2 times"),
        (None, {"layer": "spliced"}, "spliced"),
        (None, {"split_by": "donnor"}, r"'donnor'.*did you mean 'donor'"),
        (None, {"split_by": "one"}, r"'one' holds one group only \('x'\)"),
        (None, {"stratify": "one"}, r"'one' holds one class only \('x'\)"),
        (None, {"stratify": "labell"}, "'labell'"),
        (None, {"val": 0.0}, "no val cells.*raise --val"),
        (None, {"val": 0.6, "test": 0.5}, r"0\.6 and test 0\.5"),
        (None, {"mask_share": 1.5}, r"1\.5"),
        (None, {"num_bins": 1000}, "1000"),
        (None, {"width": 15}, "15 does not divide by 4"),
        (None, {"preset": "neurons-2052"}, r"no preset 'neurons-2052': did you mean 'neurons-2025"),
        (None, {"epoch": 3}, r"'epoch'.*did you mean 'epochs'"),
        (None, {"config": "nowhere.toml"}, r"nowhere\.toml"),
        (None, {"learning_rate": 1e30, "clip_norm": 1e30, "schedule": "constant"}, r"1e\+30"),
    ],
)
def test_bad_input_is_one_sentence(cells, tmp_path, change, settings, words):
    cells.obs["one"] = "x"
    if change is not None:
        change(cells)
    with pytest.raises(CellwrightError, match=words) as caught:
        pretrain(cells, tmp_path / "run", **(QUICK | settings))
    assert "\n" not in str(caught.value)
    left = {p.name for p in (tmp_path / "run").rglob("*")} if (tmp_path / "run").exists() else set()
    assert not left & {"model.safetensors", "metrics.json", "history.csv"}


@pytest.mark.parametrize("kind", ["missing", "foreign", "cut", "no genes", "two cells"])
def test_a_bad_file_is_one_sentence_that_names_it(cells, tmp_path, kind):
    path = tmp_path / "cells.h5ad"
    if kind == "foreign":
        path.write_text("name,count\na,1\n")
    elif kind == "cut":
        write_cells(cells, tmp_path / "whole.h5ad")
        path.write_bytes((tmp_path / "whole.h5ad").read_bytes()[:20_000])
    elif kind == "no genes":
        ad.AnnData(obs=cells.obs, var=pd.DataFrame(index=pd.Index([], dtype=str))).write_h5ad(path)
    elif kind == "two cells":
        write_cells(cells[:2].copy(), path)
    words = "2 cells cannot be split" if kind == "two cells" else re.escape(str(path))
    with pytest.raises(CellwrightError, match=words) as caught:
        pretrain(path, tmp_path / "run", **QUICK)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_what_only_looks_bad_works(cells, tmp_path, caplog):
    """An empty cell, a gene no cell has, a class of one cell, cells without label."""
    counts = cells.X.toarray()
    counts[4] = 0
    counts[:, 6] = 0
    cells.X = sp.csr_matrix(counts)
    labels = np.array(["a", "b"] * 25, dtype=object)
    labels[0], labels[1] = "single", None
    cells.obs["label"] = labels
    with caplog.at_level("WARNING", logger="cellwright"):
        found = pretrain(cells, tmp_path / "run", **QUICK, stratify="label")
    assert f"1 cells have no counts at all, {cells.obs_names[4]} first" in caplog.text
    assert np.isfinite(found.metrics["perplexity"]["model"])
    note = Split.load(tmp_path / "run" / "split.toml").note
    assert "1 classes of label have one cell (single)" in note
    assert "1 of 50 cells have no label" in note


def test_fractions_when_told_so_and_validation_cells_where_there_are_no_others(cells, tmp_path):
    cells.X = sp.csr_matrix(cells.X) * 0.731
    with pytest.raises(DataError, match="--assume-counts"):
        pretrain(cells, tmp_path / "run", **QUICK)
    found = pretrain(cells, tmp_path / "run", **QUICK, assume_counts=True, test=0.0)
    facts = json.loads((tmp_path / "run" / "provenance.json").read_text())
    assert facts["data"]["verdict"] not in ("counts", "float-counts")
    assert found.metrics["scored_on"] == "val"
    assert {score["seen"] for score in found.metrics["scores"]} == {"seen-unlabelled"}
    assert found.metrics["perplexity"]["model"] == pytest.approx(found.history["perplexity"].min())
    assert "There are no test cells" in " ".join(found.sentences)


# The folder, and continuing


def test_an_existing_run_is_refused_and_replaced_by_force(given, copy):
    before = (copy / "metrics.json").read_bytes()
    with pytest.raises(RunError, match=r"copy already holds a finished run.*--force"):
        pretrain(given, copy, **QUICK)
    # What is wrong with the new run is known before the old one goes.
    with pytest.raises(DataError, match="'nowhere'"):
        pretrain(given, copy, **QUICK, force=True, split_by="nowhere")
    assert (copy / "metrics.json").read_bytes() == before
    found = pretrain(given, copy, **(QUICK | {"epochs": 1}), force=True)
    assert found.metrics["epochs"] == 1


def test_a_folder_of_something_else_is_never_replaced(given, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds something that is not a run"):
        pretrain(given, tmp_path, **QUICK, force=True)
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


def test_a_finished_run_is_continued_by_reading_it(given, finished, copy):
    found = pretrain(given, copy, resume=True)
    assert found.metrics == finished.metrics
    assert weights(found) == weights(finished)


def test_only_the_same_settings_continue(given, copy):
    with pytest.raises(
        SettingsError, match=r"run's own settings, but epochs is 5 here and 2 in .*config\.toml"
    ):
        pretrain(given, copy, resume=True, epochs=5)
    with pytest.raises(SettingsError, match="zero_bin is False here and True in"):
        pretrain(given, copy, resume=True, preset="neurons-2025", seed=0, split_by="auto")


@pytest.mark.parametrize("stage", ["finished", "began"])
def test_only_the_same_data_continue(cells, copy, stage):
    if stage == "began":
        (copy / "metrics.json").unlink()
    cells.X.data[0] += 1
    with pytest.raises(RunError, match=r"began on other data \(fingerprint [0-9a-f]{12}, 50 cells"):
        pretrain(cells, copy, resume=True)
    cells.X.data[0] -= 1
    split(cells, by="donor", seed=9).apply(cells)
    with pytest.raises(RunError, match=r"began with the split [0-9a-f]{12}"):
        pretrain(cells, copy, resume=True)


def test_there_must_be_something_to_continue(given, tmp_path):
    with pytest.raises(RunError, match="no run folder at"):
        pretrain(given, tmp_path / "nowhere", resume=True)
    (tmp_path / "run").mkdir()
    with pytest.raises(RunError, match=r"not a run folder: it has no config\.toml"):
        pretrain(given, tmp_path / "run", resume=True)


def test_killed_before_the_first_checkpoint_it_starts_again(given, finished, copy):
    for path in copy.iterdir():
        if path.name != "config.toml":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(RunError, match=r"did not end.*--resume to continue it"):
        pretrain(given, copy, **QUICK)
    found = pretrain(given, copy, resume=True)
    assert weights(found) == weights(finished)


def test_killed_after_the_last_epoch_it_judges_what_it_has(given, finished, copy):
    for name in ("metrics.json", "model.safetensors", "history.csv"):
        (copy / name).unlink()
    found = pretrain(given, copy, resume=True)
    assert weights(found) == weights(finished)
    assert found.metrics["perplexity"] == finished.metrics["perplexity"]
    pd.testing.assert_frame_equal(found.history, finished.history, check_exact=True)


def test_a_foreign_provenance_is_named(given, copy):
    (copy / "provenance.json").write_text("{}")
    with pytest.raises(RunError, match=r"provenance\.json does not say"):
        pretrain(given, copy, resume=True)


def test_a_damaged_checkpoint_is_named(given, copy):
    (copy / "metrics.json").unlink()
    (tensors,) = (copy / "checkpoint").glob("*.safetensors")
    content = bytearray(tensors.read_bytes())
    content[-1] ^= 1
    tensors.write_bytes(bytes(content))
    with pytest.raises(RunError, match=rf"{tensors.name} is damaged"):
        pretrain(given, copy, resume=True)
    assert RunFolder(copy).path.is_dir() and not (copy / ".lock").exists()
