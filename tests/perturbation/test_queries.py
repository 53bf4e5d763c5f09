"""Groups of cells and their shift from controls of the same batches."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellwright.errors import DataError, SettingsError
from cellwright.perturbation.queries import control_means, draw_queries, random_groups
from cellwright.perturbation.reverse import read_screen


@pytest.fixture
def screen():
    names = np.array(["control"] * 20 + ["A"] * 11 + ["A+B"] * 7 + ["B"] * 3)
    batch = np.where(np.arange(41) % 3 == 0, "x", "y")
    return read_screen(pd.DataFrame({"condition": names, "lane": batch}), batch="lane")


@pytest.fixture
def expression(screen):
    """A batch shifts every gene; A lifts gene 0 by 2 and B gene 1 by 3."""
    x = np.random.default_rng(0).normal(0, 0.01, (41, 5))
    x[screen.batch_n == "x"] += 10
    has = np.array([[*row] for row in screen.targets_pc])
    for row, code in enumerate(screen.condition_n):
        if code >= 0:
            x[row, 0] += 2 * has[code, 0]
            x[row, 1] += 3 * has[code, 1]
    return x


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize("k", [1, 4, None])
def test_shifts_are_those_planted_whatever_the_batch(expression, screen, k, kind):
    found = draw_queries(kind(expression), screen, ["A", "A+B"], k=k)
    assert len(found) == {1: 18, 4: 3, None: 2}[k]
    for q, rows in enumerate(found.rows_q):
        assert (screen.condition_n[rows] == found.condition_q[q]).all()
        assert found.mean_qg[q] == pytest.approx(expression[rows].mean(axis=0), abs=1e-5)
        planted = [2, 3 if screen.conditions[found.condition_q[q]] == "A+B" else 0, 0, 0, 0]
        assert found.shift_qg[q] == pytest.approx(planted, abs=0.06)
    used = np.concatenate(found.rows_q)
    assert len(used) == len(set(used))


def test_a_condition_with_few_cells_gives_one_group(expression, screen):
    found = draw_queries(expression, screen, ["B"], k=20)
    assert len(found) == 1 and len(found.rows_q[0]) == 3
    assert len(draw_queries(expression, screen, ["A"], k=2, most=3)) == 3


def test_groups_do_not_depend_on_the_other_conditions(expression, screen):
    alone = draw_queries(expression, screen, ["A+B"], k=3, seed=5)
    beside = draw_queries(expression, screen, ["A", "A+B"], k=3, seed=5)
    own = [
        rows
        for rows, c in zip(beside.rows_q, beside.condition_q, strict=True)
        if c == alone.condition_q[0]
    ]
    assert all(np.array_equal(a, b) for a, b in zip(alone.rows_q, own, strict=True))
    other = draw_queries(expression, screen, ["A+B"], k=3, seed=6)
    assert any(not np.array_equal(a, b) for a, b in zip(alone.rows_q, other.rows_q, strict=True))


def test_random_groups_mix_conditions(expression, screen):
    found = random_groups(expression, screen, ["A", "A+B", "B"], k=6, n=9)
    assert len(found) == 9 and np.bincount(found.condition_q).tolist() == [3, 3, 3]
    assert any(len(set(screen.condition_n[rows])) > 1 for rows in found.rows_q)


def test_what_cannot_be_asked_is_named(expression, screen):
    with pytest.raises(SettingsError, match="k is 0"):
        draw_queries(expression, screen, ["A"], k=0)
    with pytest.raises(DataError, match="no perturbation 'AA'"):
        draw_queries(expression, screen, ["AA"])
    with pytest.raises(DataError, match="no control cells"):
        control_means(expression, screen, np.zeros(0, dtype=int))
    with pytest.raises(DataError, match="3 cells are too few for random groups of 9"):
        random_groups(expression, screen, ["B"], k=9, n=2)
