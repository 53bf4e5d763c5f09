"""Rankings of candidates against scikit-learn, brute force, and chance in closed form."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, ndcg_score

from cellwright.errors import DataError
from cellwright.evaluation.target_ranking import (
    best_threshold,
    chance_of,
    judge_ranking,
    rank_metrics,
    threshold_metrics,
)


def queries(q=40, c=9, seed=0):
    rng = np.random.default_rng(seed)
    target = np.zeros((q, c), dtype=bool)
    for row in target:
        row[rng.choice(c, rng.integers(1, 3), replace=False)] = True
    return rng.normal(size=(q, c)) + target, target


def test_metrics_are_those_of_scikit_learn_and_of_brute_force():
    score, target = queries()
    found = rank_metrics(score, target)
    for i in range(len(score)):
        order = np.argsort(-score[i])
        true = set(np.flatnonzero(target[i]))
        assert found["auprc"][i] == pytest.approx(average_precision_score(target[i], score[i]))
        assert found["ndcg"][i] == pytest.approx(ndcg_score([target[i]], [score[i]]))
        first = next(r for r, g in enumerate(order) if g in true)
        assert found["mrr"][i] == 1 / (first + 1)
        sets = sorted(combinations(range(9), len(true)), key=lambda s: -score[i, list(s)].sum())
        for k in (1, 2, 5):
            top = set(order[:k].tolist())
            assert found[f"recall@{k}"][i] == len(top & true) / len(true)
            assert found[f"relevant@{k}"][i] == bool(top & true)
            assert found[f"exact_set@{k}"][i] == (true in map(set, sets[:k]))


@pytest.mark.parametrize(("m", "c"), [(1, 7), (2, 7), (1, 1), (2, 30)])
def test_chance_is_what_random_scores_give(m, c):
    rng = np.random.default_rng(1)
    target = np.zeros((20_000, c), dtype=bool)
    target[:, :m] = True
    found = rank_metrics(rng.random((20_000, c)), target, ks=(1, 3))
    for name, level in chance_of(m, c, ks=(1, 3)).items():
        noise = found[name].std() / np.sqrt(20_000)
        assert abs(found[name].mean() - level) < 4.5 * noise + 1e-9, name


def test_equal_scores_are_chance_and_not_the_alphabet():
    target = np.zeros((4000, 10), dtype=bool)
    target[:, 0] = True
    found = rank_metrics(np.zeros((4000, 10)), target)
    assert found["mrr"].mean() == pytest.approx(chance_of(1, 10)["mrr"], abs=0.02)
    unscored = np.where(np.arange(10) < 5, -np.inf, 0.0) * np.ones((4000, 1))
    found = rank_metrics(unscored, target)
    assert found["recall@5"].sum() == 0
    assert found["mrr"].mean() == pytest.approx(np.mean(1 / np.arange(6, 11)), abs=0.01)


def test_a_set_with_a_gene_that_cannot_be_scored_comes_after_all_that_can():
    score = np.array([[5.0, -np.inf, 1.0, 0.0]])
    target = np.array([[True, True, False, False]])
    found = rank_metrics(score, target, ks=(3, 4))
    assert found["exact_set@3"][0] == 0 and found["exact_set@4"][0] == 1


def test_perturbations_count_once_however_many_queries_they_have():
    score, target = queries(q=60)
    unit = np.where(np.arange(60) < 41, "a", (np.arange(60) % 20).astype(str))
    found = judge_ranking(score, target, unit)
    plain = rank_metrics(score, target)["mrr"]
    by_hand = np.mean([plain[unit == u].mean() for u in np.unique(unit)])
    assert found["mrr"].value == pytest.approx(by_hand)
    assert found["mrr"].interval.low < by_hand < found["mrr"].interval.high
    sizes = target.sum(axis=1)
    levels = np.array([chance_of(int(s), 9)["mrr"] for s in sizes])
    assert found["mrr"].chance == pytest.approx(
        np.mean([levels[unit == u].mean() for u in np.unique(unit)])
    )


@pytest.mark.parametrize("perturbations", [12, 25])
def test_the_interval_of_random_scores_holds_chance_and_is_no_wider_than_need_be(perturbations):
    held, widths, values = 0, [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        q = 4 * perturbations
        target = np.zeros((q, 12), dtype=bool)
        target[np.arange(q), rng.integers(0, 12, q)] = True
        unit = np.repeat(np.arange(perturbations), 4).astype(str)
        found = judge_ranking(rng.random((q, 12)), target, unit, resamples=400, seed=seed)["mrr"]
        held += found.interval.low <= found.chance <= found.interval.high
        widths.append(found.interval.high - found.interval.low)
        values.append(found.value)
    assert held >= 90
    assert np.mean(widths) < 1.5 * 3.92 * np.std(values)


def test_f1_at_a_threshold_is_scikit_learns():
    score, target = queries()
    p = 1 / (1 + np.exp(-score))
    unit = np.arange(40).astype(str)
    found = threshold_metrics(p, target, unit, 0.6)
    assert found["micro_f1"].value == pytest.approx(f1_score(target, p >= 0.6, average="micro"))
    assert found["macro_f1"].value == pytest.approx(f1_score(target, p >= 0.6, average="macro"))
    everything = f1_score(target, np.ones_like(target), average="micro")
    assert found["micro_f1"].chance == pytest.approx(everything)
    best = best_threshold(p, target, unit)
    values = [f1_score(target, p >= t, average="micro") for t in np.unique(p)]
    assert f1_score(target, p >= best, average="micro") == pytest.approx(max(values))


def test_what_cannot_be_ranked_is_named():
    score, target = queries(q=3)
    with pytest.raises(DataError, match=r"scores have the shape \(2, 9\), targets \(3, 9\)"):
        rank_metrics(score[:2], target)
    score[1, 4] = np.nan
    with pytest.raises(DataError, match="query 1 has a score that is not a number"):
        rank_metrics(score, target)
    target[2] = False
    with pytest.raises(DataError, match="query 2 has no perturbed gene"):
        rank_metrics(np.zeros((3, 9)), target)
