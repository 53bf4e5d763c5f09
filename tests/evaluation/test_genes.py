"""Gene classification on planted genes: folds, metrics, shortcuts and hidden labels."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, recall_score, roc_auc_score

from cellwright.errors import DataError, SettingsError
from cellwright.evaluation.gene_classification import GeneTask, GeneView, filled
from cellwright.evaluation.gene_folds import family_folds, repeated_folds
from cellwright.evaluation.gene_hidden import (
    METHODS,
    SUPERVISED,
    TRANSDUCTIVE,
    hidden_curves,
    hide,
    standardized,
)
from cellwright.evaluation.gene_scores import measure_genes, roc_within_folds, within_family_auc
from cellwright.evaluation.resampling import by_unit

CLASSES = ("no", "yes")
LR = "logistic-regression"


@pytest.fixture
def planted():
    """100 genes, a third positive, 25 families of which one has most negatives."""
    rng = np.random.default_rng(3)
    codes_g = (np.arange(100) % 3 == 0).astype(np.int64)
    ids_g = np.array([f"g{i:03d}" for i in range(100)])
    families_g = np.array([f"F{i}" for i in rng.integers(25, size=100)])
    return codes_g, ids_g, families_g


def make_task(planted, repeats=2, resamples=200, families=True):
    codes_g, ids_g, families_g = planted
    how = {"folds": 4, "repeats": repeats, "seed": 1, "classes": CLASSES}
    designs = [repeated_folds(codes_g, ids_g, **how)]
    if families:
        designs.append(family_folds(codes_g, families_g, ids_g, **how))
    return GeneTask(codes_g, CLASSES, ids_g, families_g, tuple(designs), 1, resamples)


def test_every_gene_is_held_out_once_a_repeat_and_classes_are_spread(planted):
    codes_g, ids_g, _ = planted
    design = repeated_folds(codes_g, ids_g, folds=4, repeats=3, seed=0, classes=CLASSES)
    assert len(design.folds) == 12
    for repeat in range(3):
        folds = design.folds[4 * repeat : 4 * repeat + 4]
        assert sorted(np.concatenate([f.test for f in folds]).tolist()) == list(range(100))
        for fold in folds:
            assert not set(fold.train) & set(fold.test)
            assert abs(codes_g[fold.test].sum() - 34 / 4) < 1
            assert len(fold.test) == 25
    assert any(
        not np.array_equal(a.test, b.test)
        for a, b in zip(design.folds[:4], design.folds[4:8], strict=True)
    )


def test_folds_do_not_depend_on_the_order_of_genes(planted):
    codes_g, ids_g, families_g = planted
    turn = np.random.default_rng(0).permutation(100)
    how = {"folds": 4, "repeats": 2, "seed": 5, "classes": CLASSES}
    pairs = [
        (repeated_folds(codes_g, ids_g, **how), repeated_folds(codes_g[turn], ids_g[turn], **how)),
        (
            family_folds(codes_g, families_g, ids_g, **how),
            family_folds(codes_g[turn], families_g[turn], ids_g[turn], **how),
        ),
    ]
    for straight, turned in pairs:
        for a, b in zip(straight.folds, turned.folds, strict=True):
            assert set(ids_g[a.test]) == set(ids_g[turn][b.test])


def test_families_are_never_on_both_sides(planted):
    codes_g, ids_g, families_g = planted
    design = family_folds(codes_g, families_g, ids_g, folds=4, repeats=2, seed=0, classes=CLASSES)
    for fold in design.folds:
        assert not set(families_g[fold.train]) & set(families_g[fold.test])
    assert design.unit == "families"


def test_one_giant_family_makes_intervals_over_genes_and_says_so(planted):
    codes_g, ids_g, families_g = planted
    giant_g = np.where(np.arange(100) < 70, "ZNF", families_g)
    design = family_folds(codes_g, giant_g, ids_g, folds=4, repeats=1, seed=0, classes=CLASSES)
    assert design.unit == "genes"
    assert "70 of 100 genes in the family ZNF" in design.note


def test_what_cannot_be_folded(planted):
    codes_g, ids_g, families_g = planted
    few_g = np.where(np.arange(100) < 3, 1, 0)
    with pytest.raises(DataError, match=r"class 'yes' has 3 genes .*, fewer than the 4 folds"):
        repeated_folds(few_g, ids_g, folds=4, classes=CLASSES)
    with pytest.raises(SettingsError, match="folds is 1"):
        repeated_folds(codes_g, ids_g, folds=1, classes=CLASSES)
    with pytest.raises(SettingsError, match="repeats is 0"):
        family_folds(codes_g, families_g, ids_g, repeats=0, classes=CLASSES)
    one_g = np.full(100, "ZNF")
    with pytest.raises(DataError, match=r"family-grouped folds are not possible.*'ZNF'"):
        family_folds(codes_g, one_g, ids_g, classes=CLASSES)


def test_metrics_agree_with_scikit_learn(planted):
    task = make_task(planted, repeats=2)
    rng = np.random.default_rng(0)
    score_g = np.clip(0.5 + 0.2 * (task.codes_g - 0.5) + 0.2 * rng.normal(size=100), 0.01, 0.99)
    answers = task.collect(
        "planted", "none", task.designs[0], lambda f, n: np.c_[1 - score_g[f.test], score_g[f.test]]
    )
    drawn, _ = by_unit(answers.unit_m, draws=300)
    found = measure_genes(answers, drawn, task.families_g)
    truth, said = answers.truth_m, answers.predicted_m
    assert found["macro_f1"].value == pytest.approx(f1_score(truth, said, average="macro"))
    assert found["f1_positive"].value == pytest.approx(f1_score(truth, said))
    assert found["recall of yes"].value == pytest.approx(recall_score(truth, said))
    assert found["recall of no"].value == pytest.approx(recall_score(truth, said, pos_label=0))
    # By folds, weighted by the pairs of each.
    auc, pairs = [], []
    for fold in np.unique(answers.fold_m):
        here = answers.fold_m == fold
        auc.append(roc_auc_score(truth[here], answers.probability_mk[here, 1]))
        pairs.append(truth[here].sum() * (1 - truth[here]).sum())
    expected = np.average(auc, weights=pairs)
    assert found["roc_auc"].value == pytest.approx(expected)
    assert np.nanmean(found["roc_auc"].draws_b) == pytest.approx(expected, abs=0.02)
    curve = roc_within_folds(answers)
    assert np.trapezoid(curve["tpr"], curve["fpr"]) == pytest.approx(expected, abs=1e-6)
    assert (np.diff(curve["tpr"]) >= 0).all()


def test_a_repeat_of_the_same_answers_buys_no_certainty(planted):
    widths = []
    for repeats in (1, 6):
        task = make_task(planted, repeats=repeats, families=False)
        right = np.eye(2)[task.codes_g]
        answers = task.collect("perfect", "none", task.designs[0], lambda f, n, r=right: r[f.test])
        drawn, _ = by_unit(answers.unit_m, draws=100)
        assert drawn.n_units == 100
        found = measure_genes(answers, drawn, task.families_g)["accuracy"]
        assert found.value == 1
        widths.append(found.interval.high - found.interval.low)
    assert widths[0] == pytest.approx(widths[1])


def test_auc_within_families_is_blind_to_what_families_share():
    """A score that is the family's share of positives tells families apart and nothing within."""
    rng = np.random.default_rng(1)
    families_g = np.repeat([f"F{i}" for i in range(10)], 20)
    share_g = np.repeat(np.linspace(0.1, 0.9, 10), 20)
    codes_g = (rng.random(200) < share_g).astype(np.int64)
    ids_g = np.array([f"g{i:03d}" for i in range(200)])
    design = repeated_folds(codes_g, ids_g, folds=4, repeats=1, seed=0, classes=CLASSES)
    task = GeneTask(codes_g, CLASSES, ids_g, families_g, (design,))
    answers = task.collect(
        "family", "none", design, lambda f, n: np.c_[1 - share_g[f.test], share_g[f.test]]
    )
    drawn, _ = by_unit(answers.unit_m, draws=100)
    found = measure_genes(answers, drawn, families_g)
    assert found["roc_auc"].value > 0.75
    assert found["auc_within_family"].value == 0.5
    lonely = np.array([f"own{i}" for i in range(200)])
    assert within_family_auc(answers, lonely, drawn) is None
    assert "auc_within_family" not in measure_genes(answers, drawn, lonely)


