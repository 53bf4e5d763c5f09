"""Pretrained runs fine-tuned to name perturbed genes, on a screen of planted sums."""

from __future__ import annotations

import json
import shutil
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
import torch
from anndata import AnnData

import cellwright
from cellwright.errors import DataError, RunError, SettingsError
from cellwright.models.heads import ClassHead
from cellwright.representations.geneformer import GeneformerRun
from cellwright.representations.loading import load
from cellwright.training.run_folder import RunFolder
from cellwright.training.tensors import write_tensors
from cellwright.workflows.reverse_benchmark import reverse_benchmark
from cellwright.workflows.reverse_encoder import read_encoder, seen_check
from cellwright.workflows.reverse_predict import reverse_predict
from cellwright.workflows.reverse_run import load_reverse
from cellwright.workflows.reverse_train import reverse_train
from cellwright.workflows.reverse_train_cells import train_task
from cellwright.workflows.reverse_train_settings import train_settings

QUICK = {"epochs": 3, "groups": 4, "hidden": (16,), "width": 16, "k": 8, "held_out": 0.0}
GENES = 72


@pytest.fixture(scope="module")
def screen() -> AnnData:
    """Poisson counts of six targets and twelve of their doubles; log effects add up."""
    rng = np.random.default_rng(4)
    effects = 0.7 * rng.normal(size=(6, GENES))
    effects[:, :6] = 2 * np.eye(6)
    rate = rng.lognormal(0.5, 0.6, GENES)
    pairs = list(combinations(range(6), 2))
    doubles = [pairs[i] for i in rng.permutation(len(pairs))[:12]]
    labels, counts = [], []
    for chosen in [(), *((i,) for i in range(6)), *doubles]:
        size = 32 if chosen else 120
        lift = np.exp(effects[list(chosen)].sum(axis=0))
        counts.append(rng.poisson(rate * lift, (size, GENES)))
        labels += ["+".join(f"T{i}" for i in chosen) or "control"] * size
    obs = pd.DataFrame({"condition": labels}, index=[f"c{i}" for i in range(len(labels))])
    names = [f"T{i}" for i in range(6)] + [f"GENE{i}" for i in range(GENES - 6)]
    return AnnData(np.vstack(counts).astype(np.float32), obs=obs, var=pd.DataFrame(index=names))


@pytest.fixture(scope="module")
def runs(screen, tmp_path_factory):
    """A run on bins and one on ranks, pretrained on controls and single perturbations."""
    alone = screen[~screen.obs.condition.str.contains("+", regex=False)].copy()
    folder = tmp_path_factory.mktemp("runs")
    for name, how in (("bins", {}), ("ranks", {"tokenizer": "ranked", "layers": 1})):
        cellwright.pretrain(
            alone, folder / name, epochs=3, size="tiny", precision="float32", split_by="none", **how
        )
    return folder


def scored(found, method, metric="mrr"):
    table = pd.read_csv(found.folder / "scores.tsv", sep="\t", dtype={"k": str})
    rows = table[(table.method == method) & (table.metric == metric) & (table.k == "8")]
    return rows[rows.stratum == "all"].iloc[0]


@pytest.fixture(scope="module")
def found(screen, runs, tmp_path_factory):
    """Trained from a copy of the run that is then taken away."""
    folder = tmp_path_factory.mktemp("reverse")
    shutil.copytree(runs / "bins", folder / "bins")
    result = reverse_train(
        screen, folder / "run", kind="encoder", pretrained=str(folder / "bins"), **QUICK
    )
    shutil.rmtree(folder / "bins")
    return result


def test_the_encoder_alone_names_unseen_doubles(screen, runs, tmp_path):
    for name in ("bins", "ranks"):
        found = reverse_train(
            screen,
            tmp_path / name,
            kind="encoder",
            pretrained=str(runs / name),
            encoder_alone=True,
            **QUICK | {"epochs": 6, "learning_rate": 1e-3},
        )
        row = scored(found, "encoder", "exact_set@1")
        assert row["genes"] == "hidden" and row["value"] > row["chance"] + 0.4, name


def test_beside_the_profile_it_is_no_worse_than_a_linear_model(found):
    assert scored(found, "encoder")["value"] > 0.9
    checks = {c["name"]: c["sentence"] for c in found.metrics["checks"]}
    assert "did not change in one bit" in checks["dependence"]
    assert "saw none of the 96 cells" in checks["pretraining_cells"]
    assert "knows all 72 measured genes" in found.text()


