"""The label-shuffle control: a probe that learned permuted labels must score what a guess scores.

It watches the exam itself: held-out labels that reach a fit on any way but the training labels.
Vectors that hold the label by nature pass it, because a probe of random direction names such cells
right as often as wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cellwright.evaluation.folds import Design
from cellwright.evaluation.metrics import balanced_accuracy
from cellwright.evaluation.probe import Standardized
from cellwright.interfaces import Check

VectorsOf = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.floating]]
TOLERANCE = 0.02
LEVEL = 0.99


@dataclass(frozen=True)
class ShuffleControl:
    """Balanced accuracy of probes fitted on permuted training labels; it must hold chance.

    value: mean over ``shuffles``; low, high: 99 % interval of that mean (so that one honest
    control in a hundred fails, not one in twenty); least, most: the range of single shuffles,
    which is wide where the classes differ along the main direction of the vectors: a probe of
    random direction then gets most cells right or most wrong.
    """

    rep: str
    metric: str
    split: str
    value: float
    low: float
    high: float
    least: float
    most: float
    chance: float
    shuffles: int

    @property
    def holds(self) -> bool:
        """True if chance lies inside the interval, widened by 0.02."""
        return bool(self.low - TOLERANCE <= self.chance <= self.high + TOLERANCE)

    def check(self) -> Check:
        """A note if chance holds, a failure if permuted labels score something else."""
        found = (
            f"With permuted training labels {self.rep} scores a balanced accuracy of "
            f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}] in the {self.split} design, where "
            f"chance is {self.chance:.2f}"
        )
        if self.holds:
            return Check("label-shuffle", "note", f"{found}: as it should.")
        return Check(
            "label-shuffle",
            "failure",
            f"{found}: something other than the training labels reaches the prediction.",
            "Look at how folds and vectors are made: held-out labels may reach the fit.",
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields and ``holds`` as a plain mapping."""
        return {**self.__dict__, "holds": self.holds}


def shuffle_control(
    vectors_of: VectorsOf,
    label_codes_n: NDArray[np.int64],
    classes: tuple[str, ...],
    design: Design,
    *,
    rep: str,
    shuffles: int = 20,
    seed: int = 0,
    C: float = 1.0,
    class_weight: str | None = "balanced",
) -> ShuffleControl:
    """Permute the labels among the training cells, fit, and score the held-out cells.

    The permutations take turns on the folds of the design. Balanced accuracy is used because its
    chance, one over the number of classes, does not depend on how a class-balanced probe guesses.

    Parameters
    ----------
    vectors_of
        ``vectors_of(fit_rows, used_rows)``: vectors of all cells, checked in ``used_rows``.
    """
    rng = np.random.default_rng(seed)
    k = len(classes)
    values: list[float] = []
    chances: list[float] = []
    for number, fold in enumerate(design.folds):
        turns = len(range(number, shuffles, len(design.folds)))
        if not turns:
            continue
        x = vectors_of(fold.train, np.r_[fold.train, fold.test])
        training = Standardized(x[fold.train], name=rep)
        truth_m = label_codes_n[fold.test]
        for _ in range(turns):
            permuted = rng.permutation(label_codes_n[fold.train])
            # Noise needs no sharp optimum.
            probe = training.fit(permuted, classes, C=C, class_weight=class_weight, tol=1e-5)
            cell_m = truth_m * k + probe.predict(x[fold.test])
            counts_kk = np.bincount(cell_m, minlength=k * k).reshape(k, k)
            values.append(float(balanced_accuracy(counts_kk)))
            chances.append(_chance(truth_m, probe.intercept_k))
    n = len(values)
    mean = float(np.mean(values))
    t = float(stats.t.ppf(0.5 + LEVEL / 2, max(n - 1, 1)))
    half = t * float(np.std(values, ddof=1)) / np.sqrt(n) if n > 1 else 1.0
    return ShuffleControl(
        rep=rep,
        metric="balanced_accuracy",
        split=design.name,
        value=mean,
        low=max(mean - half, 0.0),
        high=min(mean + half, 1.0),
        least=min(values),
        most=max(values),
        chance=float(np.mean(chances)),
        shuffles=n,
    )


def _chance(truth_m: NDArray[np.int64], intercept_k: NDArray[np.float64]) -> float:
    """Mean recall of guessing among the classes learned, over the classes held out."""
    learned = np.flatnonzero(np.isfinite(intercept_k))
    tested = np.unique(truth_m)
    return float(np.isin(tested, learned).mean() / len(learned))
