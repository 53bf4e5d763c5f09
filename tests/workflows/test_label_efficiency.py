"""Few labels: the same cells for every method, nested draws, a test set that stays."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from cellwright.evaluation.folds import Design, Fold
from cellwright.representations.loading import load
from cellwright.training.finetune_settings import FinetuneSettings
from cellwright.workflows import label_efficiency as module
from cellwright.workflows.finetune import finetune
from cellwright.workflows.finetune_methods import FINETUNED, Contest, method_names
from cellwright.workflows.label_efficiency import fixed_test, label_efficiency
from cellwright.workflows.labels import read_labels
from cellwright.workflows.pretrain import pretrain
from cellwright.workflows.subject import read_subject
from cellwright.workflows.views import build_views


@pytest.fixture(scope="module")
def contest(planted_once, tmp_path_factory):
    out = tmp_path_factory.mktemp("few") / "run"
    pretrain(planted_once, out, size="tiny", width=16, latents=4, epochs=1, split_by="none")
    subject = read_subject(planted_once)
    views = build_views(subject, batch=None)
    return Contest(subject, load(out), views, FinetuneSettings(epochs=2, precision="float32"))


@pytest.fixture(scope="module")
def labels(contest):
    return read_labels(contest.subject.cells.obs, "kind")


def fold_of(labels, seed=0):
    order = np.random.default_rng(seed).permutation(np.flatnonzero(labels.codes_n >= 0))
    return Fold(np.sort(order[60:]), np.sort(order[:60]))


def test_all_methods_answer_from_the_same_nested_cells(contest, labels, monkeypatch):
    asked = []
    real = module.answer_fold

    def spy(method, contest, codes, classes, train, test, *, seed):
        asked.append((method, tuple(train), tuple(test)))
        return real(method, contest, codes, classes, train, test, seed=seed)

    monkeypatch.setattr(module, "answer_fold", spy)
    fold = fold_of(labels)
    methods = [FINETUNED, "hvg + logistic-regression"]
    names = np.asarray(contest.subject.cells.obs_names, dtype=str)
    given = {"sizes": (4, 10, None), "repeats": 2, "baselines": methods[1:], "resamples": 50}
    found = label_efficiency(contest, labels.codes_n, labels.classes, fold, methods, names, **given)
    assert {test for _, _, test in asked} == {tuple(fold.test)}
    drawn = [train for method, train, _ in asked if method == FINETUNED]
    assert drawn == [train for method, train, _ in asked if method != FINETUNED]
    sizes = [np.bincount(labels.codes_n[list(train)]).tolist() for train in drawn]
    k = len(labels.classes)
    assert sizes[:4] == [[4] * k, [4] * k, [10] * k, [10] * k]
    assert set(drawn[4]) == set(fold.train)
    assert set(drawn[0]) < set(drawn[2]) and set(drawn[1]) < set(drawn[3])
    assert drawn[0] != drawn[1]
    table = found.table()
    assert set(table["per_class"]) == {4, 10, "all"} and set(table["method"]) == set(methods)
    assert len(found.sentences) == 3 and "With 4 labels a class fine-tuned" in found.sentences[0]
    again = label_efficiency(contest, labels.codes_n, labels.classes, fold, methods, names, **given)
    assert again.table().equals(table)


def test_finetune_writes_curves_where_fewer_labels_are_asked_for(contest, planted_once, tmp_path):
    out = tmp_path / "tuned"
    found = finetune(
        contest.run,
        planted_once,
        label="kind",
        group="none",
        folds=2,
        classifiers=["logistic-regression"],
        scratch=False,
        labels_per_class=(4, None),
        label_draws=2,
        settings=contest.settings,
        out=out,
    )
    table = pd.read_csv(out / "label_efficiency.tsv", sep="\t")
    assert set(table["per_class"]) == {"4", "all"}
    assert set(table["method"]) == {a.rep for a in found.answers}
    few = table[table["per_class"] == "4"]
    assert (few["n_labelled"] == 4 * len(found.labels.classes)).all() and (
        few["repeats"] == 2
    ).all()
    for ending in ("png", "pdf"):
        assert (out / "figures" / f"label_efficiency_macro_f1.{ending}").stat().st_size > 5000
    assert any(s.startswith("Fewer labels are tested on") for s in found.sentences)
    # The run itself, frozen, is no simple method: beating it is a sentence of its own.
    (beside,) = [s for s in found.sentences if "the same run frozen" in s]
    assert beside.startswith("fine-tuned is ") and "simple method" not in beside
    kept = json.loads((out / "metrics.json").read_text())["label_efficiency"]
    assert kept["n_test"] == found.few_labels.n_test and len(kept["points"]) == len(table)


def test_labels_outside_of_the_draw_change_nothing(contest, labels):
    """What is not drawn may have any label: nothing that is answered depends on it."""
    fold = fold_of(labels)
    methods = method_names(contest.views, ["logistic-regression"], scratch=False)
    names = np.asarray(contest.subject.cells.obs_names, dtype=str)
    ((_, _, drawn),) = module._plan(labels.codes_n, fold.train, [6], 1, 0)
    answers = []
    for change in (False, True):
        codes = labels.codes_n.copy()
        other = np.setdiff1d(fold.train, drawn)
        if change:
            codes[other] = (codes[other] + 1) % len(labels.classes)
        once = module.replace(contest, views=module._fitted_once(contest.views, fold))
        answers.append(
            [
                module.answer_fold(m, once, codes, labels.classes, drawn, fold.test, seed=0)
                for m in methods
            ]
        )
    for one, two in zip(*answers, strict=True):
        assert np.array_equal(one, two)
    assert len(names) == len(labels.codes_n)


def test_the_test_set_is_what_the_run_has_not_seen_where_that_is_enough():
    codes = np.tile([0, 1], 60)
    units = np.repeat(np.arange(12), 10).astype(str)
    halves = Design(
        "grouped",
        "library",
        "library",
        (Fold(np.arange(20, 120), np.arange(20)), Fold(np.arange(60), np.arange(60, 120))),
    )
    seen = np.where(np.arange(120) < 60, "seen-unlabelled", "clean")
    fold, words = fixed_test(codes, seen, units, halves)
    assert np.array_equal(fold.test, np.arange(60, 120)) and "60 cells that the run" in words
    few = np.where(np.arange(120) < 100, "seen-unlabelled", "clean")
    fold, words = fixed_test(codes, few, units, halves)
    assert fold is halves.folds[1] and words == "one fold of 2, 60 cells"
    fold, _ = fixed_test(codes, np.full(120, "unknown"), units, halves)
    assert fold is halves.folds[1]
