"""Fine-tuning beside other methods, on cells with a planted label."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

import cellwright
from cellwright.errors import DataError, RunError, SettingsError
from cellwright.evaluation.classifiers import fit_tuned
from cellwright.representations.encoder import EncoderRun
from cellwright.representations.finetuned import FinetunedRun
from cellwright.representations.loading import load
from cellwright.training.finetune_settings import FinetuneSettings
from cellwright.workflows.finetune import finetune
from cellwright.workflows.finetune_methods import Contest, answer_fold, carve, method_names
from cellwright.workflows.subject import read_subject
from cellwright.workflows.views import build_views

QUICK = FinetuneSettings(epochs=2, precision="float32", accelerator="cpu", seed=1)


@pytest.fixture(scope="module")
def run(planted_once, tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "small"
    cellwright.pretrain(planted_once, path, epochs=1, size="tiny", precision="float32")
    return path


@pytest.fixture(scope="module")
def tuned(planted_once, run, tmp_path_factory):
    out = tmp_path_factory.mktemp("tuned") / "out"
    return finetune(
        run,
        planted_once,
        label="kind",
        folds=2,
        classifiers=("logistic-regression",),
        settings=QUICK,
        out=out,
    )


def test_every_method_answers_for_the_same_cells_and_the_run_is_told_from_the_rest(tuned):
    names = [a.rep for a in tuned.answers]
    assert names[:3] == ["fine-tuned", "frozen + logistic-regression", "from scratch"]
    assert {"hvg + logistic-regression", "pca + logistic-regression", "depth"} <= set(names)
    assert [a.rep for a in tuned.answers if not a.baseline] == names[:2]
    for a in tuned.answers:
        np.testing.assert_array_equal(a.rows_m, tuned.answers[0].rows_m)
        np.testing.assert_allclose(a.probability_mk.sum(axis=1), 1.0, atol=1e-6)
    pairs = {(d.rep, d.rival) for d in tuned.differences}
    assert ("fine-tuned", "hvg + logistic-regression") in pairs
    assert ("fine-tuned", "frozen + logistic-regression") in pairs


def test_the_folder_holds_what_was_scored_and_a_run_that_loads(tuned, planted_once):
    folder = tuned.folder
    found = json.loads((folder / "metrics.json").read_text())
    assert found["schema"] == "cellwright.finetune/1"
    assert found["scores"] and found["checks"]
    figures = {path.name for path in (folder / "figures").glob("*.png")}
    assert {"methods_accuracy.png", "roc.png", "confusion.png", "learning_curves.png"} <= figures
    again = load(folder / "run")
    assert isinstance(again, FinetunedRun)
    assert again.name == "small-kind"
    np.testing.assert_array_equal(again.transform(planted_once), tuned.run.transform(planted_once))
    np.testing.assert_array_equal(
        again.probability(planted_once), tuned.run.probability(planted_once)
    )


def test_the_run_that_is_kept_knows_whose_labels_it_has_learned(tuned, planted_once):
    seen_n = tuned.run.seen(planted_once)
    assert (seen_n == "seen-labelled").sum() == tuned.final["train"] + tuned.final["val"]
    assert not (seen_n[tuned.final["picture_rows"]] == "seen-labelled").any()
    with pytest.raises(DataError, match=r"trained on the labels of \d+ of the"):
        finetune(tuned.folder / "run", planted_once, label="kind", settings=QUICK)


def test_a_probe_never_holds_out_a_cell_whose_label_was_learned(tuned, planted_once):
    result = cellwright.probe(
        planted_once, tuned.folder / "run", label="kind", group="none", shuffles=0
    )
    learned = tuned.run.seen(planted_once) == "seen-labelled"
    assert result.answers
    assert not any(learned[a.rows_m].any() for a in result.answers)


def test_embed_takes_the_fine_tuned_run(tuned, planted_once):
    found = cellwright.embed(tuned.folder / "run", planted_once)
    assert found.key == "X_small-kind"
    np.testing.assert_array_equal(found.vectors_nd, tuned.run.transform(planted_once))


def test_a_run_on_ranks_is_fine_tuned_and_loads_with_its_new_weights(planted_once, tmp_path):
    path = tmp_path / "ranks"
    cellwright.pretrain(
        planted_once, path, epochs=1, size="tiny", tokenizer="ranked", precision="float32"
    )
    tuned = finetune(
        path,
        planted_once,
        label="kind",
        folds=2,
        classifiers=(),
        scratch=False,
        settings=replace(QUICK, epochs=4, patience=None, head_start="zeros"),
        out=tmp_path / "out",
    )
    assert tuned.final["best_epoch"] > 0
    again, before = load(tmp_path / "out" / "run"), load(path)
    probability_nk = tuned.run.probability(planted_once)
    np.testing.assert_allclose(again.probability(planted_once), probability_nk, atol=1e-6)
    changed, kept = again.model.tokens.weight, before.model.tokens.weight
    assert not changed.equal(kept)
    seen_n = again.seen(planted_once)
    assert (seen_n == "seen-labelled").sum() == tuned.final["train"] + tuned.final["val"]


def test_a_fold_is_answered_from_its_training_rows_alone(planted_once, run):
    subject = read_subject(planted_once)
    views = build_views(subject)
    contest = Contest(subject, load(run), views, QUICK)
    kinds, codes_n = np.unique(planted_once.obs["kind"].astype(str), return_inverse=True)
    train, test = np.arange(0, 120), np.arange(120, planted_once.n_obs)
    found = answer_fold("pca + logistic-regression", contest, codes_n, kinds, train, test)
    x_nd = views["pca"].vectors(train)
    expected = fit_tuned("logistic-regression", x_nd[train], codes_n[train], kinds)
    np.testing.assert_allclose(found, expected.probability(x_nd[test]))
    shuffled_n = codes_n.copy()
    shuffled_n[test] = 1 - shuffled_n[test]
    for method in method_names(views, ("logistic-regression",), scratch=False):
        args = (kinds, train, test)
        np.testing.assert_array_equal(
            answer_fold(method, contest, codes_n, *args),
            answer_fold(method, contest, shuffled_n, *args),
            err_msg=method,
        )


def test_validation_cells_are_whole_groups_where_there_are_enough():
    codes_n = np.tile([0, 1], 30)
    groups_n = np.repeat(["a", "b", "c", "d", "e"], 12)
    rows = np.arange(48)
    learn, val, note = carve(rows, codes_n, groups_n, 0.25, 0)
    assert note == ""
    assert not set(groups_n[learn]) & set(groups_n[val])
    np.testing.assert_array_equal(np.sort(np.r_[learn, val]), rows)
    learn, val, note = carve(np.arange(24), codes_n, groups_n, 0.25, 0)
    assert "single cells" in note
    assert set(codes_n[learn]) == set(codes_n[val]) == {0, 1}
    few = np.array([0, 1])
    assert carve(few, codes_n, None, 0.2, 0)[2].startswith("too few cells")


def test_what_cannot_work_is_said_in_a_sentence(planted_once, run, tmp_path):
    with pytest.raises(SettingsError, match="--freeze-layers is 9"):
        finetune(run, planted_once, label="kind", settings=FinetuneSettings(freeze_layers=9))
    with pytest.raises(DataError, match="'knid' in obs: did you mean 'kind'"):
        finetune(run, planted_once, label="knid")
    with pytest.raises(SettingsError, match="'xgbost': did you mean 'xgboost'"):
        finetune(run, planted_once, label="kind", classifiers=("xgbost",))
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").write_text("kept")
    with pytest.raises(RunError, match="there exists already"):
        finetune(run, planted_once, label="kind", out=tmp_path / "there")
    with pytest.raises(RunError, match="nowhere"):
        finetune(tmp_path / "nowhere", planted_once, label="kind")


def test_a_donor_with_one_class_that_leaves_one_to_learn_from_is_named(planted_once, run):
    cells = planted_once.copy()
    cells.obs["donor"] = np.where(cells.obs["kind"] == cells.obs["kind"].iloc[0], "D1", "D2")
    with pytest.raises(DataError, match="without the 'donor' 'D"):
        finetune(run, cells, label="kind", group="donor", settings=QUICK)


def test_the_run_underneath_is_left_as_it_was(tuned, run):
    before = load(run)
    assert isinstance(before, EncoderRun)
    changed = tuned.run.model.state_dict()
    assert any(not value.equal(changed[key]) for key, value in before.model.state_dict().items())
