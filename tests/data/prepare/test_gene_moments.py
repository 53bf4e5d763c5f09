"""Counts and moments held to NumPy on the dense matrix."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings

from cellwright.data.disk.rows import Rows
from cellwright.data.prepare.gene_moments import NonzeroCounter, detection_and_std


def blocks_of(counts, step):
    return [Rows(counts[at : at + step], at) for at in range(0, counts.shape[0], step)]


def some_counts(seed, kind="f4"):
    rng = np.random.default_rng(seed)
    counts = sp.csr_matrix(np.where(rng.random((40, 13)) < 0.4, rng.integers(1, 9, (40, 13)), 0))
    counts = counts.astype(kind)
    counts.data[::5] = 0  # stored all the same
    return counts


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    step=st.integers(1, 41),
    kind=st.sampled_from(["i1", "i4", "f4", "f8"]),
)
def test_nonzeros_are_those_of_the_dense_matrix(seed, step, kind):
    counts = some_counts(seed, kind)
    counter = NonzeroCounter(*counts.shape)
    for block in blocks_of(counts, step):
        counter.add(block)
    found, dense = counter.result(), counts.toarray()
    np.testing.assert_array_equal(found.genes_per_n, (dense != 0).sum(axis=1))
    np.testing.assert_array_equal(found.cells_per_g, (dense != 0).sum(axis=0))
    told = found.summary()
    assert told["shape"] == [40, 13]
    assert told["nonzero_fraction"] == (dense != 0).mean()
    assert told["median_nonzero_per_cell"] == np.median((dense != 0).sum(axis=1))
    assert told["median_nonzero_per_gene"] == np.median((dense != 0).sum(axis=0))


@pytest.mark.parametrize("seed", range(5))
def test_moments_are_numpys_and_do_not_depend_on_the_blocks(seed):
    counts = some_counts(seed)
    counts.data *= np.float32(0.1)
    dense = counts.toarray().astype(float)
    whole = detection_and_std([counts], *counts.shape)
    np.testing.assert_allclose(whole[0], (dense != 0).mean(axis=0), rtol=1e-15)
    np.testing.assert_allclose(whole[1], dense.std(axis=0), rtol=1e-12, atol=1e-14)
    for step in (1, 7, 39):
        again = detection_and_std((b.counts for b in blocks_of(counts, step)), *counts.shape)
        for one, other in zip(whole, again, strict=True):
            np.testing.assert_array_equal(one, other)  # to the last bit


def test_values_beyond_number_are_told_by_the_spread():
    counts = sp.csr_matrix(np.array([[1.0, np.nan, 1e300], [1.0, 2.0, 1e300], [3.0, 0, np.inf]]))
    detected, std = detection_and_std([counts], 3, 3)
    np.testing.assert_allclose(detected, [1, 2 / 3, 1])
    assert np.isfinite(std[0]) and not np.isfinite(std[1:]).any()