def test_pairs_within_families_by_hand():
    codes_g = np.array([1, 0, 0, 1, 0, 1])
    score_g = np.array([0.9, 0.2, 0.9, 0.1, 0.3, 0.8])
    families_g = np.array(["A", "A", "A", "B", "B", "C"])
    ids_g = np.array(list("abcdef"))
    design = repeated_folds(codes_g, ids_g, folds=2, repeats=1, seed=0, classes=CLASSES)
    task = GeneTask(codes_g, CLASSES, ids_g, families_g, (design,))
    answers = task.collect(
        "x", "x", design, lambda f, n: np.c_[1 - score_g[f.test], score_g[f.test]]
    )
    one_fold = answers.__class__(**{**answers.__dict__, "fold_m": np.zeros(6, dtype=np.int64)})
    drawn, _ = by_unit(answers.unit_m, draws=50)
    # A: 0.9 > 0.2 right, 0.9 = 0.9 half; B: 0.1 < 0.3 wrong.
    assert within_family_auc(one_fold, families_g, drawn)[0] == pytest.approx(1.5 / 3)


def test_planted_classes_are_found_and_noise_is_not(planted):
    task = make_task(planted)
    rng = np.random.default_rng(2)
    signal = GeneView("signal", 1.5 * task.codes_g[:, None] + rng.normal(size=(100, 3)))
    noise = GeneView("properties", rng.normal(size=(100, 3)), baseline=True)
    near = GeneView("ceiling:near", task.codes_g[:, None].astype(float), ceiling=True)
    answers = [task.answer(v, LR, d) for v in (signal, noise, near) for d in task.designs]
    found = task.judge(answers, shortcuts={}, ceilings=["ceiling:near + LR"])
    auc = {(s.rep, s.split): s for s in found.scores if s.metric == "roc_auc"}
    assert auc["signal + LR", "repeated"].low > 0.7
    assert auc["properties + LR", "repeated"].low < 0.5
    assert auc["signal + LR", "repeated"].difference["low"] > 0
    assert auc["signal + LR", "repeated"].n == 100
    assert auc["signal + LR", "grouped"].unit == "families"
    assert auc["ceiling:near + LR", "repeated"].value == 1
    assert auc["ceiling:near + LR", "repeated"].difference is None
    assert not any("ceiling" in line for line in found.sentences)
    assert any(
        "signal + LR" in s and "beats every simple method" in s and "single genes" in s
        for s in found.sentences
    )


