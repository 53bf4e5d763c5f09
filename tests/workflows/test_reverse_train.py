"""Training of a network that names perturbed genes: planted sums, resume, search, what is kept back."""

from __future__ import annotations

import json
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from cellwright.errors import DataError, RunError, SettingsError
from cellwright.perturbation.reverse import read_screen
from cellwright.training.run_folder import RunFolder
from cellwright.workflows.reverse_run import load_reverse
from cellwright.workflows.reverse_search import search
from cellwright.workflows.reverse_train import read_reverse, reverse_train
from cellwright.workflows.reverse_train_cells import kept_back, train_task
from cellwright.workflows.reverse_train_settings import (
    ReverseTrainSettings,
    read_stored,
    stored,
    train_settings,
)

QUICK = {"epochs": 6, "groups": 8, "hidden": (32,), "width": 16, "k": 8}


def screen_of_counts(cells=32, genes=90, doubles=26, effect=0.7, seed=5):
    """Poisson counts of 8 targets and their doubles; log effects add up; own genes come first."""
    rng = np.random.default_rng(seed)
    targets = [f"T{i}" for i in range(8)]
    effects = effect * rng.normal(size=(8, genes))
    effects[:, :8] = 2 * np.eye(8)
    rate = rng.lognormal(1, 0.5, genes)
    pairs = list(combinations(range(8), 2))
    chosen = [pairs[i] for i in rng.permutation(len(pairs))[:doubles]]
    labels, counts = [], []
    for members in [(), *((i,) for i in range(8)), *chosen]:
        lift = np.exp(effects[list(members)].sum(axis=0))
        size = 80 if not members else cells
        counts.append(rng.poisson(rate * lift, (size, genes)))
        labels += ["+".join(targets[i] for i in members) or "control"] * size
    obs = pd.DataFrame({"condition": labels}, index=[f"c{i}" for i in range(len(labels))])
    var = pd.DataFrame(index=[*targets, *(f"GENE{i}" for i in range(genes - 8))])
    return AnnData(np.vstack(counts).astype(np.float32), obs=obs, var=var)


@pytest.fixture(scope="module")
def cells():
    return screen_of_counts()


@pytest.fixture(scope="module")
def found(cells, tmp_path_factory):
    gmt = tmp_path_factory.mktemp("sets") / "sets.gmt"
    gmt.write_text("first\t\tT0\tT1\tT2\nsecond\t\tT3\tT4\n")
    out = tmp_path_factory.mktemp("reverse") / "run"
    return reverse_train(cells, out, gene_sets=gmt, **QUICK | {"epochs": 25})


def row(found, method, metric="exact_set@1", k="8"):
    table = pd.read_csv(found.folder / "scores.tsv", sep="\t", dtype={"k": str})
    chosen = table[(table.method == method) & (table.metric == metric) & (table.k == k)]
    return chosen[chosen.stratum == "all"].iloc[0]


def test_planted_sums_are_found_in_unseen_doubles(found):
    assert row(found, "mlp")["value"] > 0.9 and row(found, "mlp")["perturbations"] == 7
    assert row(found, "mlp")["genes"] == "hidden"
    # Six validation doubles: a threshold, but no calibration.
    assert row(found, "mlp", "micro_f1")["value"] > 0.8
    assert not found.metrics["calibration"]["calibrated"]
    assert any("6 validation perturbations" in s for s in found.metrics["sentences"])
    assert found.metrics["number_right"]["share"] > 0.8


def test_every_metric_is_there_for_every_size_of_query_with_its_chance(found):
    table = pd.read_csv(found.folder / "scores.tsv", sep="\t", dtype={"k": str})
    whole = table[(table.method == "mlp") & (table.stratum == "all")]
    assert set(whole.k) == {"1", "5", "8", "all"}
    wanted = {"micro_f1", "macro_f1", "micro_f1@0.5", "macro_f1@0.5", "mrr", "ndcg", "auprc"}
    wanted |= {f"{name}@{n}" for name in ("recall", "exact_set", "relevant") for n in (1, 2, 5)}
    for _, rows in whole.groupby("k"):
        assert wanted <= set(rows.metric) and rows.chance.between(0, 1).all()
    assert row(found, "mlp", "mrr", "1")["value"] <= row(found, "mlp", "mrr", "all")["value"]


def test_the_folder_holds_what_a_reader_needs(found):
    names = {path.name for path in found.folder.iterdir()}
    assert {"config.toml", "vocabulary.tsv", "split.json", "history.csv", "scores.tsv"} <= names
    for figure in ("curves", "scores", "f1", "reliability", "pathways"):
        assert (found.folder / "figures" / f"{figure}.png").stat().st_size > 5000
    checks = {c["name"]: c for c in found.metrics["checks"]}
    assert "did not change in one bit" in checks["dependence"]["sentence"]
    assert "Hidden from every query: 8 of 90" in checks["own_transcripts"]["sentence"]
    assert checks["random_groups"]["severity"] == "note"
    assert "another cell line" in found.text()
    split = json.loads((found.folder / "split.json").read_text())
    assert len(split["train_conditions"]) == 21 and len(split["val_conditions"]) == 6
    assert not set(split["train_conditions"]) & set(split["test_conditions"])
    history = found.history
    assert history["train_mrr"].iloc[-1] > 0.95 and "unseen_mrr" in history.columns


