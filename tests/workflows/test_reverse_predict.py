"""Ranking genes for a user's own cells: planted genes, flags, annotations, what does not fit."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from cellwright.errors import DataError, RunError, SettingsError
from cellwright.representations.loading import load
from cellwright.workflows.reverse_predict import reverse_predict
from cellwright.workflows.reverse_train import reverse_train

TARGETS = [f"T{i}" for i in range(6)]
GENES = [*TARGETS, *(f"GENE{i}" for i in range(74))]


def planted_cells(conditions, size=40, seed=0, genes=GENES):
    """Poisson counts; the effects of targets are the same whatever the seed of the cells."""
    truth = np.random.default_rng(99)
    effects = pd.DataFrame(0.8 * truth.normal(size=(6, 80)), index=TARGETS, columns=GENES)
    rate = pd.Series(truth.lognormal(1, 0.5, 80), index=GENES)
    rng = np.random.default_rng(seed)
    labels, counts = [], []
    for name in conditions:
        members = [g for g in name.split("+") if g in TARGETS]
        lift = np.exp(effects.loc[members].sum())
        counts.append(rng.poisson((rate * lift)[genes], (size, len(genes))))
        labels += [name] * size
    obs = pd.DataFrame({"condition": labels}, index=[f"c{i}" for i in range(len(labels))])
    return AnnData(np.vstack(counts).astype(np.float32), obs=obs, var=pd.DataFrame(index=genes))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    pairs = ["T0+T1", "T1+T2", "T2+T3", "T3+T4", "T4+T5", "T0+T2", "T1+T3", "T2+T4"]
    screen = planted_cells(["control", *TARGETS, *pairs])
    how = {"epochs": 25, "groups": 8, "hidden": (32,), "width": 16, "k": 8}
    return reverse_train(screen, tmp_path_factory.mktemp("reverse") / "run", **how).run


@pytest.fixture(scope="module")
def mine():
    """Other cells of a user's own, whose states have other names than genes."""
    cells = planted_cells(["control", "T4", "T0+T5"], seed=1)
    names = {"control": "healthy", "T4": "ill", "T0+T5": "very ill"}
    cells.obs["state"] = cells.obs.pop("condition").map(names)
    cells.obs["donor"] = np.arange(len(cells)) % 2
    cells.var["druggable"] = [f"d{i}" for i in range(80)]
    return cells


@pytest.fixture(scope="module")
def found(run, mine, tmp_path_factory):
    table = tmp_path_factory.mktemp("tables") / "genes.tsv"
    table.write_text("symbol\tclass\trank\nT4\tkinase\tA\nT4\tagain\tB\nT0\treceptor\tC\n")
    out = tmp_path_factory.mktemp("predict") / "out"
    return reverse_predict(run, mine, annotations=table, top=4, out=out)


def test_the_planted_genes_come_first_and_are_counted(found):
    one, two = found.rankings
    assert (one.case, two.case) == ("ill", "very ill")
    assert one.table["gene"].iloc[0] == "T4" and one.number == 1
    assert set(two.table["gene"].head(2)) == {"T0", "T5"} and two.number == 2
    assert one.told and "likely one gene" in one.text() and "likely two genes" in two.text()
    assert "one or two genes, which this run cannot tell" in replace(one, told=False).text()
    assert one.table["probability"].iloc[0] > 0.9
    assert one.table["firm"].iloc[0] == 1.0 and one.groups == 5
    assert not one.unlike.flagged, one.unlike.reasons
    assert len(one.table) == 6 and one.unscored == 0


def test_evidence_is_of_genes_that_the_effect_moves(found, run):
    one = found.rankings[0].evidence
    rows = one[one.gene == "T4"]
    truth = np.random.default_rng(99)
    effect = pd.DataFrame(0.8 * truth.normal(size=(6, 80)), index=TARGETS, columns=GENES).loc["T4"]
    speaks = rows[rows.log_odds_lost > 0]
    assert len(speaks) >= 5
    moved = effect[speaks["measured_gene"]]
    assert (np.sign(moved.to_numpy()) == np.sign(speaks["shift"].to_numpy())).mean() > 0.8
    assert np.abs(moved).mean() > effect.abs().mean()
    # Own genes are hidden from this run, so that none can be evidence.
    assert not set(rows["measured_gene"]) & set(TARGETS)


def test_own_shift_and_annotations_are_carried_along(found, run, mine):
    table = found.table.set_index(["case", "gene"])
    assert table.loc[("ill", "T4"), "class"] == "kinase"
    assert table.loc[("ill", "T4"), "rank (yours)"] == "A"
    assert pd.isna(table.loc[("ill", "T1"), "class"])
    assert np.isfinite(table["own_shift"]).all()
    of_var = reverse_predict(run, mine, case=["ill"], annotate=["druggable"])
    assert of_var.table.set_index("gene").loc["T4", "druggable"] == "d4"


def test_the_folder_and_the_words(found):
    metrics = json.loads((found.folder / "metrics.json").read_text())
    assert metrics["schema"] == "cellwright.reverse-predict/1"
    assert metrics["cases"][0]["genes"][0]["gene"] == "T4"
    assert len(metrics["cases"][0]["genes"]) == 4
    assert metrics["cases"][0]["genes"][0]["evidence"]
    for name in ("ranking.tsv", "evidence.tsv", "figures/01_ill.png", "figures/02_very_ill.png"):
        assert (found.folder / name).stat().st_size > 100
    words = found.text()
    assert "T4 rests on:" in words and "another cell line" in words and "uncalibrated" in words
    assert "unseen perturbations of its own screen" in words
    with pytest.raises(RunError, match="exists already"):
        reverse_predict(found.run, None, out=found.folder)


