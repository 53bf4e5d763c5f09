"""What must hold before a disease score means anything: random sets, no change, doses, the leak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cellwright.evaluation.class_scores import measure_classes
from cellwright.evaluation.comparison import units_of
from cellwright.evaluation.intervals import Measured
from cellwright.interfaces import Check, Predictions
from cellwright.perturbation.null_genes import empirical_p

METRIC = "roc_auc"
LEVEL = 0.99
TOLERANCE = 0.02
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class SetControl:
    """The score of the disease's genes beside that of m random sets, simulated in the same way.

    kind: ``matched`` (mean, detection, dispersion) or ``coexpressed`` (and varying together as
    much); p: (b + 1) / (m + 1), b sets scoring at least as much.
    """

    rep: str
    kind: str
    metric: str
    value: float
    random_m: NDArray[np.float64]

    @property
    def p(self) -> float:
        return empirical_p(self.value, self.random_m)

    def sentence(self) -> str:
        """What it says, in words."""
        low, middle, high = np.quantile(self.random_m, [0.05, 0.5, 0.95])
        if self.p <= SIGNIFICANT:
            said = "these genes are told apart better than such genes are in general"
        else:
            said = "any such genes would have done: the score says nothing about these"
        return (
            f"{self.rep}: AUC {self.value:.2f} with the disease's genes, {middle:.2f} "
            f"({low:.2f} to {high:.2f}) with {len(self.random_m)} random sets "
            f"{_LIKE[self.kind]}; p = {self.p:.3f}: {said}."
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields and ``p`` as a plain mapping."""
        return {**self.__dict__, "random_m": self.random_m.tolist(), "p": self.p}


_LIKE = {
    "matched": "alike in mean, detection and dispersion",
    "coexpressed": "that also vary together as much",
}


@dataclass(frozen=True)
class NullControl:
    """A score over cohorts in which nothing was changed (fold 1); its interval must hold chance.

    value, low, high: mean over ``cohorts`` drawings of the states, with its 99 % interval.
    """

    rep: str
    metric: str
    value: float
    low: float
    high: float
    chance: float
    cohorts: int

    @property
    def holds(self) -> bool:
        """True if chance lies inside the interval, widened by 0.02."""
        return bool(self.low - TOLERANCE <= self.chance <= self.high + TOLERANCE)

    def check(self) -> Check:
        """A note if chance holds, a failure if states without any change are told apart."""
        found = (
            f"With fold 1 (states in which nothing was changed) {self.rep} scores an AUC of "
            f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}] over {self.cohorts} cohorts, where "
            f"chance is {self.chance:.2f}"
        )
        if self.holds:
            return Check("fold-1", "note", f"{found}: as it should.")
        return Check(
            "fold-1",
            "failure",
            f"{found}: something other than the genes tells the states apart.",
            "Look at how cells were given their states and how folds are drawn.",
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields and ``holds`` as a plain mapping."""
        return {**self.__dict__, "holds": self.holds}


@dataclass(frozen=True)
class DosePoint:
    """One representation at one dose (0: nothing changed), with its 95 % interval."""

    rep: str
    dose: float
    metric: str
    value: float
    low: float
    high: float
    chance: float | None

    def to_dict(self) -> dict[str, Any]:
        """The fields as a plain mapping."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class LeakRow:
    """The same cells and classifier, split by base cell and split at random."""

    question: str
    rep: str
    metric: str
    clean: float
    clean_low: float
    clean_high: float
    leaky: float
    leaky_low: float
    leaky_high: float
    chance: float | None

    def to_dict(self) -> dict[str, Any]:
        """The fields as a plain mapping."""
        return dict(self.__dict__)


def measured(answers: Predictions, *, resamples: int = 1000, seed: int = 0) -> dict[str, Measured]:
    """Every metric of some answers, with intervals over what their design resamples."""
    return measure_classes(answers, units_of(answers, resamples=resamples, seed=seed).drawn)


def quick_value(answers: Predictions, metric: str = METRIC) -> float:
    """One metric without its interval, for the many cohorts of a control."""
    return measured(answers, resamples=2)[metric].value


def null_control(rep: str, values: Sequence[float], chance: float = 0.5) -> NullControl:
    """The mean of scores of cohorts without a change, with the t interval of that mean."""
    n, mean = len(values), float(np.mean(values))
    half = 1.0
    if n > 1:
        t = float(stats.t.ppf(0.5 + LEVEL / 2, n - 1))
        half = t * float(np.std(values, ddof=1)) / np.sqrt(n)
    low, high = max(mean - half, 0.0), min(mean + half, 1.0)
    return NullControl(rep, METRIC, mean, low, high, chance, n)


def leak_rows(
    clean: Sequence[Predictions], leaky: Sequence[Predictions], *, seed: int = 0
) -> list[LeakRow]:
    """Accuracy, macro F1 and AUC of the same questions under both splits."""
    rows = []
    for a in clean:
        b = next((x for x in leaky if (x.task, x.rep) == (a.task, a.rep)), None)
        if b is None:
            continue
        own, other = measured(a, seed=seed), measured(b, seed=seed)
        for metric in ("accuracy", "macro_f1", "roc_auc"):
            x, y = own[metric], other[metric]
            rows.append(
                LeakRow(
                    a.task.partition(":")[2],
                    a.rep,
                    metric,
                    x.value,
                    x.interval.low,
                    x.interval.high,
                    y.value,
                    y.interval.low,
                    y.interval.high,
                    x.chance,
                )
            )
    return rows
