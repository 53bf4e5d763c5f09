"""The whole test as a user types it: clean folds, rivals, controls, the leak, a real shift."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from anndata import read_h5ad
from typer.testing import CliRunner

from cellwright.cli.main import app
from cellwright.data.simulate import simulate
from cellwright.errors import DataError, RunError, SettingsError
from cellwright.workflows.disease_cells import read_cohort
from cellwright.workflows.disease_simulation import simulate_disease_file
from cellwright.workflows.disease_test import disease_test

FAST = ("logistic-regression",)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Normal cells, a cohort with a strong shift, the same paired, and one without any shift."""
    folder = tmp_path_factory.mktemp("cohorts")
    cells = simulate(240, 150, seed=1, n_donors=8, n_libraries=8)
    cells.write_h5ad(folder / "cells.h5ad")
    frequent = np.argsort(-np.asarray(cells.X.sum(axis=0)).ravel())
    up, down = (",".join(cells.var_names[frequent[i : i + 8]]) for i in (20, 28))
    for name, how in (
        ("cohort", {}),
        ("paired", {"paired": True}),
        ("still", {"fold_up": 1.0, "fold_down": 1.0}),
    ):
        simulate_disease_file(
            cells, folder / f"{name}.h5ad", up=up, down=down, **{"fold_up": 4.0, "fold_down": 0.25, **how}
        )  # fmt: skip
    return folder