def test_held_out_labels_do_not_reach_the_classifier(planted):
    """Swapping the label of a held-out gene changes no answer about that gene's fold."""
    task = make_task(planted, repeats=1, families=False)
    view = GeneView("x", np.random.default_rng(0).normal(size=(100, 4)))
    before = task.answer(view, LR, task.designs[0])
    fold = task.designs[0].folds[0]
    swapped = task.codes_g.copy()
    swapped[fold.test] = 1 - swapped[fold.test]
    other = GeneTask(
        swapped, CLASSES, task.gene_ids_g, task.families_g, task.designs, task.seed
    ).answer(view, LR, task.designs[0])
    here = before.fold_m == 0
    np.testing.assert_array_equal(before.probability_mk[here], other.probability_mk[here])


def test_unknown_properties_become_the_median_of_training_genes():
    x = np.array([[1.0], [3.0], [np.nan], [100.0]])
    assert filled(x, np.array([0, 1]))[2, 0] == 2
    assert filled(np.full((2, 1), np.nan), np.array([0]))[0, 0] == 0


def test_hidden_labels_nest_and_leave_two_of_each_class():
    codes_n = np.r_[np.zeros(40, dtype=np.int64), np.ones(10, dtype=np.int64)]
    half = hide(codes_n, 0.5, np.random.default_rng(0))
    most = hide(codes_n, 0.95, np.random.default_rng(0))
    assert [int((half == c).sum()) for c in (0, 1)] == [20, 5]
    assert [int((most == c).sum()) for c in (0, 1)] == [2, 2]
    assert set(np.flatnonzero(most >= 0)) <= set(np.flatnonzero(half >= 0))
    assert (half[half >= 0] == codes_n[half >= 0]).all()


def test_curves_over_hidden_labels(planted):
    """Two planted clusters: propagation holds with few labels; nothing hidden is the plain fit."""
    task = make_task(planted, repeats=1, families=False)
    rng = np.random.default_rng(5)
    view = GeneView("clusters", 4.0 * task.codes_g[:, None] + rng.normal(size=(100, 2)))
    found = hidden_curves(task, view, task.designs[0], (0.0, 0.8), resamples=50)
    auc = {(h.method, h.share): h.score for h in found if h.score.metric == "roc_auc"}
    assert {m for m, _ in auc} == set(METHODS)
    for method in METHODS:
        assert auc[method, 0.8].value > 0.95
        assert (auc[method, 0.8].seen == "seen-unlabelled") == (method in TRANSDUCTIVE)
    assert auc["self-training", 0.0].value == auc[SUPERVISED, 0.0].value
    fold = task.designs[0].folds[0]
    x = standardized(view.vectors_gd, fold.train)
    plain = LogisticRegression(class_weight="balanced", max_iter=2000)
    plain.fit(x[fold.train], task.codes_g[fold.train])
    assert x[fold.train].mean(axis=0) == pytest.approx([0, 0], abs=1e-9)
    assert plain.score(x[fold.test], task.codes_g[fold.test]) > 0.9
    left = {h.share: h.labelled for h in found}
    assert left[0.0] == 75 and left[0.8] == pytest.approx(15, abs=1)
    assert next(h for h in found if h.method in TRANSDUCTIVE).to_dict()["transductive"] is True
    with pytest.raises(SettingsError, match="hidden labels is 1"):
        hidden_curves(task, view, task.designs[0], (1.0,))
