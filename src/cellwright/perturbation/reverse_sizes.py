"""How many genes were perturbed: one or two, told from the probabilities of all genes together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from scipy.special import logit as logit_of
from sklearn.linear_model import LogisticRegression

LEAST = 3
"""Perturbations of either size below which the number is not told."""
EDGE = 1e-3


@dataclass(frozen=True)
class SizeEstimate:
    """P(two genes) = sigmoid(slope × second + intercept).

    second: log-odds of the sum of all probabilities less one, which is the chance of a second gene
    where sets of one and two compete. singles, doubles: perturbations that it was fitted on;
    fitted: False where either were too few, and ``usual`` is said of all.
    """

    slope: float = 0.0
    intercept: float = 0.0
    singles: int = 0
    doubles: int = 0
    fitted: bool = False
    usual: int = 1

    def two(self, logit_qc: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probability that two genes are perturbed and not one, (q,)."""
        if not self.fitted:
            return np.full(len(logit_qc), float(self.usual == 2))
        return np.asarray(expit(self.slope * _second(logit_qc) + self.intercept))

    def number(self, logit_qc: NDArray[np.floating]) -> NDArray[np.int64]:
        """1 or 2 for each query, (q,)."""
        return np.where(self.two(logit_qc) >= 0.5, 2, 1).astype(np.int64)

    @property
    def sentence(self) -> str:
        """What the number rests on."""
        if self.fitted:
            return (
                "The number of perturbed genes is estimated from the probabilities of all genes, "
                "calibrated on cells that were not trained on, of "
                f"{self.singles} single and {self.doubles} double perturbations."
            )
        return (
            f"The number of perturbed genes cannot be estimated ({self.singles} single and "
            f"{self.doubles} double perturbations with held-out cells, {LEAST} of either are "
            f"needed); {self.usual} is taken for all."
        )

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """What ``to_dict`` gave."""
        return cls(
            float(stored["slope"]),
            float(stored["intercept"]),
            int(stored["singles"]),
            int(stored["doubles"]),
            bool(stored["fitted"]),
            int(stored["usual"]),
        )


def fit_sizes(
    logit_qc: NDArray[np.floating], size_q: NDArray[np.int64], unit_q: NDArray[np.str_]
) -> SizeEstimate:
    """Learn to tell doubles from singles by logistic regression; both weigh the same.

    Parameters
    ----------
    logit_qc
        Of queries whose cells were not trained on.
    size_q
        Genes perturbed, 1 or 2.
    unit_q
        The perturbation of each query.
    """
    two_q = np.asarray(size_q) == 2
    names_u, first_u, code_q = np.unique(unit_q, return_index=True, return_inverse=True)
    doubles = int(two_q[first_u].sum())
    singles = len(names_u) - doubles
    usual = 2 if doubles > singles else 1
    if min(singles, doubles) < LEAST:
        return SizeEstimate(singles=singles, doubles=doubles, usual=usual)
    count_q = np.bincount(code_q)[code_q]
    weight_q = len(names_u) / (count_q * np.where(two_q, doubles, singles))
    second = _second(logit_qc)
    mean, spread = float(second.mean()), float(second.std())
    spread = spread if spread > 1e-9 else 1.0
    model = LogisticRegression(C=1.0)
    model.fit((second[:, None] - mean) / spread, two_q, sample_weight=weight_q)
    slope = float(model.coef_[0, 0]) / spread
    intercept = float(model.intercept_[0]) - slope * mean
    return SizeEstimate(slope, intercept, singles, doubles, True, usual)


def _second(logit_qc: NDArray[np.floating]) -> NDArray[np.float64]:
    """Log-odds of a second gene, (q,)."""
    total = expit(np.asarray(logit_qc, dtype=np.float64)).sum(axis=1) - 1
    return np.asarray(logit_of(np.clip(total, EDGE, 1 - EDGE)))
