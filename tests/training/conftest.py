"""Binned cells that nothing but NumPy made, and a tiny encoder that is not at its start."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellwright.models.build import EncoderSettings, build_encoder
from cellwright.tokens.masking import cell_keys
from cellwright.training.batches import BinnedCells

GENES, VALUES = 24, 5


def make_cells(n: int, seed: int = 0) -> BinnedCells:
    """Bins in which the first gene tells the others apart; every cell is different."""
    rng = np.random.default_rng(seed)
    level_n = rng.integers(0, VALUES, n)
    noise_ng = rng.integers(0, VALUES, (n, GENES))
    keep_ng = rng.random((n, GENES)) < 0.7
    bins_ng = np.where(keep_ng, level_n[:, None], noise_ng).astype(np.uint8)
    return BinnedCells(bins_ng, None, cell_keys(f"cell{seed}-{i}" for i in range(n)))


def make_encoder(seed: int = 0, dropout: float = 0.0, **parts):
    settings = EncoderSettings(size="tiny", width=16, latents=4, dropout=dropout, **parts)
    return build_encoder(settings, torch.full((GENES, VALUES), 1 / VALUES).log(), seed)


@pytest.fixture
def cells() -> BinnedCells:
    return make_cells(37)


@pytest.fixture
def encoder():
    model = make_encoder()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model
