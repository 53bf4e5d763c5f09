from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
import scanpy as sc

from cellwright.errors import DataError, SettingsError
from cellwright.representations.expression import log_counts, log_normalized
from cellwright.representations.hvg import HighlyVariableGenes


def test_log_normalized_equals_scanpy(cells):
    ours = log_normalized(cells.X).toarray()
    theirs = cells.copy()
    sc.pp.normalize_total(theirs, target_sum=1e4)
    sc.pp.log1p(theirs)
    np.testing.assert_allclose(ours, theirs.X.toarray(), rtol=1e-5)


def test_a_cell_without_counts_stays_zero(cells):
    empty = cells.copy()
    counts = empty.X.toarray()
    counts[4] = 0
    empty.X = counts
    vectors = HighlyVariableGenes(50).fit(empty).transform(empty)
    assert not vectors[4].any() and np.isfinite(vectors).all()


def test_genes_equal_scanpys(cells):
    ours = HighlyVariableGenes(60).fit(cells)
    theirs = cells.copy()
    sc.pp.filter_genes(theirs, min_cells=1)
    sc.pp.normalize_total(theirs, target_sum=1e4)
    sc.pp.log1p(theirs)
    sc.pp.highly_variable_genes(theirs, n_top_genes=60, flavor="seurat")
    assert list(ours.genes_) == list(theirs.var_names[theirs.var["highly_variable"]])


def test_dispersion_closed_form_picks_the_planted_genes():
    # Equal totals and equal means: only the variance of the first genes differs, so they rank first.
    rng = np.random.default_rng(0)
    counts = np.full((200, 100), 5)
    counts[:, :10] = np.where(rng.random((200, 10)) < 0.5, 0, 10)
    cells = ad.AnnData(counts.astype(np.float32))
    chosen = HighlyVariableGenes(10).fit(cells).genes_
    assert set(chosen) == {str(i) for i in range(10)}


def test_undetected_genes_are_left_out_when_there_are_few(cells):
    some = cells.copy()
    counts = some.X.toarray()
    counts[:, 10:20] = 0
    some.X = counts
    rep = HighlyVariableGenes(2000).fit(some)
    assert len(rep.genes_) == (counts.sum(axis=0) > 0).sum()
    assert not set(rep.genes_) & {f"gene{i}" for i in range(10, 20)}


def test_transform_finds_genes_by_name_in_another_order(cells):
    rep = HighlyVariableGenes(40).fit(cells)
    turned = cells[:, ::-1].copy()
    np.testing.assert_allclose(rep.transform(turned), rep.transform(cells), rtol=1e-5)


def test_missing_genes_are_named(cells):
    rep = HighlyVariableGenes(40).fit(cells)
    lost = rep.genes_[0]
    with pytest.raises(DataError, match=lost):
        rep.transform(cells[:, cells.var_names != lost])


def test_nothing_detected_and_bad_settings(cells):
    with pytest.raises(SettingsError, match="0"):
        HighlyVariableGenes(0).fit(cells)
    expression = log_counts(cells)
    with pytest.raises(DataError, match="5000"):
        HighlyVariableGenes(10, target_sum=5000).fit(expression)
