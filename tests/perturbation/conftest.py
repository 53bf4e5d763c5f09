"""A screen whose truth is planted: shifts of single genes that add up in doubles."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from cellwright.perturbation.reverse import Screen, read_screen


@dataclass(frozen=True)
class Planted:
    """A screen, log expression of its cells and the true shift of each candidate."""

    screen: Screen
    expression_ng: np.ndarray
    effect_cg: np.ndarray


@pytest.fixture(scope="session")
def planted() -> Planted:
    """Eight targets, 60 genes, 12 of the 28 doubles; strengths vary, noise is moderate."""
    rng = np.random.default_rng(3)
    names = [f"T{i}" for i in range(8)]
    effects = rng.normal(0, 0.6, (8, 60)) + rng.normal(0, 0.4, 60)
    pairs = list(combinations(range(8), 2))
    doubles = [pairs[i] for i in rng.permutation(len(pairs))[:12]]
    labels, rows = [], []
    for genes in [(), *((i,) for i in range(8)), *doubles]:
        mean = effects[list(genes)].sum(axis=0)
        for _ in range(60 if not genes else 24):
            labels.append("+".join(names[i] for i in genes) or "control")
            rows.append(4 + mean + rng.normal(0, 0.8, 60))
    screen = read_screen(pd.DataFrame({"condition": labels}))
    return Planted(screen, np.array(rows), effects)
