from __future__ import annotations

import numpy as np
import pytest

from cellwright.errors import DataError, SettingsError
from cellwright.representations.hvg import HighlyVariableGenes
from cellwright.representations.pca import PrincipalComponents


@pytest.mark.parametrize("n_cells", [120, 40])
def test_components_equal_a_singular_value_decomposition(cells, n_cells):
    some = cells[:n_cells].copy()
    rep = PrincipalComponents(n_components=5, n_top=60).fit(some)
    values = HighlyVariableGenes(60).fit(some).transform(some).astype(np.float64)
    u, s, vt = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(rep.variance_, s[:5] ** 2 / (n_cells - 1), rtol=1e-6)
    overlap = np.abs(np.sum(rep.components_ * vt[:5], axis=1))
    np.testing.assert_allclose(overlap, 1, atol=1e-6)
    np.testing.assert_allclose(np.abs(rep.transform(some)), np.abs(u[:, :5] * s[:5]), atol=1e-3)


def test_seed_moves_no_component(cells):
    few = cells[:40]
    first = PrincipalComponents(10, 200, seed=0).fit(few).transform(few)
    second = PrincipalComponents(10, 200, seed=9).fit(few).transform(few)
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_fewer_components_where_cells_are_few(cells):
    few = cells[:6]
    assert PrincipalComponents(50).fit(few).transform(few).shape == (6, 5)
    with pytest.raises(DataError, match="got 1"):
        PrincipalComponents(50).fit(cells[:1])
    with pytest.raises(SettingsError, match="-2"):
        PrincipalComponents(-2).fit(few)
