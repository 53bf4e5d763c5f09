"""Small cells in which it is known what a probe must find."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp


def plant(n: int = 200, g: int = 80, seed: int = 0) -> ad.AnnData:
    """Two kinds of cells told apart by ten genes each, by depth, and by their libraries.

    Kind ``b`` is sequenced deeper, and nine in ten cells of a library are of one kind: expression
    is a right answer, depth and library are shortcuts. Ten libraries; ``noise`` is a label that
    nothing can tell.
    """
    rng = np.random.default_rng(seed)
    library_n = np.arange(n) % 10
    kind_n = np.where(rng.random(n) < 0.9, library_n % 2, 1 - library_n % 2)
    mean_kg = np.tile(rng.gamma(2.0, 1.0, g), (2, 1))
    mean_kg[0, :10] *= 4
    mean_kg[1, 10:20] *= 4
    depth_n = rng.lognormal(0.6 * kind_n, 0.4)
    counts_ng = rng.poisson(mean_kg[kind_n] * depth_n[:, None])
    obs = pd.DataFrame(
        {
            "kind": np.array(["a", "b"])[kind_n],
            "library": [f"L{i}" for i in library_n],
            "noise": rng.choice(["x", "y", "z"], n),
        },
        index=[f"cell{i:03d}" for i in range(n)],
    )
    var = pd.DataFrame(index=[f"gene{i}" for i in range(g)])
    return ad.AnnData(sp.csr_matrix(counts_ng.astype(np.float32)), obs=obs, var=var)


@pytest.fixture
def planted() -> ad.AnnData:
    return plant()


@pytest.fixture(scope="session")
def planted_once() -> ad.AnnData:
    """The same cells for tests that share a costly result and change nothing."""
    return plant()