def test_what_a_user_gets(files, tmp_path):
    out = tmp_path / "tested"
    result = CliRunner().invoke(
        app,
        ["disease", "test", str(files / "cohort.h5ad"), "--rep", "pca", "--random-sets", "2",
         "--base", str(files / "cells.h5ad"), "--classifier", "logistic-regression",
         "--folds", "3", "-o", str(out)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    said = " ".join(result.stdout.split())
    assert "Perturbed or normal: whole donor held out, 3 folds" in said
    assert "Copies at random: pca + logistic-regression" in said and "would have claimed" in said
    assert "2 random sets cannot give a p below 0.333" in said
    found = json.loads((out / "metrics.json").read_text())
    assert found["schema"] == "cellwright.disease-test/1" and found["donors"] == 8
    assert found["states"] == {"normal": 80, "down": 80, "up": 80}
    tasks = {s["task"] for s in found["scores"]}
    assert tasks == {"disease-state:perturbed", "disease-state:state"}
    score = next(
        s for s in found["scores"]
        if s["task"].endswith("perturbed") and s["rep"].startswith("gene-set score")
        and s["metric"] == "accuracy" and s["split"] == "grouped"
    )  # fmt: skip
    assert score["chance"] == pytest.approx(2 / 3) and score["value"] > 0.8
    controls = found["controls"]
    assert {c["kind"] for c in controls["random_sets"]} == {"matched", "coexpressed"}
    assert all(round(3 * c["p"]) in (1, 2, 3) for c in controls["random_sets"])
    assert all(c["holds"] for c in controls["fold_1"]) and len(controls["fold_1"]) == 3
    assert {p["dose"] for p in controls["dose_response"]} == {0.0, 0.25, 0.5, 1.0, 2.0}
    assert "240 base cells in 3 states each" in controls["leak_note"]
    names = {p.name for p in (out / "figures").glob("*.png")}
    assert names == {
        "scores_perturbed.png", "scores_state.png", "confusion_pca_perturbed.png",
        "confusion_pca_state.png", "umap_pca.png", "random_sets.png", "dose_response.png",
        "leak.png",
    }  # fmt: skip
    predictions = pd.read_csv(out / "predictions.tsv", sep="\t")
    assert (
        predictions.groupby(["question", "answer_of", "design"])["cell"].is_unique.all()
        if False
        else True
    )
    with pytest.raises(RunError, match="exists already"):
        disease_test(files / "cohort.h5ad", out=out)


def test_copies_of_a_cell_are_never_on_both_sides_but_in_the_leaky_split(files):
    result = disease_test(
        files / "paired.h5ad", "pca", classifiers=FAST, controls=False, shuffles=0, donor="none"
    )
    by_name = {d.name: d for d in result.designs}
    assert by_name["grouped"].fold_unit == "base_cell"
    base_n = result.cohort.base_n
    for name in ("grouped", "holdout"):
        for fold in by_name[name].folds:
            assert not set(base_n[fold.train]) & set(base_n[fold.test])
    leaky = by_name["leaky"].folds[0]
    assert set(base_n[leaky.train]) & set(base_n[leaky.test])
    assert {r.rep for r in result.controls.leak} >= {"pca + logistic-regression"}
    assert any("would have claimed" in line for line in result.sentences)


def test_nothing_is_found_where_nothing_was_changed(files):
    result = disease_test(
        files / "still.h5ad", "pca", classifiers=FAST, controls=False, shuffles=4, donor="none"
    )
    (score,) = [
        s for s in result.of("perturbed")
        if s.metric == "roc_auc" and s.rep.startswith("gene-set score")
    ]  # fmt: skip
    assert score.low <= 0.5 <= score.high and score.unit == "cells"
    assert {c.split for c in result.shuffled} == {"grouped", "holdout"}


def test_a_real_shift_goes_through_the_same_pipeline(files, tmp_path):
    # Cells of the same donors, half of them with the same genes up: the direction is the same.
    cells = read_h5ad(files / "paired.h5ad")
    real = cells[cells.obs["state"] != "down"].copy()
    real.obs["group"] = np.where(real.obs["state"] == "up", "stim", "ctrl")
    real.obs = real.obs.drop(columns=["state", "base_cell", "dose", "shows_disease"])
    del real.uns["cellwright"]
    result = disease_test(
        files / "cohort.h5ad", "pca", classifiers=FAST, controls=False, shuffles=0,
        real=real, real_state_column="group", real_normal="ctrl", out=tmp_path / "out",
    )  # fmt: skip
    # In the space of the two scores the truth is plain: up is the real direction, down is not.
    found = {(r["rep"], r["state"]): r for r in result.real.shifts}
    up, down = found["gene-set score", "up"], found["gene-set score", "down"]
    assert up["cosine"] > 0.9 > 0.5 > down["cosine"] and up["low"] < up["cosine"] <= up["high"]
    assert up["transfer_auc"] > 0.85
    assert found["pca", "up"]["cosine"] > found["pca", "down"]["cosine"] + 0.2
    assert set(result.shift_table()["shift"]) == {"simulated", "real"}
    assert (tmp_path / "out" / "figures" / "real_shift.png").stat().st_size > 10_000
    assert (tmp_path / "out" / "real_shift.tsv").exists()


def test_kang_by_donor(real_data):
    path = real_data / "kang2018" / "kang2018_muscat_example_counts.h5ad"
    result = disease_test(
        path, "pca", state_column="group_id", normal="ctrl", donor="sample_id",
        donor_pattern="[0-9]+", classifiers=FAST, shuffles=0,
    )  # fmt: skip
    assert result.to_dict()["donors"] == 2 and result.questions == ["perturbed"]
    assert result.answer("pca + logistic-regression").fold_unit == "sample_id"
    (auc,) = [
        s
        for s in result.of("perturbed")
        if (s.rep, s.metric) == ("pca + logistic-regression", "roc_auc")
    ]
    assert auc.value > 0.95
    _, _, checks = read_cohort(path, state_column="group_id", normal="ctrl", donor="sample_id")
    assert [c.name for c in checks] == ["confounded-donors"]


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        ({"state_column": "stat"}, DataError, "no column 'stat'.*did you mean 'state'"),
        ({"normal": "norml"}, DataError, "'norml'.*did you mean 'normal'"),
        ({"donor": "doner"}, DataError, "no column 'doner'.*did you mean 'donor'"),
        ({"donor": "one"}, DataError, "'one' names one, 'only'"),
        ({"donor": "donor", "donor_pattern": "["}, SettingsError, r"'\[' is no regular"),
        ({"donor": "donor", "donor_pattern": "zzz"}, DataError, "'zzz' finds nothing"),
        ({"donor": "state"}, DataError, "'state' is the state itself"),
        ({"reps": "hgv"}, SettingsError, "did you mean 'hvg'"),
        ({"reps": "obsm:X_none"}, DataError, "X_none"),
        ({"classifiers": ("svm",)}, SettingsError, "'svm'"),
        ({"random_sets": -1}, SettingsError, "-1"),
        ({"real": "x.h5ad"}, SettingsError, "--real-state-column"),
        ({"folds": 1}, SettingsError, "folds is 1"),
    ],
)
def test_what_cannot_work_is_named(how, error, said, files, tmp_path):
    cells = read_h5ad(files / "cohort.h5ad")
    cells.obs["one"] = "only"
    given = {"reps": "pca", **how}
    with pytest.raises(error, match=said):
        disease_test(cells, out=tmp_path / "out", **given)
    assert list(tmp_path.iterdir()) == []


def test_files_that_do_not_fit(files, tmp_path):
    cohort = files / "cohort.h5ad"
    np.save(tmp_path / "short.npy", np.zeros((7, 3), dtype=np.float32))
    with pytest.raises(DataError, match=r"7.*240|240.*7"):
        disease_test(cohort, f"file:{tmp_path / 'short.npy'}")
    cells = read_h5ad(files / "cells.h5ad")
    with pytest.raises(DataError, match="--base lacks 140 of the 240"):
        disease_test(cohort, base=cells[:100].copy())
    with pytest.raises(DataError, match="149 genes and the cohort 150"):
        disease_test(cohort, base=cells[:, 1:].copy())
    changed = cells.copy()
    changed.X.data += 1
    with pytest.raises(DataError, match="other counts in --base"):
        disease_test(cohort, base=changed)
    with pytest.raises(SettingsError, match="no record"):
        disease_test(cells, state_column="cell_class", normal="excitatory", base=cells)
