"""Small cells with counts, depth differences and a batch column."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp


def make_cells(n: int = 120, g: int = 300, seed: int = 0) -> ad.AnnData:
    """Negative-binomial counts of two kinds of cells, four libraries, named genes."""
    rng = np.random.default_rng(seed)
    kind_n = rng.integers(0, 2, n)
    mean_kg = rng.gamma(0.6, 1.5, (1, g)) * np.ones((2, 1))
    mean_kg[1, : g // 10] *= 4
    depth_n = rng.lognormal(0, 0.4, n)
    mean_ng = mean_kg[kind_n] * depth_n[:, None]
    counts_ng = rng.poisson(mean_ng * rng.gamma(2, 0.5, (n, g))).astype(np.float32)
    obs = pd.DataFrame(
        {
            "library": rng.choice(["L1", "L2", "L3", "L4"], n),
            "kind": np.where(kind_n == 1, "b", "a"),
            "libsize": counts_ng.sum(axis=1) * 10,
        },
        index=[f"cell{i}" for i in range(n)],
    )
    var = pd.DataFrame(index=[f"gene{i}" for i in range(g)])
    return ad.AnnData(sp.csr_matrix(counts_ng), obs=obs, var=var)


@pytest.fixture
def cells() -> ad.AnnData:
    return make_cells()
