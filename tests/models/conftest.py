"""Small tensors of binned cells with a mask, and bin frequencies with unused bins."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cellwright.tokens.masking import MaskRule, mask
from cellwright.training.references import references

CELLS, GENES, VALUES = 40, 30, 6


@pytest.fixture(scope="session")
def task():
    """Random bins of genes that use 2 to 6 of 6 ids, masked, with the references' predictions."""
    rng = np.random.default_rng(0)
    n_bins_g = rng.integers(2, VALUES + 1, GENES)
    n_bins_g[0] = VALUES
    bins_ng = (rng.random((3 * CELLS, GENES)) ** 2 * n_bins_g).astype(np.uint8)
    train, test = bins_ng[CELLS:], bins_ng[:CELLS]
    rule = MaskRule(0.2, 0.5, "bin")
    hidden_ng = mask(rule, test > 0, np.arange(CELLS, dtype=np.uint64), 0, 0)
    beside = references(train, train > 0, test, test > 0, hidden_ng, rule, n_bins_g)
    targets_nm = np.nonzero(hidden_ng)[1].reshape(CELLS, -1)
    return SimpleNamespace(
        n_bins_g=n_bins_g,
        ids_ng=torch.from_numpy(test.astype(np.int64)),
        hidden_ng=torch.from_numpy(hidden_ng),
        targets_nm=torch.from_numpy(targets_nm),
        truth_nm=torch.from_numpy(np.take_along_axis(test, targets_nm, 1).astype(np.int64)),
        log_gk=torch.from_numpy(beside.log_bin_frequencies_gk),
        beside=beside,
    )
