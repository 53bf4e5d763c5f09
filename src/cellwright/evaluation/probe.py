"""The probe: class-balanced logistic regression on standardized vectors, kept as plain arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Probe:
    """A fitted probe: standardize with ``mean_d`` and ``scale_d``, then ``coef_kd`` and ``intercept_k``.

    Two classes have one row of coefficients for the second class. ``converged`` is False when the
    optimiser stopped at its iteration limit.
    """

    classes: tuple[str, ...]
    coef_kd: NDArray[np.float64]
    intercept_k: NDArray[np.float64]
    mean_d: NDArray[np.float64]
    scale_d: NDArray[np.float64]
    converged: bool = True

    def probability(self, vectors_nd: NDArray[np.floating]) -> NDArray[np.float64]:
        """Class probabilities (n, k), rows sum to 1."""
        raise NotImplementedError

    def predict(self, vectors_nd: NDArray[np.floating]) -> NDArray[np.int64]:
        """Index into ``classes`` of the most probable class, (n,)."""
        raise NotImplementedError


def fit_probe(
    vectors_nd: NDArray[np.floating],
    label_codes_n: NDArray[np.int64],
    classes: tuple[str, ...],
    *,
    C: float = 1.0,
    class_weight: str | None = "balanced",
    name: str = "the representation",
) -> Probe:
    """Fit the probe on training cells (all rows given)."""
    raise NotImplementedError


def save_probes(probes: Mapping[str, Probe], path: Path) -> None:
    """Write probes by representation name to one ``.npz`` of plain arrays (no pickle), atomically."""
    raise NotImplementedError


def load_probes(path: Path) -> dict[str, Probe]:
    """Read what ``save_probes`` wrote, with ``allow_pickle=False``."""
    raise NotImplementedError