def test_the_run_is_loaded_as_it_was_trained(found, cells):
    run = load_reverse(found.folder)
    again = read_reverse(found.folder)
    assert again.metrics == found.metrics and run.candidates == tuple(f"T{i}" for i in range(8))
    assert run.kept_g.sum() == 82 and run.trained_c.all()
    task = train_task(cells, run.settings)
    from cellwright.workflows.reverse_train_judged import _queries

    queries = _queries(task, task.screen, task.sides.test, 8, run.settings)
    keep = run.kept_g
    logits = run.network.logits(queries.shift_qg[:, keep], queries.mean_qg[:, keep])
    right = np.sort(np.argsort(-logits)[:, :2]) == [
        np.flatnonzero(t) for t in task.screen.targets_pc[queries.condition_q]
    ]
    weight = pd.Series(right.all(axis=1)).groupby(queries.condition_q).mean()
    # Pairs by sums of log-odds are the two highest genes.
    assert weight.mean() == pytest.approx(row(found, "mlp")["value"], abs=1e-6)


def test_test_cells_are_nowhere_in_what_is_learned_from(cells):
    task = train_task(cells, train_settings(QUICK))
    learned = {task.screen.index(n) for n in (*task.sides.train, *task.sides.val)}
    assert set(np.unique(task.cells.condition_n)) - {-1} == learned
    blank = cells.copy()
    rows = np.isin(task.screen.condition_n, [task.screen.index(n) for n in task.sides.test])
    blank.X[rows] = 1
    other = train_task(blank, train_settings(QUICK))
    assert (other.cells.expression_ng != task.cells.expression_ng).nnz == 0
    np.testing.assert_array_equal(other.cells.sd_g, task.cells.sd_g)


def test_cells_kept_back_are_not_trained_on():
    screen = read_screen(pd.DataFrame({"condition": ["control"] * 4 + ["A"] * 100 + ["B"] * 9}))
    trained, held = kept_back(screen, ("A", "B"), share=0.1, k=20, seed=0)
    assert [len(trained.rows_of(c)) for c in (0, 1)] == [80, 7]
    assert [len(held.rows_of(c)) for c in (0, 1)] == [20, 2]
    assert not set(trained.rows_of(0)) & set(held.rows_of(0))
    assert len(trained.control_rows) == len(held.control_rows) == 4
    same, none = kept_back(screen, ("A",), share=0.0, k=20, seed=0)
    assert len(same.rows_of(0)) == 100 and not len(none.rows_of(0))


class Stop(Exception):
    pass


def stopping_after(epoch):
    def on_epoch(history_row):
        if history_row["epoch"] == epoch:
            raise Stop

    return on_epoch


def test_a_stopped_run_continues_to_the_same_weights(cells, tmp_path):
    whole = reverse_train(cells, tmp_path / "whole", **QUICK)
    with pytest.raises(Stop):
        reverse_train(cells, tmp_path / "part", on_epoch=stopping_after(3), **QUICK)
    with pytest.raises(RunError, match="--resume"):
        reverse_train(cells, tmp_path / "part", **QUICK)
    with pytest.raises(SettingsError, match="epochs is 9"):
        reverse_train(cells, tmp_path / "part", resume=True, **QUICK | {"epochs": 9})
    with pytest.raises(RunError, match="other data"):
        reverse_train(screen_of_counts(seed=6), tmp_path / "part", resume=True, **QUICK)
    with pytest.raises(RunError, match="no finished run"):
        load_reverse(tmp_path / "part")
    part = reverse_train(cells, tmp_path / "part", resume=True)
    for name, tensor in RunFolder(whole.folder).read_weights().items():
        assert tensor.equal(RunFolder(part.folder).read_weights()[name]), name
    assert part.metrics["scores"] == whole.metrics["scores"]
    assert reverse_train(cells, tmp_path / "part", resume=True).metrics == part.metrics


def test_a_search_goes_on_where_it_stopped_and_never_sees_test_cells(cells, tmp_path):
    settings = train_settings(QUICK | {"epochs": 3})
    task = train_task(cells, settings)
    how = (task.cells, settings.network, None)
    best, table = search(*how, 7, tmp_path / "whole", "f")
    assert len(table) == 7 and table.val_loss.iloc[0] >= table.val_loss.min()

    def stop(number, _):
        if number == 3:
            raise Stop

    with pytest.raises(Stop):
        search(*how, 7, tmp_path / "part", "f", on_trial=stop)
    again, same = search(*how, 7, tmp_path / "part", "f")
    assert again == best
    pd.testing.assert_frame_equal(same, table)
    with pytest.raises(RunError, match="other cells"):
        search(*how, 8, tmp_path / "part", "g")