def test_the_run_needs_no_pretrained_one_to_predict(found, screen):
    states = screen.copy()
    states.obs = states.obs.rename(columns={"condition": "state"})
    asked = reverse_predict(found.folder, states, case=["T1"], control="control")
    assert asked.rankings[0].table.gene.iloc[0] == "T1"
    shape = json.loads((found.folder / "encoder.json").read_text())
    assert shape["tokens"] == "bins" and shape["genes"] == GENES - 6
    damaged = dict(shape)
    del damaged["special_ids"]
    (found.folder / "encoder.json").write_text(json.dumps(damaged))
    with pytest.raises(RunError, match=r"encoder.json does not describe an encoder.*special_ids"):
        load_reverse(found.folder)
    (found.folder / "encoder.json").write_text(json.dumps(shape))


def test_the_genes_that_are_hidden_do_not_reach_the_encoder(found, screen):
    run = load_reverse(found.folder)
    rows = run.network.model.members[0].cells.row_m.tolist()
    assert len(rows) == GENES - 6 and not {0, 1, 2, 3, 4, 5} & set(rows)
    # Own columns are cut away before the network, so that it has no place for them.
    assert run.network.model.members[0].input.genes == GENES - 6


@pytest.mark.parametrize("name", ["bins", "ranks"])
def test_frozen_layers_stay_as_they_were_and_the_others_learn(screen, runs, tmp_path, name):
    pretrained = RunFolder(runs / name).read_weights()
    how = {"kind": "encoder", "pretrained": str(runs / name), **QUICK | {"epochs": 1}}
    for layers in (0, 1):
        reverse_train(screen, tmp_path / str(layers), freeze_layers=layers, **how)
        weights = RunFolder(tmp_path / str(layers)).read_weights()
        prefix = "members.0.cells.encoder."
        kept = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        inner = [k for k in kept if k.startswith(("layers.0", "gene_gd", "tokens", "read."))]
        same = [kept[k].equal(pretrained[k]) for k in inner]
        assert len(inner) > 10 and (all(same) if layers else not any(same))
    with pytest.raises(SettingsError, match="--freeze-layers is 9"):
        reverse_train(screen, tmp_path / "9", freeze_layers=9, **how)


def test_the_untrained_one_has_the_shape_and_none_of_the_weights(screen, runs):
    made = {}
    for kind in ("encoder", "encoder-untrained"):
        settings = train_settings({"kind": kind, "pretrained": str(runs / "bins"), **QUICK})
        task = train_task(screen, settings)
        made[kind] = cellwright_network(task, settings)
    one, two = made.values()
    assert one.keys() == two.keys()
    learned = RunFolder(runs / "bins").read_weights()
    for name, tensor in learned.items():
        key = f"members.0.cells.encoder.{name}"
        assert one[key].equal(tensor)
    assert not two["members.0.cells.encoder.gene_gd"].equal(learned["gene_gd"])
    key = "members.0.cells.encoder.log_frequencies_gk"
    assert two[key].equal(learned["log_frequencies_gk"])
    assert two["members.0.cells.levels.bound_mb"].equal(one["members.0.cells.levels.bound_mb"])


def cellwright_network(task, settings):
    from cellwright.workflows.reverse_networks import network_of

    state = network_of(task.cells, settings.network, None, task.encoder).state_dict()
    return {name: torch.clone(tensor) for name, tensor in state.items()}


def test_a_stopped_run_comes_to_the_same_weights(screen, runs, tmp_path):
    class Stop(Exception):
        pass

    def stopping(row):
        if row["epoch"] == 1:
            raise Stop

    how = {"kind": "encoder", "pretrained": str(runs / "ranks"), **QUICK | {"epochs": 2}}
    whole = reverse_train(screen, tmp_path / "whole", **how)
    with pytest.raises(Stop):
        reverse_train(screen, tmp_path / "part", on_epoch=stopping, **how)
    part = reverse_train(screen, tmp_path / "part", resume=True)
    for name, tensor in RunFolder(whole.folder).read_weights().items():
        assert tensor.equal(RunFolder(part.folder).read_weights()[name]), name
    assert part.metrics["scores"] == whole.metrics["scores"]


