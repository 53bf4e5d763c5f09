"""Planted cells for the exams: what a representation knows of the label is set by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from cellwright.interfaces import CellView


@dataclass(frozen=True)
class Planted:
    """Labels in groups, and vectors that show the label at a chosen strength."""

    codes_n: NDArray[np.int64]
    groups_n: NDArray[np.str_]
    names_n: NDArray[np.str_]
    classes: tuple[str, ...]
    seed: int

    def vectors(self, strength: float, dims: int = 5, seed: int = 1) -> NDArray[np.float32]:
        rng = np.random.default_rng([self.seed, seed])
        centres_kd = np.random.default_rng(9).normal(size=(len(self.classes), dims))
        noise = rng.normal(size=(len(self.codes_n), dims))
        return (strength * centres_kd[self.codes_n] + noise).astype(np.float32)

    def view(
        self,
        name: str,
        vectors_nd: NDArray[np.floating],
        *,
        baseline: bool = False,
        seen: str = "clean",
    ) -> CellView:
        return CellView(
            name=name,
            vectors=lambda fit_rows: vectors_nd,
            seen_n=np.full(len(self.codes_n), seen),
            obs=pd.DataFrame(index=pd.Index(self.names_n)),
            baseline=baseline,
        )


@pytest.fixture
def planted() -> Callable[..., Planted]:
    def make(n_cells: int = 300, n_classes: int = 2, n_groups: int = 12, seed: int = 0) -> Planted:
        rng = np.random.default_rng(seed)
        return Planted(
            codes_n=rng.integers(n_classes, size=n_cells),
            groups_n=np.array([f"donor{g:02d}" for g in rng.integers(n_groups, size=n_cells)]),
            names_n=np.array([f"cell{i:05d}" for i in rng.permutation(n_cells)]),
            classes=tuple(f"type {chr(97 + k)}" for k in range(n_classes)),
            seed=seed,
        )

    return make