def test_what_the_search_chose_is_what_is_trained(cells, tmp_path):
    found = reverse_train(cells, tmp_path / "run", search_trials=3, **QUICK | {"epochs": 3})
    chosen = load_reverse(found.folder).settings
    trials = pd.read_csv(found.folder / "search" / "trials.tsv", sep="\t")
    best = trials[trials.state == "complete"].sort_values("val_loss").iloc[0]
    assert chosen.dropout == pytest.approx(best["dropout"])
    assert found.metrics["search"]["trials"] == 3
    assert found.metrics["search"]["best"] <= found.metrics["search"]["asked"]
    # The same command with --resume is not refused for what the search changed.
    assert reverse_train(cells, found.folder, resume=True, **QUICK | {"epochs": 3}).metrics


def test_without_doubles_everything_trains_and_it_is_said(tmp_path):
    found = reverse_train(screen_of_counts(doubles=2), tmp_path / "run", **QUICK)
    words = " ".join(found.metrics["sentences"])
    assert "2 double perturbations are too few" in words and "is unknown" in words
    assert "0 validation perturbations" in words and found.metrics["scores"] == []
    assert found.metrics["conditions"] == {"train": 10, "val": 0, "test": 0}
    with pytest.raises(SettingsError, match="--search 2 needs validation"):
        reverse_train(screen_of_counts(doubles=2), tmp_path / "b", search_trials=2, **QUICK)
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("split", ["guides-held-out", "contexts-held-out"])
def test_cells_of_another_kind_are_held_out(cells, tmp_path, split):
    ours = cells.copy()
    ours.obs["kind"] = [f"kind {i % 3}" for i in range(ours.n_obs)]
    column = {"guide" if "guides" in split else "context": "kind"}
    task = train_task(ours, train_settings(QUICK | {"split": split} | column))
    trained = np.isin(task.screen.condition_n, [task.screen.index(n) for n in task.sides.train])
    kind = ours.obs["kind"].to_numpy()
    assert "kind 0" not in kind[trained] if column.keys() == {"context"} else trained.any()
    blank = ours.copy()
    blank.X[np.isin(task.screen.condition_n, [task.screen.index(n) for n in task.sides.test])] = 1
    other = train_task(blank, train_settings(QUICK | {"split": split} | column))
    assert (other.cells.expression_ng != task.cells.expression_ng).nnz == 0
    found = reverse_train(ours, tmp_path / "run", split=split, **column, **QUICK)
    assert row(found, "mlp", "mrr")["value"] > 0.9 and row(found, "mlp", "micro_f1")["value"] > 0.5
    units = row(found, "mlp")["perturbations"]
    sizes = found.metrics["conditions"]
    assert units == sizes["test"] and sizes["train"] == 34
    assert (sizes["val"], sizes["test"]) == ((8, 26) if column.keys() == {"guide"} else (34, 34))
    assert any("same genes are perturbed on both sides" in s for s in found.metrics["sentences"])
    assert load_reverse(found.folder).told.reference.conditions == task.sides.train
    with pytest.raises(DataError, match=f"--{next(iter(column))}"):
        reverse_train(cells, tmp_path / "without", split=split, **QUICK)
    assert not (tmp_path / "without").exists()


def test_settings_survive_the_file():
    for settings in (
        ReverseTrainSettings(patience=None, hidden=(), knowledge=("var",)),
        ReverseTrainSettings(),
    ):
        assert read_stored(json.loads(json.dumps(stored(settings)))) == settings


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"kind": "mpl"}, SettingsError, "'mpl'"),
        ({"split": "ahlman"}, SettingsError, "'ahlman'"),
        ({"split": "leave-one-double-out", "partition": 99}, SettingsError, "partition is 99"),
        ({"own_genes": "shown"}, SettingsError, "'shown'"),
        ({"held_out": 0.9}, SettingsError, "held_out is 0.9"),
        ({"control": "contrl"}, SettingsError, "'contrl'"),
        ({"perturbation": "conditon"}, DataError, "'conditon'"),
        ({"knowledge": ["position"]}, SettingsError, "'position'"),
        ({"epoch": 3}, SettingsError, "'epoch'.*'epochs'"),
    ],
)
def test_settings_that_cannot_work(cells, tmp_path, how, error, words):
    with pytest.raises(error, match=words):
        reverse_train(cells, tmp_path / "run", **QUICK | how)


def test_a_panel_of_targets_is_refused_unless_they_may_be_seen(tmp_path):
    few = screen_of_counts(genes=40)
    with pytest.raises(DataError, match=r"32 remain.*--own-genes visible"):
        reverse_train(few, tmp_path / "run", **QUICK)
    found = reverse_train(few, tmp_path / "run", own_genes="visible", **QUICK)
    assert row(found, "own-z", k="all")["value"] > 0.9
    assert found.metrics["checks"][0]["severity"] == "warning"
