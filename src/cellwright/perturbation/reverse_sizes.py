"""How many genes were perturbed: one or two, told from how the highest scores lie apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

LEAST = 3
"""Perturbations of either size below which the number is not told."""
TOP = 3


@dataclass(frozen=True)
class SizeEstimate:
    """P(two genes) = sigmoid(features @ weight + intercept).

    weight: of the gaps between the first, second and third score; singles, doubles: perturbations
    that it was fitted on; fitted: False where either were too few, and ``usual`` is said of all.
    """

    weight: tuple[float, ...] = (0.0,) * (TOP - 1)
    intercept: float = 0.0
    singles: int = 0
    doubles: int = 0
    fitted: bool = False
    usual: int = 1

    def two(self, logit_qc: NDArray[np.floating]) -> NDArray[np.float64]:
        """Probability that two genes are perturbed and not one, (q,)."""
        if not self.fitted:
            return np.full(len(logit_qc), float(self.usual == 2))
        return np.asarray(expit(_gaps(logit_qc) @ np.array(self.weight) + self.intercept))

    def number(self, logit_qc: NDArray[np.floating]) -> NDArray[np.int64]:
        """1 or 2 for each query, (q,)."""
        return np.where(self.two(logit_qc) >= 0.5, 2, 1).astype(np.int64)

    @property
    def sentence(self) -> str:
        """What the number rests on."""
        if self.fitted:
            return (
                "The number of perturbed genes is estimated from the gaps between the highest "
                f"scores, learned from held-out cells of {self.singles} single and {self.doubles} "
                "double perturbations."
            )
        return (
            f"The number of perturbed genes cannot be estimated ({self.singles} single and "
            f"{self.doubles} double perturbations with held-out cells, {LEAST} of either are "
            f"needed); {self.usual} is taken for all."
        )

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "weight": list(self.weight)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """What ``to_dict`` gave."""
        return cls(
            tuple(float(w) for w in stored["weight"]),
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
    if min(singles, doubles) < LEAST or np.asarray(logit_qc).shape[1] < TOP:
        return SizeEstimate(singles=singles, doubles=doubles, usual=usual)
    count_q = np.bincount(code_q)[code_q]
    weight_q = 1.0 / (count_q * np.where(two_q, doubles, singles))
    gaps = _gaps(logit_qc)
    mean, spread = gaps.mean(axis=0), gaps.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    model = LogisticRegression(C=1.0).fit(
        (gaps - mean) / spread, two_q, sample_weight=weight_q * len(names_u)
    )
    weight = model.coef_[0] / spread
    intercept = float(model.intercept_[0] - weight @ mean)
    return SizeEstimate(tuple(map(float, weight)), intercept, singles, doubles, True, usual)


def _gaps(logit_qc: NDArray[np.floating]) -> NDArray[np.float64]:
    """First less second score and second less third, of the scores that there are, (q, 2)."""
    logit = np.asarray(logit_qc, dtype=np.float64)
    floor = np.where(np.isfinite(logit), logit, np.inf).min(axis=1, keepdims=True)
    finite = np.where(np.isfinite(logit), logit, np.where(np.isfinite(floor), floor, 0.0))
    top = -np.sort(-finite, axis=1)[:, :TOP]
    return np.asarray(top[:, :-1] - top[:, 1:])