def test_in_a_benchmark_the_same_network_from_random_weights_stands_beside_it(screen, runs):
    found = reverse_benchmark(
        screen,
        split="ahlmann-eltze-2025",
        partitions=1,
        k=[8],
        methods=["frequency", "encoder"],
        pretrained=runs / "bins",
        network={"epochs": 1, "groups": 4, "hidden": [16], "width": 16},
        most=3,
        permutations=0,
    )
    rows = found.table[(found.table.metric == "mrr") & (found.table.stratum == "all")]
    value = rows[rows.genes == "hidden"].set_index("method")["value"]
    assert list(found.settings["methods"]) == ["frequency", "encoder", "encoder-untrained"]
    assert value["encoder"] > value["frequency"] + 0.2
    assert value["encoder-untrained"] > value["frequency"] + 0.2
    gain = value["encoder"] - value["encoder-untrained"]
    (told,) = [s for s in found.sentences if s.startswith("Pretraining: ")]
    assert f"scores {value['encoder']:.3f}" in told and f"(difference {gain:+.3f} [" in told
    said = [check.sentence for check in found.checks]
    assert sum("did not change in one bit" in s for s in said) == 2
    assert any("saw none of the" in s for s in said)


def test_genes_that_the_run_lacks_are_counted_and_too_few_is_one_sentence(screen, runs):
    var = screen.var.copy()
    var.index = [*var.index[:60], *(f"OTHER{i}" for i in range(GENES - 60))]
    start, notes = read_encoder(runs / "bins", var)
    assert "knows 60 of the 72 measured genes" in notes[0] and "12 are not measured" in notes[1]
    assert start.shape.genes == 60 and (start.row_g[60:] == -1).all()
    assert start.only(np.arange(GENES) < 70).shape.genes == 60
    var.index = [*var.index[:40], *(f"NONE{i}" for i in range(GENES - 40))]
    with pytest.raises(DataError, match="knows 40 of the 72 measured genes, expected at least 50"):
        read_encoder(runs / "bins", var)


def test_cells_that_pretraining_saw_are_said(screen, runs):
    codes = screen.obs.condition.to_numpy()
    check = seen_check(runs / "bins", screen, np.char.startswith(codes.astype(str), "T1"))
    # Of the single perturbation, whose cells trained or stopped it; a tenth to a fifth tested it.
    assert check.severity == "warning" and "not what was perturbed" in check.sentence


def test_what_is_no_pretrained_run_is_one_sentence(screen, runs, found, tmp_path):
    def train(**how):
        reverse_train(screen, tmp_path / "out", **QUICK, **how)

    with pytest.raises(SettingsError, match="give its folder with --pretrained"):
        train(kind="encoder")
    with pytest.raises(SettingsError, match="but the kind is mlp"):
        train(pretrained=str(runs / "bins"))
    with pytest.raises(RunError, match="nowhere"):
        train(kind="encoder", pretrained=str(tmp_path / "nowhere"))
    with pytest.raises(RunError, match="is a run of cellwright reverse train"):
        train(kind="encoder", pretrained=str(found.folder))
    with pytest.raises(SettingsError, match="give its folder with --pretrained"):
        reverse_benchmark(screen, methods=["encoder"])
    assert not (tmp_path / "out").exists()


def test_a_geneformer_checkpoint_is_a_start_too(screen, runs, tmp_path):
    ranks = load(runs / "ranks")
    published = GeneformerRun("gf", tmp_path, ranks.model, {}, ranks.vocabulary, "mean")
    published.save(tmp_path / "gf")
    one, notes = read_encoder(tmp_path / "gf", screen.var)
    two, _ = read_encoder(runs / "ranks", screen.var)
    assert notes == ("The encoder of gf knows all 72 measured genes.",)
    assert one.weights.keys() == two.weights.keys()
    assert all(one.weights[name].equal(two.weights[name]) for name in one.weights)
    np.testing.assert_array_equal(one.token_g, two.token_g)
    np.testing.assert_allclose(one.median_g, two.median_g)
    check = seen_check(tmp_path / "gf", screen, np.ones(screen.n_obs, dtype=bool))
    assert check.sentence.startswith("Nobody can tell")


def test_a_run_that_learned_labels_is_refused(screen, runs, tmp_path):
    tuned = tmp_path / "tuned"
    shutil.copytree(runs / "bins", tuned)
    facts = {"name": "tuned", "label": "condition", "classes": ["T1", "T2"]}
    (tuned / "finetuned.json").write_text(json.dumps(facts))
    write_tensors(tuned / "head.safetensors", ClassHead(64, 2).state_dict())
    shutil.copy(tuned / "cells.txt.gz", tuned / "labelled.txt.gz")
    with pytest.raises(RunError, match="fine-tuned on the labels 'condition'"):
        read_encoder(tuned, screen.var)
