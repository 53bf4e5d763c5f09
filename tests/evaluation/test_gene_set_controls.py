"""Random sets that are alike in what they should be, and the controls' numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from cellwright.errors import DataError
from cellwright.evaluation.disease_controls import SetControl, null_control
from cellwright.evaluation.gene_set_controls import gene_traits, random_sets


@pytest.fixture(scope="module")
def counts():
    rng = np.random.default_rng(0)
    mean = np.exp(rng.normal(0, 1.3, size=600))
    factor = rng.gamma(2, 0.5, size=(400, 1)) ** (rng.random(600) < 0.3)  # some vary together
    return sp.csr_matrix(rng.poisson(rng.gamma(2.0, mean / 2.0, size=(400, 600)) * factor))


def test_traits_are_those_of_a_plain_computation(counts):
    x = counts.toarray()
    got, there = gene_traits(counts).traits_gk, x.mean(0) > 0
    expected = np.stack([np.log(x.mean(0)), (x > 0).mean(0), np.log(x.var(0) / x.mean(0))], axis=1)
    np.testing.assert_allclose(got[there], expected[there], rtol=1e-9, atol=1e-9)


def test_sets_match_and_share_no_gene(counts):
    traits, rng = gene_traits(counts), np.random.default_rng(2)
    programs = [rng.choice(300, 25, replace=False), 300 + rng.choice(300, 10, replace=False)]
    found = random_sets(sp.csr_matrix(np.log1p(counts)), traits, programs, 20, seed=1)
    taken = set(np.concatenate(programs))
    for several in found.sets:
        assert [len(s) for s in several] == [25, 10]
        drawn = np.concatenate(several)
        assert len(set(drawn)) == 35 and not taken & set(drawn)
    assert len({tuple(np.sort(s[0])) for s in found.sets}) == 20
    assert max(found.gap.values()) < 0.15
    again = random_sets(sp.csr_matrix(np.log1p(counts)), traits, programs, 20, seed=1)
    np.testing.assert_array_equal(again.sets[3][0], found.sets[3][0])


def test_coexpressed_sets_vary_together_as_much(counts):
    traits = gene_traits(counts)
    values = sp.csr_matrix(np.log1p(counts))
    correlation = np.corrcoef(values.toarray().T)
    together = np.argsort(-np.nan_to_num(correlation).sum(axis=0))[:12]
    own = (correlation[np.ix_(together, together)].sum() - 12) / (12 * 11)
    free = random_sets(values, traits, [together], 10)
    pulled = random_sets(values, traits, [together], 10, coexpressed=True)
    assert free.coexpression == pytest.approx(own, abs=1e-9)
    for sets, value in zip(pulled.sets, pulled.coexpression_m, strict=True):
        part = correlation[np.ix_(sets[0], sets[0])]
        assert value == pytest.approx((part.sum() - 12) / (12 * 11), abs=1e-9)
    assert abs(np.median(pulled.coexpression_m) - own) < abs(np.median(free.coexpression_m) - own)


def test_too_few_genes_are_said(counts):
    with pytest.raises(DataError, match="400 genes need as many other detected genes"):
        random_sets(sp.csr_matrix(counts), gene_traits(counts), [np.arange(400)], 5)


def test_ranks_and_nulls_by_hand():
    control = SetControl("pca", "matched", "roc_auc", 0.8, np.array([0.7, 0.8, 0.9, 0.6]))
    assert control.p == 3 / 5 and "any such genes would have done" in control.sentence()
    best = SetControl("pca", "matched", "roc_auc", 0.95, np.linspace(0.5, 0.9, 50))
    assert best.p == 1 / 51 and "better than such genes" in best.sentence()
    assert null_control("pca", [0.48, 0.52, 0.5, 0.51]).holds
    wrong = null_control("pca", [0.7, 0.71, 0.7, 0.72])
    assert not wrong.holds and wrong.check().severity == "failure"
    assert "0.71" in wrong.check().sentence
