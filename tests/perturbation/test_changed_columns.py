"""Replaced genes against the same done on dense matrices."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from cellwright.perturbation.changed_columns import with_columns


def test_only_the_columns_of_a_rows_group_are_replaced() -> None:
    rng = np.random.default_rng(0)
    counts_ng = rng.poisson(0.7, (30, 40))
    base_m, group_m = rng.integers(0, 30, 80), rng.integers(-1, 2, 80)
    columns = [np.array([39, 3, 0]), np.array([7, 20])]
    expected, drawn = counts_ng[base_m], np.zeros((80, 40), dtype=np.int64)
    for row, group in enumerate(group_m):
        if group >= 0:
            drawn[row, columns[group]] = rng.poisson(0.8, len(columns[group]))
            expected[row, columns[group]] = drawn[row, columns[group]]
    given = sp.csr_matrix(counts_ng, dtype=np.float32)
    for row in range(30):  # the order of a row's entries is the file's affair
        at = slice(given.indptr[row], given.indptr[row + 1])
        given.indices[at], given.data[at] = given.indices[at][::-1], given.data[at][::-1].copy()
    given.has_sorted_indices = False
    before = given.copy()
    found = with_columns(given, base_m, group_m, columns, sp.csr_matrix(drawn))
    np.testing.assert_array_equal(found.toarray(), expected)
    assert found.dtype == np.int64
    assert found.nnz == np.count_nonzero(expected)
    assert (
        np.diff(found.indices)[np.diff(np.repeat(np.arange(80), np.diff(found.indptr))) == 0] > 0
    ).all()
    np.testing.assert_array_equal(given.indices, before.indices)
