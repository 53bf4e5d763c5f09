"""Thinned pictures keep every class at its share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwright.report.thinning import thin


@given(
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=12),
    most=st.integers(12, 600),
    seed=st.integers(0, 3),
)
def test_shares_are_kept_and_no_class_is_lost(sizes: list[int], most: int, seed: int) -> None:
    names = np.repeat([f"c{i}" for i in range(len(sizes))], sizes)
    kept = thin(names, most, seed)
    n = len(names)
    assert len(kept) == min(n, most)
    assert np.array_equal(kept, np.unique(kept))
    if n <= most:
        return
    got = np.array([(names[kept] == f"c{i}").sum() for i in range(len(sizes))])
    exact = np.array(sizes) * most / n
    assert (got >= 1).all()
    assert (got <= sizes).all()
    # Largest remainder is off by less than one, and by one more for each rare class given a place.
    assert np.abs(got - exact).max() < 1 + (exact < 1).sum()


def test_the_draw_is_seeded_and_random() -> None:
    names = np.repeat(["a", "b"], 500)
    assert np.array_equal(thin(names, 100, 1), thin(names, 100, 1))
    assert not np.array_equal(thin(names, 100, 1), thin(names, 100, 2))


def test_every_cell_has_the_same_chance() -> None:
    names = np.repeat(["a", "b"], [30, 10])
    drawn = np.zeros(40)
    for seed in range(2000):
        drawn[thin(names, 20, seed)] += 1
    # Binomial(2000, 1/2): five standard deviations are 112.
    assert np.abs(drawn - 1000).max() < 112


def test_more_classes_than_places() -> None:
    assert len(thin(np.array([f"c{i}" for i in range(50)]), 20)) == 20


@pytest.mark.parametrize("n", [0, 5])
def test_few_cells_are_all_kept(n: int) -> None:
    assert thin(np.array(["a"] * n, dtype=str), 5).tolist() == list(range(n))
