"""Confusion by pathway, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from cellwright.errors import DataError
from cellwright.evaluation.target_confusion import OTHER, pathway_confusion

GENES = ("A", "B", "C", "D", "E")
SETS = {"first": ("A", "B"), "second": ("C", "D", "Z"), "copy": ("B", "A"), "lone": ("E",)}


def test_rows_are_true_pathways_and_columns_those_of_the_stand_ins():
    # A asked: B named (alike). C+E asked twice: C and A named, then both right.
    score = np.array([[1, 9, 0, 0, 0], [8, 0, 9, 0, 0], [0, 0, 9, 0, 8.0]])
    target = np.array([[1, 0, 0, 0, 0], [0, 0, 1, 0, 1], [0, 0, 1, 0, 1]], dtype=bool)
    found = pathway_confusion(score, target, np.array(["A", "C+E", "C+E"]), GENES, SETS)
    assert found.pathways == ("first", "second", OTHER)
    np.testing.assert_allclose(found.weight_kk, [[1, 0, 0], [0, 1, 0], [0.5, 0, 0.5]])
    # Missed: A once, E half a time; A's stand-in shares a pathway, E's cannot.
    assert found.wrong == 1.5 and found.alike == pytest.approx(1 / 1.5)
    assert found.chance == pytest.approx((1 / 4) / 1.5)
    assert found.interval.low <= found.alike <= found.interval.high


def test_a_gene_of_two_pathways_is_spread_over_them():
    sets = {"first": ("A", "B"), "second": ("A", "C")}
    found = pathway_confusion(
        np.eye(3)[:1], np.eye(3, dtype=bool)[:1], np.array(["A"]), "ABC", sets
    )
    np.testing.assert_allclose(found.weight_kk[:2, :2], 0.25)
    assert found.alike is None and found.wrong == 0


def test_random_scores_give_chance():
    rng = np.random.default_rng(0)
    target = np.eye(5, dtype=bool)[rng.integers(5, size=4000)]
    unit = np.array([f"p{i}" for i in range(4000)])
    found = pathway_confusion(rng.random(target.shape), target, unit, GENES, SETS)
    assert found.alike == pytest.approx(found.chance, abs=0.02)


def test_sets_without_two_candidates_are_refused():
    with pytest.raises(DataError, match="1 gene sets holds 2 of the 2 candidates"):
        pathway_confusion(
            np.eye(2), np.eye(2, dtype=bool), np.array(["A", "B"]), "AB", {"x": ("A",)}
        )