def test_cells_unlike_the_screen_are_flagged(run, mine):
    rng = np.random.default_rng(0)
    other = mine.copy()
    other.X = rng.poisson(rng.lognormal(1, 1, 80), other.shape).astype(np.float32)
    found = reverse_predict(run, other, case=["ill"])
    assert found.rankings[0].unlike.flagged and "OUT OF DISTRIBUTION" in found.text()
    assert found.to_dict()["cases"][0]["out_of_distribution"] is True
    same = mine[mine.obs["state"] == "healthy"].copy()
    same.obs["state"] = np.where(np.arange(len(same)) % 2, "healthy", "ill")
    nothing = reverse_predict(run, same)
    assert "mostly noise" in nothing.rankings[0].unlike.weak
    assert "WEAK" in nothing.text()


def test_unperturbed_cells_look_like_control_cells(run):
    """Groups of a user's control cells, five in a hundred of which may be taken for perturbed."""
    cells = planted_cells(["control", "T4"], size=160, seed=4)
    control = np.flatnonzero(cells.obs["condition"] == "control")
    rng = np.random.default_rng(0)
    flagged = []
    for seed in range(40):
        mine = cells.copy()
        states = mine.obs["condition"].to_numpy(dtype=object)
        states[rng.choice(control, 20, replace=False)] = "unknown"
        mine.obs["condition"] = states
        found = reverse_predict(run, mine, case=["unknown"], top=1, seed=seed).rankings[0]
        flagged.append(found.likeness.flagged)
    assert np.mean(flagged) >= 0.85
    found = reverse_predict(run, mine)
    likeness = {r.case: r for r in found.rankings}
    assert "LOOKS LIKE CONTROL CELLS. The shift of these 20 cells" in likeness["unknown"].text()
    assert "not told from controls" in likeness["unknown"].text()
    assert likeness["T4"].likeness.p == 0.001 and "LIKE CONTROL" not in likeness["T4"].text()
    cases = {c["case"]: c for c in found.to_dict()["cases"]}
    assert cases["unknown"]["looks_like_control"] is True and cases["T4"]["control_p"] == 0.001


def test_genes_in_another_order_and_missing_ones(run, mine):
    whole = reverse_predict(run, mine, case=["ill"]).table
    shuffled = mine[:, np.random.default_rng(0).permutation(80)]
    pd.testing.assert_frame_equal(reverse_predict(run, shuffled, case=["ill"]).table, whole)
    part = reverse_predict(run, mine[:, 20:].copy(), case=["ill"])
    assert part.table["gene"].iloc[0] == "T4"
    assert any("20 of the 80 genes" in s for s in part.sentences)


def test_controls_are_matched_by_batch(run, mine):
    deep = mine.copy()
    # A donor whose controls are few but whose cells are of another composition.
    deep.X[deep.obs["donor"].to_numpy() == 1, :40] *= 3
    matched = reverse_predict(run, deep, case=["very ill"], batch="donor").rankings[0]
    assert set(matched.table["gene"].head(2)) == {"T0", "T5"}


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"case": ["il"]}, SettingsError, "'il'.*'ill'"),
        ({"case": ["healthy"]}, SettingsError, "'healthy' is case and control"),
        ({"control": "normal"}, SettingsError, "'normal'"),
        ({"state_column": "stat"}, DataError, "'stat'.*'state'"),
        ({"batch": "doner"}, DataError, "'doner'.*'donor'"),
        ({"annotate": ["drugable"]}, SettingsError, "'drugable'.*'druggable'"),
        ({"top": 0}, SettingsError, "top is 0"),
    ],
)
def test_settings_that_cannot_work(run, mine, how, error, words):
    with pytest.raises(error, match=words):
        reverse_predict(run, mine, **how)


def test_cells_that_do_not_fit(run, mine, tmp_path):
    with pytest.raises(DataError, match="names states"):
        reverse_predict(run, AnnData(mine.X, var=mine.var))
    one = mine[mine.obs["state"] == "healthy"]
    with pytest.raises(DataError, match="no case to explain"):
        reverse_predict(run, one)
    blank = mine.copy()
    blank.obs["state"] = ""
    with pytest.raises(DataError, match="no cell has a value in the column 'state'"):
        reverse_predict(run, blank)
    ill = mine[mine.obs["state"] != "healthy"]
    with pytest.raises(DataError, match="ill, very ill; name them with --control"):
        reverse_predict(run, ill)
    mouse = mine.copy()
    mouse.var_names = [f"Gm{i}" for i in range(80)]
    with pytest.raises(DataError, match="Gm0"):
        reverse_predict(run, mouse)
    few = mine[:, [*range(6), *range(70, 76)]].copy()
    with pytest.raises(DataError, match="6 of the 74 genes"):
        reverse_predict(run, few)
    table = tmp_path / "t.tsv"
    table.write_text("gene\tx\nABC\t1\n")
    with pytest.raises(DataError, match=r"6 candidates.*ABC"):
        reverse_predict(run, mine, annotations=table)


def test_other_commands_say_what_the_run_is(run, tmp_path):
    with pytest.raises(RunError, match="cellwright reverse predict"):
        load(run.folder)
    with pytest.raises(RunError, match="no run folder"):
        reverse_predict(tmp_path / "nothing", None)
