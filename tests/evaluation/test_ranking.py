"""Weighted AUC against scikit-learn, on weights, ties and whole resampled units."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from cellwright.evaluation import ranking
from cellwright.evaluation.ranking import pairs_won, resampled_auc, roc_auc
from cellwright.evaluation.resampling import by_unit


def _cells(seed: int, ties: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    positive = rng.random(200) < 0.4
    score = rng.normal(size=200) + positive
    if ties:
        score = np.round(score)
    return score, positive, np.array([f"u{u}" for u in rng.integers(15, size=200)])


@pytest.mark.parametrize("ties", [False, True])
def test_weighted_auc_equals_scikit_learn(ties: bool) -> None:
    score, positive, _ = _cells(0, ties)
    weights = np.random.default_rng(1).integers(0, 4, size=(5, 200)).astype(float)
    expected = [roc_auc_score(positive, score, sample_weight=w) for w in weights]
    assert roc_auc(score, positive, weights) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_resampled_units_equal_the_written_out_resample(
    ties: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, positive, units = _cells(2, ties)
    drawn, _ = by_unit(units, draws=25, seed=3)
    weights = np.concatenate(list(drawn.weights()))[:, drawn.unit_m].astype(int)
    expected = [roc_auc_score(np.repeat(positive, w), np.repeat(score, w)) for w in weights]
    assert resampled_auc(score, positive, drawn) == pytest.approx(expected, abs=1e-12)
    monkeypatch.setattr(ranking, "FEW_ENOUGH_FOR_PAIRS", 1)
    assert resampled_auc(score, positive, drawn) == pytest.approx(expected, abs=1e-12)


def test_pairs_are_the_same_in_pieces() -> None:
    score, positive, units = _cells(4, ties=True)
    _, code = np.unique(units, return_inverse=True)
    whole = pairs_won(score, positive, code, 15)
    assert np.array_equal(pairs_won(score, positive, code, 15, chunk=2), whole)
    assert whole.sum() == pytest.approx(
        roc_auc_score(positive, score) * positive.sum() * (~positive).sum()
    )


def test_one_class_has_no_auc() -> None:
    assert np.isnan(roc_auc(np.arange(3.0), np.array([True] * 3), np.ones(3)))
