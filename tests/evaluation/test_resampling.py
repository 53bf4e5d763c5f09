"""Bootstrap draws: whole units, repeatable, with the moments of the multinomial."""

from __future__ import annotations

import numpy as np
import pytest

from cellwright.evaluation import resampling
from cellwright.evaluation.resampling import by_row, by_unit


def test_every_draw_has_as_many_units_as_there_are() -> None:
    drawn, names = by_unit(np.array(["b", "a", "b", "c"]), draws=500, seed=0)
    weights = np.concatenate(list(drawn.weights()))
    assert list(names) == ["a", "b", "c"]
    assert weights.shape == (500, 3)
    assert (weights.sum(axis=1) == 3).all()
    assert list(drawn.sizes_u) == [1, 2, 1]


def test_weights_have_the_moments_of_a_bootstrap() -> None:
    """Mean 1 and variance 1 - 1/u for each of u units."""
    weights = np.concatenate(list(by_row(10, draws=20_000, seed=1).weights()))
    assert weights.mean(axis=0) == pytest.approx(np.ones(10), abs=0.03)
    assert weights.var(axis=0) == pytest.approx(np.full(10, 0.9), abs=0.05)


def test_the_same_draws_however_often_they_are_asked() -> None:
    drawn = by_row(7, draws=30, seed=4)
    first, second = list(drawn.weights()), list(drawn.weights())
    assert np.array_equal(np.concatenate(first), np.concatenate(second))


def test_draws_come_in_bounded_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resampling, "CHUNK", 100)
    pieces = list(by_row(40, draws=9, seed=0).weights())
    assert [len(p) for p in pieces] == [2, 2, 2, 2, 1]


def test_totals_times_weights_count_the_resample() -> None:
    units = np.array(["a", "a", "b", "c", "c", "c"])
    category = np.array([0, 1, 1, 0, 2, 2])
    drawn, _ = by_unit(units, draws=20, seed=2)
    counts = np.concatenate([(drawn.totals(category, 3).T @ w.T).T for w in drawn.weights()])
    weights = np.concatenate(list(drawn.weights()))
    for weight, count in zip(weights, counts, strict=True):
        rows = np.repeat(category, weight[drawn.unit_m].astype(int))
        assert np.array_equal(np.bincount(rows, minlength=3), count)
