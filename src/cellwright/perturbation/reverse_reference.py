"""What cells of a screen look like, so that cells from elsewhere can be told to be unlike them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.perturbation.queries import Queries, draw_queries
from cellwright.perturbation.reverse import Screen

SIZES = (1, 5, 20, 100)
DRAWS = 200
RARE = 0.05
LEAST_COVERAGE = 0.5
NOISE = 0.1
"""Correlation of the shifts of two halves below which a shift is called noise."""


@dataclass(frozen=True)
class ScreenReference:
    """Controls and shifts of the training cells of a screen.

    control_g, sd_g: mean and spread of control cells; conditions, shift_pg: training conditions and
    their shifts; sizes_s: cells in a group; baseline_s: correlation of so many control cells' mean
    with that of the others that all but 5 % of groups reach; nearest_s: cosine to the nearest training
    shift that all but 5 % of groups reach whose cells were not trained on.
    """

    control_g: NDArray[np.float64]
    sd_g: NDArray[np.float64]
    conditions: tuple[str, ...]
    shift_pg: NDArray[np.float32]
    sizes_s: NDArray[np.int64]
    baseline_s: NDArray[np.float64]
    nearest_s: NDArray[np.float64]

    def nearest(self, shift_qg: NDArray[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:  # fmt: skip
        """The training condition whose shift points most in the direction of each query's, and the cosine."""
        cosine_qp = _unit(shift_qg) @ _unit(self.shift_pg).T
        best = cosine_qp.argmax(axis=1)
        return best.astype(np.int64), cosine_qp[np.arange(len(best)), best]

    def expected(self, what: str, cells: int) -> float:
        """``baseline`` or ``nearest`` that groups of so many cells of the screen reach; between
        the sizes that were measured it is read off the smaller one, which asks for less."""
        values = self.baseline_s if what == "baseline" else self.nearest_s
        return float(values[max(int(np.searchsorted(self.sizes_s, cells, "right")) - 1, 0)])

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Plain arrays for a file."""
        names = np.array(self.conditions, dtype=np.str_)
        return {**{k: v for k, v in self.__dict__.items() if k != "conditions"}, "conditions": names}  # fmt: skip

    @classmethod
    def from_arrays(cls, stored: Mapping[str, NDArray[Any]]) -> Self:
        """What ``to_arrays`` gave."""
        fields = {k: stored[k] for k in cls.__dataclass_fields__ if k != "conditions"}
        return cls(**fields, conditions=tuple(stored["conditions"].tolist()))


@dataclass(frozen=True)
class Unlikeness:
    """How far cells from elsewhere are from the cells of a screen.

    coverage: share of the screen's genes that are measured; baseline: correlation of the controls'
    means; nearest, cosine: the training condition with the most similar shift; halves: correlation
    of the shifts of two halves of the cells, None below four cells; reasons: sentences, empty where
    nothing is unusual; weak: a sentence where the shift is mostly noise, else "".
    """

    coverage: float
    baseline: float
    nearest: str
    cosine: float
    halves: float | None
    reasons: tuple[str, ...]
    weak: str = ""

    @property
    def flagged(self) -> bool:
        """Whether the ranking is asked of cells unlike those that were learned from."""
        return bool(self.reasons)


def screen_reference(
    expression_ng: Any,
    screen: Screen,
    whole: Queries,
    sd_g: NDArray[np.float64],
    held_out: Sequence[tuple[Screen, Sequence[str]]],
    *,
    controls: dict[str, NDArray[np.float64]],
    seed: int = 0,
) -> ScreenReference:
    """Measure controls and shifts of a screen.

    Parameters
    ----------
    whole
        One query for each training condition.
    held_out
        Screens with the cells that were not trained on, and their conditions.
    """
    control_g = controls[""]
    rows = screen.control_rows
    rng = np.random.default_rng(seed)
    sizes = [s for s in SIZES if s <= max(len(rows) // 2, 1)]
    names = tuple(screen.conditions[code] for code in whole.condition_q.tolist())
    bare = ScreenReference(
        control_g, sd_g, names, whole.shift_qg, np.array(sizes), np.zeros(len(sizes)),
        np.zeros(len(sizes)),
    )  # fmt: skip
    baseline, nearest = [], []
    for size in sizes:
        drawn = np.concatenate([rng.choice(rows, size, replace=False) for _ in range(DRAWS)])
        mean_qg = _means(expression_ng, drawn.reshape(DRAWS, size))
        # Beside the controls that are not among them: a group is like a mean that it is part of.
        rest_qg = (len(rows) * control_g - size * mean_qg) / (len(rows) - size)
        found = [float(correlation(m[None], r)[0]) for m, r in zip(mean_qg, rest_qg, strict=True)]
        baseline.append(float(np.quantile(found, RARE)))
        cosines = [
            bare.nearest(
                draw_queries(
                    expression_ng, other, conditions, k=size, most=10, seed=seed, controls=controls
                ).shift_qg
            )[1]
            for other, conditions in held_out
            if conditions
        ]
        nearest.append(float(np.quantile(np.concatenate(cosines), RARE)) if cosines else -1.0)
    return ScreenReference(
        control_g, sd_g, names, whole.shift_qg, np.array(sizes, dtype=np.int64),
        np.array(baseline), np.array(nearest),
    )  # fmt: skip


def unlikeness(
    reference: ScreenReference,
    case_ng: Any,
    control_ng: Any,
    measured_g: NDArray[np.bool_],
    *,
    seed: int = 0,
) -> Unlikeness:
    """Compare cells from elsewhere with those of a screen, on the genes that both have.

    Parameters
    ----------
    case_ng, control_ng
        Normalised log expression in the order of the screen's genes; columns that are not
        measured are ignored.

    Raises
    ------
    DataError
        If fewer than ten genes are shared.
    """
    coverage = float(measured_g.mean())
    if measured_g.sum() < 10:
        raise DataError(
            f"{int(measured_g.sum())} of the {len(measured_g):,} genes that the run knows are in "
            "these cells; at least 10 are needed (are gene names of the same kind and organism?)"
        )
    case_n, control_n = case_ng.shape[0], control_ng.shape[0]
    case_g, base_g = _mean(case_ng), _mean(control_ng)
    shift_g = np.where(measured_g, case_g - base_g, 0.0)
    like = float(correlation(base_g[None, measured_g], reference.control_g[measured_g])[0])
    (near,), (cosine,) = reference.nearest(shift_g[None])
    halves = _halves(case_ng, control_ng, measured_g, seed) if min(case_n, control_n) >= 4 else None
    reasons = []
    if coverage < LEAST_COVERAGE:
        reasons.append(
            f"Only {100 * coverage:.0f} % of the genes that the run knows are measured; the others "
            "count as unchanged."
        )
    usual = reference.expected("baseline", control_n)
    if like < usual:
        reasons.append(
            f"The control cells are unlike the screen's: correlation of mean expression {like:.2f}, "
            f"where {usual:.2f} is reached by all but 5 % of groups of the screen's own controls."
        )
    usual = reference.expected("nearest", case_n)
    if cosine < usual:
        reasons.append(
            "The shift is unlike any that was learned from: cosine "
            f"{cosine:.2f} to the nearest ({reference.conditions[near]}), where {usual:.2f} is "
            "reached by all but 5 % of held-out groups of the screen."
        )
    weak = ""
    if halves is not None and halves < NOISE:
        weak = f"The shift is mostly noise: those of two halves of the cells correlate at {halves:.2f}."
    return Unlikeness(
        coverage, like, reference.conditions[near], float(cosine), halves, tuple(reasons), weak
    )


def correlation(a_qg: NDArray[np.floating], b_g: NDArray[np.floating]) -> NDArray[np.float64]:
    """Pearson correlation of each row with one vector, (q,); 0 where either does not vary."""
    a = np.asarray(a_qg, dtype=np.float64)
    return np.asarray(_unit(a - a.mean(axis=1, keepdims=True)) @ _unit((b_g - b_g.mean())[None])[0])


def _halves(case_ng: Any, control_ng: Any, measured_g: NDArray[np.bool_], seed: int) -> float:
    """Mean correlation of the shifts of random halves, over ten divisions."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(10):
        sides = []
        case, control = rng.permutation(case_ng.shape[0]), rng.permutation(control_ng.shape[0])
        for half in (0, 1):
            shift = _mean(case_ng[case[half::2]]) - _mean(control_ng[control[half::2]])
            sides.append(shift[measured_g])
        found.append(float(correlation(sides[0][None], sides[1])[0]))
    return float(np.mean(found))


def _means(x_ng: Any, rows_qk: NDArray[np.int64]) -> NDArray[np.float64]:
    q, k = rows_qk.shape
    averaging = sp.csr_matrix(
        (np.full(q * k, 1.0 / k), rows_qk.ravel(), np.arange(0, q * k + 1, k)),
        shape=(q, x_ng.shape[0]),
    )
    mean = averaging @ x_ng
    return mean.toarray() if sp.issparse(mean) else np.asarray(mean)


def _mean(x_ng: Any) -> NDArray[np.float64]:
    return np.asarray(x_ng.mean(axis=0), dtype=np.float64).ravel()


def _unit(x_qg: NDArray[np.floating]) -> NDArray[np.float64]:
    x = np.asarray(x_qg, dtype=np.float64)
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, length, out=np.zeros_like(x), where=length > 0)
