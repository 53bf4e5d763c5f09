"""Scores into probabilities, on validation perturbations: Platt's sigmoid, which keeps the order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

from cellwright.errors import DataError

LEAST = 10
"""Validation perturbations below which probabilities are left as the model gives them."""


@dataclass(frozen=True)
class Calibration:
    """probability = sigmoid(slope × logit + intercept); slope above 0.

    perturbations: of validation, on which it was fitted; calibrated: False where they were too few
    (slope 1, intercept 0).
    """

    slope: float = 1.0
    intercept: float = 0.0
    perturbations: int = 0
    calibrated: bool = False

    def probability(self, logit_qc: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probability that each candidate is perturbed, (q, c); 0 where the logit is -inf."""
        return np.asarray(expit(self.slope * np.asarray(logit_qc, np.float64) + self.intercept))

    @property
    def sentence(self) -> str:
        """What a reader of a probability must know."""
        if self.calibrated:
            return (
                f"Probabilities are calibrated on {self.perturbations} validation perturbations "
                "of the same screen."
            )
        return (
            f"Probabilities are uncalibrated: {self.perturbations} validation perturbations are "
            f"fewer than {LEAST}; read them as scores, their order only."
        )

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """What ``to_dict`` gave."""
        return cls(
            float(stored["slope"]),
            float(stored["intercept"]),
            int(stored["perturbations"]),
            bool(stored["calibrated"]),
        )


def fit_calibration(
    logit_qc: NDArray[np.floating], target_qc: NDArray[np.bool_], unit_q: NDArray[np.str_]
) -> Calibration:
    """Fit the sigmoid by weighted maximum likelihood; every perturbation weighs the same.

    Targets are smoothed as Platt 1999 does, so that a perfect ranking on few perturbations gives
    no certainty. Candidates that cannot be scored (-inf) take no part.

    Parameters
    ----------
    unit_q
        The validation perturbation of each query; below :data:`LEAST` of them nothing is fitted.

    Raises
    ------
    DataError
        If a logit is not a number.
    """
    logit_qc = np.asarray(logit_qc, dtype=np.float64)
    names_u, code_q, count_u = np.unique(unit_q, return_inverse=True, return_counts=True)
    if len(names_u) < LEAST:
        return Calibration(perturbations=len(names_u))
    if np.isnan(logit_qc).any() or np.isposinf(logit_qc).any():
        raise DataError("a logit is not a finite number, so that nothing can be calibrated on it")
    known = np.isfinite(logit_qc)
    weight = np.broadcast_to((1.0 / count_u[code_q])[:, None], logit_qc.shape)[known]
    x, t = logit_qc[known], np.asarray(target_qc, dtype=bool)[known]
    if not t.any() or t.all():
        return Calibration(perturbations=len(names_u))
    hits, misses = float(weight[t].sum()), float(weight[~t].sum())
    smooth = np.where(t, (hits + 1) / (hits + 2), 1 / (misses + 2))
    centre, spread = float(x.mean()), float(x.std()) or 1.0
    z = (x - centre) / spread

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope = np.exp(at[0])
        line = slope * z + at[1]
        error = weight * (expit(line) - smooth)
        value = float((weight * (np.logaddexp(0, line) - smooth * line)).sum())
        return value, np.array([slope * (error @ z), error.sum()])

    start = np.array([0.0, np.log(hits / misses)])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(-7, 7), (None, None)])
    slope = float(np.exp(found.x[0])) / spread
    return Calibration(slope, float(found.x[1]) - slope * centre, len(names_u), True)
