"""Clusters beside labels: planted agreement, luck, tables, and the task."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn import metrics as sk

from cellwright.errors import DataError
from cellwright.evaluation.cluster_scores import measure_partition
from cellwright.evaluation.clustering import ClusterAgreement
from cellwright.evaluation.clusters import cluster_agreement
from cellwright.evaluation.contingency import ari, information
from cellwright.evaluation.majority import cluster_table, majority_vote
from cellwright.evaluation.resampling import by_row
from cellwright.interfaces import Task


def task_of(cells, **settings) -> ClusterAgreement:
    settings = {"resamples": 300, "grid": (0.2, 1.0)} | settings
    return ClusterAgreement(cells.codes_n, cells.classes, cells.names_n, **settings)


def test_planted_types_are_recovered(planted) -> None:
    cells = planted(300, 3)
    labels = np.array(cells.classes)[cells.codes_n]
    found = cluster_agreement(cells.vectors(6.0), labels, metric="euclidean")
    assert found.matched.reached
    assert found.matched.n_clusters == 3
    assert found.matched.ari == found.matched.nmi == found.matched_majority.accuracy == 1.0
    assert [row["purity"] for row in found.matched_clusters] == [1.0, 1.0, 1.0]
    assert sum(row["n"] for row in found.clusters) == 300


def test_numbers_equal_scikit_learn_on_the_clusters(planted) -> None:
    cells = planted(200, 3)
    labels = np.array(cells.classes)[cells.codes_n]
    found = cluster_agreement(cells.vectors(1.0), labels, method="louvain")
    for agreement, cluster in (
        (found.given, found.cluster_n),
        (found.matched, found.matched_cluster_n),
    ):
        assert agreement.n_clusters == len(np.unique(cluster))
        assert agreement.ari == pytest.approx(sk.adjusted_rand_score(labels, cluster))
        assert agreement.nmi == pytest.approx(sk.normalized_mutual_info_score(labels, cluster))
    assert [g.resolution for g in found.grid] == [0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0]
    assert found.grid[4] == found.given


def test_vectors_are_zscored_unless_told_not_to(planted) -> None:
    """One loud dimension of noise drowns the types until it is scaled."""
    cells = planted(300, 2)
    x = np.c_[cells.vectors(4.0), 1000 * np.random.default_rng(0).normal(size=300)]
    labels = np.array(cells.classes)[cells.codes_n]
    scaled = cluster_agreement(x, labels, metric="euclidean")
    plain = cluster_agreement(x, labels, metric="euclidean", zscore=False)
    assert scaled.majority.accuracy > 0.95 > 0.75 > plain.majority.accuracy
    shifted = cluster_agreement(np.c_[x * 3 + 5, np.full(300, 0.1)], labels, metric="euclidean")
    assert sk.adjusted_rand_score(shifted.cluster_n, scaled.cluster_n) == 1.0


def test_unlabelled_cells_are_clustered_and_not_judged(planted) -> None:
    cells = planted(200, 2)
    labels = np.array(cells.classes, dtype=object)[cells.codes_n]
    labels[:60] = np.nan
    found = cluster_agreement(cells.vectors(3.0), labels)
    assert (found.cluster_n >= 0).all()
    assert found.given.ari == pytest.approx(
        sk.adjusted_rand_score(labels[60:].astype(str), found.cluster_n[60:])
    )
    assert sum(row["labelled"] for row in found.clusters) == 140
    assert found.majority.confusion_kk.sum() == 140


def test_the_majority_vote_by_hand() -> None:
    codes = np.array([0, 0, 1, 1, 1, 0, -1, -1])
    cluster = np.array([0, 0, 0, 1, 1, 1, 1, 2])
    found = majority_vote(codes, cluster, ("a", "b"), shuffles=50)
    assert found.accuracy == pytest.approx(4 / 6)
    assert found.predicted_n.tolist() == [0, 0, 0, 1, 1, 1, 1, -1]
    assert found.confusion_kk.tolist() == [[2, 1], [1, 2]]
    table = cluster_table(codes, cluster, ("a", "b"))
    assert [row["n"] for row in table] == [3, 4, 1]
    assert [row["majority_label"] for row in table] == ["a", "b", None]
    assert table[1]["purity"] == pytest.approx(2 / 3)
    assert table[2]["purity"] is None


def test_the_vote_of_shuffled_labels_equals_the_closed_form() -> None:
    """Singletons score 1 by luck, one cluster the largest class, pairs of two labels in between."""
    codes = np.repeat([0, 1], [30, 30])
    names = ("a", "b")
    assert majority_vote(codes, np.arange(60), names).shuffled == {"value": 1, "low": 1, "high": 1}
    assert majority_vote(codes, np.zeros(60, int), names).shuffled["value"] == pytest.approx(0.5)
    # A pair is mixed with chance 30/59 and then half right: 1 - (30/59)/2.
    pairs = majority_vote(codes, np.arange(60) // 2, names, shuffles=2000).shuffled
    assert pairs["value"] == pytest.approx(1 - 15 / 59, abs=0.004)
    assert pairs["low"] < pairs["value"] < pairs["high"]


def test_the_task_scores_with_intervals_chance_and_rivals(planted) -> None:
    cells = planted(300, 3, 12)
    task = task_of(cells, groups_n=cells.groups_n, group_name="donor", metric="euclidean")
    assert isinstance(task, Task)
    views = [
        cells.view("encoder", cells.vectors(5.0), seen="seen-unlabelled"),
        cells.view("depth", cells.vectors(0.0), baseline=True),
    ]
    good, weak = (task.predict(view)[0] for view in views)
    scores = {s.metric: s for s in task.score(good, [weak])}
    names = ("ari", "nmi", "homogeneity", "completeness", "majority_accuracy")
    assert list(scores) == [*names, *(f"{name}_matched" for name in names)]
    for score in scores.values():
        assert score.low <= score.value <= score.high
        assert (score.unit, score.n, score.baseline) == ("donor", 12, "depth")
        assert score.seen == "seen-unlabelled"
        assert score.difference is not None
    assert scores["ari"].chance == pytest.approx(0, abs=0.01)
    assert scores["nmi"].chance > 0.003
    assert scores["ari_matched"].difference["low"] > 0.5
    found = task.judge([good, weak])
    assert found.sentences[0].startswith("encoder (ARI")
    assert found.sentences[0].endswith("It has seen these cells, without their labels.")


def test_intervals_of_agreement_hold_the_truth() -> None:
    """Clusters that follow the label with chance 0.7: the table of all cells is known."""
    rng = np.random.default_rng(4)
    everyone = 10**8 * (np.full((3, 3), 1) + 7 * np.eye(3, dtype=np.int64))
    truth = {"ari": float(ari(everyone)), "nmi": float(information(everyone)["nmi"])}
    drawn = by_row(400, draws=500, seed=0)
    held = dict.fromkeys(truth, 0)
    for _ in range(300):
        label = rng.integers(3, size=400)
        cluster = np.where(rng.random(400) < 0.7, label, rng.integers(3, size=400))
        found = measure_partition(label, cluster, cluster, 3, drawn)
        for name, value in truth.items():
            held[name] += found[name].interval.low <= value <= found[name].interval.high
    assert min(held.values()) / 300 >= 0.93


def test_the_order_of_the_cells_does_not_matter(planted) -> None:
    cells = planted(160, 2)
    x = cells.vectors(1.0)
    turn = np.random.default_rng(3).permutation(160)
    turned = replace(cells, codes_n=cells.codes_n[turn], names_n=cells.names_n[turn])
    first = task_of(cells).predict(cells.view("pca", x))[0].fitted[0]
    second = task_of(turned).predict(turned.view("pca", x[turn]))[0].fitted[0]
    assert np.array_equal(first.cluster_n[turn], second.cluster_n)
    assert first.given == second.given


def test_the_record_is_plain(planted) -> None:
    cells = planted(50, 2)
    labels = np.array(cells.classes)[cells.codes_n]
    found = cluster_agreement(cells.vectors(2.0), labels).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert set(found) >= {"given", "matched", "grid", "majority", "clusters", "settings"}
    assert set(found["majority"]) == {"accuracy", "shuffled", "confusion"}


def test_bad_input_is_named(planted) -> None:
    cells = planted(60, 2)
    x = cells.vectors(1.0)
    labels = np.array(cells.classes)[cells.codes_n]
    with pytest.raises(DataError, match="60 cells hold only 'type a'"):
        cluster_agreement(x, np.full(60, "type a"))
    with pytest.raises(DataError, match="60 cells hold no label"):
        cluster_agreement(x, np.full(60, ""))
    with pytest.raises(DataError, match="run 7 has vectors for 60 cells and the data have 59"):
        cluster_agreement(x, labels[:59], name="run 7")
    with pytest.raises(DataError, match="the view of run 7"):
        task_of(cells).predict(replace(cells, names_n=cells.names_n[::-1]).view("run 7", x))
    x[5, 0] = np.nan
    with pytest.raises(DataError, match="vectors of run 7 have NaN"):
        task_of(cells).predict(cells.view("run 7", x))
    with pytest.raises(DataError, match="trained on the labels of 60"):
        task_of(cells).predict(cells.view("r", cells.vectors(1.0), seen="seen-labelled"))
