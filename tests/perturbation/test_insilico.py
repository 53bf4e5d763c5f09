"""Which genes are edited in which cells."""

from __future__ import annotations

import numpy as np
import pytest

from cellwright.errors import DataError
from cellwright.perturbation.insilico import draw_plan, profile_of


@pytest.fixture
def cells():
    """60 cells of 5 to 30 of 50 genes; gene 49 is in none."""
    rng = np.random.default_rng(0)
    lists = [rng.permutation(49)[: rng.integers(5, 31)] for _ in range(60)]
    offsets_n = np.concatenate([[0], np.cumsum([len(genes) for genes in lists])])
    return lists, np.concatenate(lists), offsets_n


def planned(cells, sets, kind="delete", **how):
    _, gene_t, offsets_n = cells
    profile, held = profile_of(gene_t, offsets_n, 50)
    settings = {
        "cells_per_gene": 8,
        "null": 10,
        "min_cells": 3,
        "seed": 0,
        "within": False,
    }
    return draw_plan(sets, held, profile, kind, **{**settings, **how}), profile


def test_the_profile_is_counted_cell_by_cell(cells):
    lists, gene_t, offsets_n = cells
    profile, held = profile_of(gene_t, offsets_n, 50)
    for gene in range(49):
        places = [list(genes).index(gene) for genes in lists if gene in genes]
        assert profile.cells_g[gene] == len(places) == held[:, [gene]].sum()
        assert profile.place_g[gene] == pytest.approx(np.mean(np.log1p(places)))
        front = [list(genes).index(gene) < 0.05 * len(genes) for genes in lists if gene in genes]
        assert profile.front_g[gene] == sum(front)
    assert profile.cells_g[49] == 0
    assert profile.place_g[49] == pytest.approx(np.log1p(max(map(len, lists))))


def test_only_cells_that_hold_a_gene_and_at_most_as_many_as_asked(cells):
    lists, *_ = cells
    plan, profile = planned(cells, [(4,), (5, 6)])
    assert plan.asked == 2 and plan.sets[:2] == ((4,), (5, 6))
    assert [m.size for m in plan.null_am] == [10, 10]
    for edit, cell in zip(plan.edit_p, plan.cell_p, strict=True):
        assert set(plan.sets[edit]) & set(lists[cell].tolist())
    np.testing.assert_array_equal(np.bincount(plan.edit_p), plan.depth_e)
    assert plan.depth_e.max() == 8 == plan.depth_e[0]
    # The pairs of one cell stand together, and no pair occurs twice.
    assert (np.diff(plan.cell_p) != 0).sum() + 1 == np.unique(plan.cell_p).size
    assert (
        len(set(zip(plan.edit_p.tolist(), plan.cell_p.tolist(), strict=True))) == plan.edit_p.size
    )
    # Neither an asked gene nor a rare one stands in a null.
    null = {gene for edits in plan.null_am for e in edits for gene in plan.sets[e]}
    assert not null & {4, 5, 6} and min(profile.cells_g[list(null)]) >= 3


def test_all_genes_are_each_others_null_and_nothing_else_is_computed(cells):
    sets = [(gene,) for gene in range(49)]
    plan, _ = planned(cells, sets, within=True)
    assert plan.sets == tuple(sets)
    assert all(e not in edits for e, edits in enumerate(plan.null_am))


def test_raising_is_done_in_every_cell_and_a_gene_in_none_is_matched_with_such(cells):
    plan, _ = planned(cells, [(49,)], "raise", cells_per_gene=1000)
    assert plan.depth_e[0] == 60
    again, _ = planned(cells, [(49,)], "raise", cells_per_gene=1000)
    np.testing.assert_array_equal(plan.cell_p, again.cell_p)


def test_more_genes_than_there_are_others(cells):
    with pytest.raises(DataError, match="a null for 30 genes"):
        planned(cells, [tuple(range(30))])
