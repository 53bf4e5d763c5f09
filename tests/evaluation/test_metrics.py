"""Metrics against scikit-learn; chance against guesses played out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from cellwright.errors import SettingsError
from cellwright.evaluation import metrics
from cellwright.interfaces import Predictions


def answers(seed: int = 0, k: int = 4, m: int = 300, skip: int | None = None) -> Predictions:
    rng = np.random.default_rng(seed)
    truth = rng.choice([c for c in range(k) if c != skip], size=m)
    probability = rng.dirichlet(np.ones(k), size=m)
    probability[np.arange(m), truth] += 0.3
    probability /= probability.sum(axis=1, keepdims=True)
    return Predictions(
        task="annotation",
        rep="r",
        model="m",
        split="random",
        fold_unit="cells",
        classes=tuple("abcdefgh"[:k]),
        rows_m=np.arange(m),
        truth_m=truth,
        predicted_m=probability.argmax(axis=1),
        probability_mk=probability,
        unit_m=np.arange(m).astype(str),
        unit="cells",
        fold_m=np.zeros(m, dtype=np.int64),
        seen="clean",
        baseline=False,
    )


@pytest.mark.parametrize("skip", [None, 2])
def test_metrics_equal_scikit_learn(skip: int | None) -> None:
    a = answers(skip=skip)
    counts = metrics.confusion(a)
    assert np.array_equal(counts, sk.confusion_matrix(a.truth_m, a.predicted_m, labels=range(4)))
    assert metrics.accuracy(counts) == pytest.approx(sk.accuracy_score(a.truth_m, a.predicted_m))
    assert metrics.macro_f1(counts) == pytest.approx(
        sk.f1_score(a.truth_m, a.predicted_m, average="macro")
    )
    recalls = sk.recall_score(
        a.truth_m, a.predicted_m, labels=np.unique(a.truth_m), average="macro"
    )
    assert metrics.balanced_accuracy(counts) == pytest.approx(recalls)


def test_per_class_equals_scikit_learn() -> None:
    a = answers(1)
    expected = sk.precision_recall_fscore_support(a.truth_m, a.predicted_m)
    rows = metrics.per_class(a)
    assert [row["class"] for row in rows] == list(a.classes)
    for key, column in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        assert [row[key] for row in rows] == pytest.approx(list(column))


def test_a_class_without_cells_scores_zero_and_not_nan() -> None:
    row = metrics.per_class(answers(skip=2))[2]
    assert row["support"] == 0
    assert row["recall"] == 0.0


def test_metrics_of_a_stack_are_the_metrics_of_its_layers() -> None:
    counts = np.random.default_rng(0).integers(0, 9, size=(6, 3, 3))
    for metric in (metrics.accuracy, metrics.balanced_accuracy, metrics.macro_f1):
        assert metric(counts) == pytest.approx([float(metric(c)) for c in counts])


def test_roc_points_equal_scikit_learn() -> None:
    a = answers(2, k=2)
    fpr, tpr, _ = sk.roc_curve(a.truth_m == 0, a.probability_mk[:, 0])
    found = metrics.roc_points(a, "a")
    corners = set(zip(found["fpr"], found["tpr"], strict=True))
    # scikit-learn keeps one point more: the first after (0, 0), whether it is a corner or not.
    extra = set(zip(fpr, tpr, strict=True)) - corners
    assert corners <= set(zip(fpr, tpr, strict=True))
    assert len(extra) <= 1
    area = np.trapezoid(metrics.roc_points(a)["tpr"], metrics.roc_points(a)["fpr"])
    assert area == pytest.approx(sk.roc_auc_score(a.truth_m, a.probability_mk[:, 1]))


def test_the_mean_curve_of_many_classes_has_the_mean_of_their_areas() -> None:
    a = answers(3, k=4)
    curve = metrics.roc_points(a)
    assert (curve["fpr"][0], curve["fpr"][-1], curve["tpr"][-1]) == (0.0, 1.0, 1.0)
    assert (np.diff(curve["fpr"]) >= 0).all() and (np.diff(curve["tpr"]) >= -1e-12).all()
    area = np.trapezoid(curve["tpr"], curve["fpr"])
    wanted = sk.roc_auc_score(a.truth_m, a.probability_mk, multi_class="ovr", average="macro")
    assert area == pytest.approx(wanted, abs=1e-12)
    # A class that no held-out cell has draws no curve, and takes no part in the mean.
    lacking = answers(3, k=4, skip=1)
    areas = [
        sk.roc_auc_score(lacking.truth_m == c, lacking.probability_mk[:, c]) for c in (0, 2, 3)
    ]
    curve = metrics.roc_points(lacking)
    assert np.trapezoid(curve["tpr"], curve["fpr"]) == pytest.approx(np.mean(areas), abs=1e-12)


def test_roc_points_of_one_class_are_empty_and_of_no_class_refused() -> None:
    a = answers(2, k=2, skip=0)
    assert metrics.roc_points(a) == {"fpr": [], "tpr": []}
    with pytest.raises(SettingsError, match="'neuron'"):
        metrics.roc_points(a, "neuron")


def test_chance_is_what_a_guess_at_the_class_sizes_scores() -> None:
    """100,000 cells of sizes 0.6, 0.3, 0.1, guessed with these rates."""
    rng = np.random.default_rng(0)
    sizes = np.array([0.6, 0.3, 0.1])
    truth, guess = rng.choice(3, p=sizes, size=100_000), rng.choice(3, p=sizes, size=100_000)
    counts = sk.confusion_matrix(truth, guess)
    chance = metrics.chance_levels(counts)
    assert chance["accuracy"] == pytest.approx(0.6, abs=0.01)
    assert chance["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy(counts), abs=0.01)
    assert chance["macro_f1"] == pytest.approx(metrics.macro_f1(counts), abs=0.01)
    assert metrics.f1_chance(counts, 1) == pytest.approx(2 * 0.3 / 1.3, abs=0.01)


def test_no_blind_guess_has_a_higher_macro_f1_than_chance_says() -> None:
    sizes = np.array([0.7, 0.2, 0.1])
    rates = np.random.default_rng(0).dirichlet(np.ones(3), size=5000)
    expected = (2 * sizes * rates / (sizes + rates)).mean(axis=1)
    assert expected.max() <= 1 / 3 + 1e-12
    assert expected.max() > 1 / 3 - 0.01
