"""Bootstrap draws of whole units: a drawn cell brings all cells of its donor or library along."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

CHUNK = 4_000_000  # weights held in memory at once


@dataclass(frozen=True)
class Resamples:
    """Draws of units with replacement, the same ones however often they are iterated.

    unit_m: code of each row's unit, 0 … n_units - 1. A paired comparison uses one ``Resamples``
    for both sides.
    """

    unit_m: NDArray[np.int64]
    n_units: int
    draws: int = 2000
    seed: int = 0

    @property
    def sizes_u(self) -> NDArray[np.int64]:
        """Rows per unit, (u,)."""
        return np.bincount(self.unit_m, minlength=self.n_units)

    def weights(self) -> Iterator[NDArray[np.float64]]:
        """How often each unit was drawn, in chunks (b, u); the rows of a chunk sum to ``n_units``."""
        rng = np.random.default_rng(self.seed)
        per_chunk = max(1, CHUNK // max(self.n_units, 1))
        for start in range(0, self.draws, per_chunk):
            b = min(per_chunk, self.draws - start)
            drawn = rng.integers(self.n_units, size=(b, self.n_units))
            drawn += np.arange(b)[:, None] * self.n_units
            counts = np.bincount(drawn.ravel(), minlength=b * self.n_units)
            yield counts.reshape(b, self.n_units).astype(np.float64)

    def totals(self, category_m: NDArray[np.int64], n_categories: int) -> sparse.csr_matrix:
        """Rows per unit and category, (u, categories): the sufficient statistic of any count."""
        ones = np.ones(len(category_m))
        shape = (self.n_units, n_categories)
        return sparse.csr_matrix((ones, (self.unit_m, category_m)), shape=shape)


def by_unit(
    unit_m: NDArray[np.str_], *, draws: int = 2000, seed: int = 0
) -> tuple[Resamples, NDArray[np.str_]]:
    """Resamples over named units, and the names in the order of their codes (sorted)."""
    names_u, code_m = np.unique(unit_m, return_inverse=True)
    return Resamples(code_m.astype(np.int64), len(names_u), draws, seed), names_u


def by_row(n_rows: int, *, draws: int = 2000, seed: int = 0) -> Resamples:
    """Resamples in which every row is a unit of its own."""
    return Resamples(np.arange(n_rows, dtype=np.int64), n_rows, draws, seed)
