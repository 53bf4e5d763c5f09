"""How many genes were perturbed, one or two: the evidence of sets under a linear model of effects.

A pair fits a query at least as well as the better of its genes, whatever was perturbed. So the
likelihoods of all pairs and of all single genes are averaged, not their best ones compared, and what
is left of that gain is measured where the truth is known: on conditions left out of the effects that
judge them, singles as well as doubles.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy import stats
from scipy.linalg import solve_triangular
from scipy.special import expit, logsumexp
from sklearn.linear_model import LogisticRegression

from cellwright.perturbation.queries import Queries, draw_queries
from cellwright.perturbation.reverse import Screen

LEAST = 3
"""Perturbations of either size below which the number is not told."""
RIDGE = 0.3
MOST_DIRECTIONS = 64
# Cells that noise is measured on, about.
MOST_CELLS = 4000
OUT = 10
"""Parts of the training conditions, each judged by effects of the others."""
FOLDS = 5
"""Parts in which slope and intercept are judged."""
# Of the variance of a gene, in mean variances: one that is all but silent must not outvote the rest.
_FLOOR = 0.1
# Share of the noise that is kept apart between directions.
_SHRINKAGE = 0.05
# Numbers of (query, pair) held in memory at once.
_CHUNK = 4_000_000


@dataclass(frozen=True)
class SetEvidence:
    """Effects of m genes in d directions in which the noise of a cell has variance 1.

    project_dg: to directions from shifts; effect_md, common_d: effects of genes, and the shift that
    all conditions have; doubt_mm: covariance of the estimates, in variances of a cell; beyond:
    variance of conditions about sums of effects that is no noise, such as of pairs that do not add up.
    """

    project_dg: NDArray[np.float64]
    effect_md: NDArray[np.float64]
    common_d: NDArray[np.float64]
    doubt_mm: NDArray[np.float64]
    beyond: float = 0.0

    def log_ratio(
        self, shift_qg: NDArray[np.floating], cells_q: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Log of the mean likelihood of all pairs over that of all single genes, (q,).

        Parameters
        ----------
        cells_q
            Cells that each shift is the mean of.
        """
        code_qd = np.asarray(shift_qg, dtype=np.float64) @ self.project_dg.T
        return _log_ratio(self, code_qd, cells_q)

    def to_arrays(self) -> dict[str, NDArray[np.float64]]:
        """Plain arrays for a file."""
        return {name: np.asarray(value) for name, value in self.__dict__.items()}


@dataclass(frozen=True)
class SizeEstimate:
    """P(two genes) = sigmoid(slope × asinh(log ratio) + intercept), where both sizes are as likely.

    singles, doubles: perturbations that it was learned on, each left out of the effects; right_one,
    right_two: share of them whose number is right when they are left out of slope and intercept too;
    low, high: 95 % interval of the mean of the two, 0.5 by guessing; k: cells in a query; told:
    False where that interval holds one half or perturbations are too few. Then ``share``, that of
    doubles among the training perturbations, is said of all.
    """

    k: int
    share: float
    slope: float = 0.0
    intercept: float = 0.0
    singles: int = 0
    doubles: int = 0
    right_one: float = math.nan
    right_two: float = math.nan
    low: float = 0.0
    high: float = 1.0
    told: bool = False
    evidence: SetEvidence | None = None

    @property
    def usual(self) -> int:
        """The commoner number among training perturbations."""
        return 2 if self.share > 0.5 else 1

    def two(
        self, shift_qg: NDArray[np.floating], cells_q: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Probability that two genes are perturbed and not one, (q,)."""
        if not self.told or self.evidence is None:
            return np.full(len(shift_qg), self.share)
        x_q = np.arcsinh(self.evidence.log_ratio(shift_qg, cells_q))
        return np.asarray(expit(self.slope * x_q + self.intercept))

    def number(
        self, shift_qg: NDArray[np.floating], cells_q: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """1 or 2 for each query, (q,)."""
        return self.of(self.two(shift_qg, cells_q))

    def of(self, two_q: NDArray[np.float64]) -> NDArray[np.int64]:
        """1 or 2 for each probability of two."""
        if not self.told:
            return np.full(len(two_q), self.usual, dtype=np.int64)
        return np.where(two_q >= 0.5, 2, 1).astype(np.int64)

    @property
    def balanced(self) -> float:
        """Mean of the shares right over singles and over doubles."""
        return (self.right_one + self.right_two) / 2

    @property
    def sentence(self) -> str:
        """What the number rests on."""
        fallback = (
            f"{self.usual} is taken for all ({100 * self.share:.0f} % of the training perturbations "
            "are doubles)."
        )
        if min(self.singles, self.doubles) < LEAST:
            return (
                f"The number of perturbed genes cannot be estimated: {self.singles} single and "
                f"{self.doubles} double perturbations can be left out of the effects that judge "
                f"them, {LEAST} of either are needed; {fallback}"
            )
        found = (
            f"balanced accuracy {self.balanced:.2f} [{self.low:.2f}, {self.high:.2f}] over "
            f"{self.singles} single ({self.right_one:.2f}) and {self.doubles} double "
            f"({self.right_two:.2f}) perturbations left out in turn, {self.k} cells a query"
        )
        if self.told:
            return f"The number of perturbed genes is estimated with {found}; one number for all: 0.50."
        return f"The number of perturbed genes cannot be told here: {found}; {fallback}"

    def to_dict(self) -> dict[str, Any]:
        """As JSON types, without the arrays."""
        plain = {name: value for name, value in self.__dict__.items() if name != "evidence"}
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in plain.items()
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Self:
        """What ``to_dict`` and the evidence's ``to_arrays`` gave."""
        numbers = {n: stored[n] for n in cls.__dataclass_fields__ if n != "evidence"}
        numbers |= {n: math.nan for n in ("right_one", "right_two") if numbers[n] is None}
        evidence = None
        if arrays:
            named = {n: arrays[n] for n in SetEvidence.__dataclass_fields__ if n != "beyond"}
            evidence = SetEvidence(**named, beyond=float(arrays["beyond"]))
        return cls(**numbers, evidence=evidence)


def learn_sizes(
    expression_ng: Any,
    screen: Screen,
    train: Sequence[str],
    val: Sequence[str],
    *,
    k: int,
    controls: dict[str, NDArray[np.float64]],
    most: int = 6,
    seed: int = 0,
) -> SizeEstimate:
    """Learn to tell pairs from single genes on conditions that did not judge themselves.

    Effects come from the training conditions. Each tenth of these is judged by effects of the
    others; validation conditions by all effects. A condition with a gene that none of these perturbs
    takes no part.

    Parameters
    ----------
    expression_ng
        Normalised log expression of the genes that may be looked at.
    controls
        Means of controls, of the same genes.
    most
        Groups of a condition.
    """
    whole = draw_queries(expression_ng, screen, train, k=None, controls=controls)
    size_w = screen.targets_pc[whole.condition_q].sum(axis=1)
    estimate = SizeEstimate(k=k, share=float((size_w == 2).mean()))
    if screen.targets_pc[whole.condition_q].any(axis=0).sum() < 2:
        return estimate
    asked = draw_queries(
        expression_ng, screen, (*train, *val), k=k, most=most, seed=seed + 1, controls=controls
    )
    targets_qc = screen.targets_pc[asked.condition_q]
    cells_q = np.array([len(rows) for rows in asked.rows_q])
    # Validation conditions, of the fold -1, are judged by all training conditions.
    fold_w = _folds(size_w == 2, OUT, seed)
    fold_p = np.full(len(screen.conditions), -1)
    fold_p[whole.condition_q] = fold_w
    ratio_q = np.full(len(asked), np.nan)
    evidence = None
    for fold in (*range(OUT), -1):
        keep_w = fold_w != fold
        if not keep_w.any():
            continue
        known_c = screen.targets_pc[whole.condition_q[keep_w]].any(axis=0)
        mine_q = (fold_p[asked.condition_q] == fold) & ~(targets_qc & ~known_c).any(axis=1)
        mine_q &= targets_qc.sum(axis=1) <= 2
        # The directions too are learned without what they are to judge: they fit its noise.
        evidence = _learned(expression_ng, screen, whole, keep_w)
        ratio_q[mine_q] = evidence.log_ratio(asked.shift_qg[mine_q], cells_q[mine_q])
    known_q = np.isfinite(ratio_q)
    return fit_sizes(
        replace(estimate, evidence=evidence),
        ratio_q[known_q],
        targets_qc.sum(axis=1)[known_q],
        asked.condition_q[known_q],
        seed=seed,
    )


def fit_sizes(
    estimate: SizeEstimate,
    ratio_q: NDArray[np.float64],
    size_q: NDArray[np.int64],
    unit_q: NDArray[Any],
    *,
    seed: int = 0,
) -> SizeEstimate:
    """Slope and intercept from log ratios of known sizes, and how well they do on units left out.

    Both sizes weigh the same, and every perturbation of a size as much as the others.

    Parameters
    ----------
    size_q
        Genes perturbed, 1 or 2.
    unit_q
        The perturbation of each query.
    """
    two_q = np.asarray(size_q) == 2
    names_u, first_u, code_q = np.unique(unit_q, return_index=True, return_inverse=True)
    two_u = two_q[first_u]
    doubles = int(two_u.sum())
    singles = len(names_u) - doubles
    estimate = replace(estimate, singles=singles, doubles=doubles)
    if min(singles, doubles) < LEAST:
        return estimate
    x_q = np.arcsinh(ratio_q)
    weight_q = 1 / (np.bincount(code_q)[code_q] * np.where(two_q, doubles, singles))
    fold_u = _folds(two_u, FOLDS, seed)
    right_q = np.zeros(len(x_q))
    for fold in range(FOLDS):
        out_q = fold_u[code_q] == fold
        slope, intercept = _logistic(x_q[~out_q], two_q[~out_q], weight_q[~out_q])
        right_q[out_q] = (slope * x_q[out_q] + intercept >= 0) == two_q[out_q]
    right_u = np.bincount(code_q, right_q) / np.bincount(code_q)
    one, other = right_u[~two_u], right_u[two_u]
    slope, intercept = _logistic(x_q, two_q, weight_q)
    half = _half_width(one, other)
    balanced = float(one.mean() + other.mean()) / 2
    return replace(
        estimate,
        slope=slope,
        intercept=intercept,
        right_one=float(one.mean()),
        right_two=float(other.mean()),
        low=max(0.0, balanced - half),
        high=min(1.0, balanced + half),
        told=bool(slope > 0 and balanced - half > 0.5),
    )


def _half_width(one_u: NDArray[np.float64], two_u: NDArray[np.float64]) -> float:
    """Half of the 95 % interval of the mean of two shares; as of one query a perturbation."""
    variance = 0.0
    for right_u in (one_u, two_u):
        # One more of either: a share of 0 or 1 is not known for sure (Agresti & Coull 1998).
        share = (right_u.sum() + 2) / (len(right_u) + 4)
        variance += share * (1 - share) / len(right_u) / 4
    return float(stats.norm.ppf(0.975)) * math.sqrt(variance)


def _logistic(
    x_q: NDArray[np.float64], two_q: NDArray[np.bool_], weight_q: NDArray[np.float64]
) -> tuple[float, float]:
    mean, spread = float(x_q.mean()), float(x_q.std())
    spread = spread if spread > 1e-9 else 1.0
    model = LogisticRegression(C=1.0)
    model.fit(((x_q - mean) / spread)[:, None], two_q, sample_weight=weight_q * len(x_q))
    slope = float(model.coef_[0, 0]) / spread
    return slope, float(model.intercept_[0]) - slope * mean


def _folds(two_u: NDArray[np.bool_], folds: int, seed: int) -> NDArray[np.int64]:
    """A fold of each perturbation, singles and doubles spread evenly."""
    fold_u = np.empty(len(two_u), dtype=np.int64)
    rng = np.random.default_rng(seed)
    for members in (np.flatnonzero(two_u), np.flatnonzero(~two_u)):
        fold_u[rng.permutation(members)] = np.arange(len(members)) % folds
    return fold_u


def _learned(
    expression_ng: Any, screen: Screen, whole: Queries, keep_w: NDArray[np.bool_]
) -> SetEvidence:
    """Effects of genes from some conditions, in the directions of these effects, noise whitened."""
    targets_wc = screen.targets_pc[whole.condition_q[keep_w]]
    shift_wg = whole.shift_qg[keep_w].astype(np.float64)
    cells_w = np.array([len(rows) for rows in whole.rows_q])[keep_w]
    # Of the cells of each some are enough for noise.
    each = max(2, MOST_CELLS // len(cells_w))
    parts = []
    for w in np.flatnonzero(keep_w).tolist():
        rows = whole.rows_q[w]
        rows = rows[np.linspace(0, len(rows) - 1, min(each, len(rows))).astype(np.int64)]
        parts.append(rows)
    of_n = np.repeat(np.arange(len(parts)), [len(rows) for rows in parts])
    x_ng = sp.csr_matrix(expression_ng[np.concatenate(parts)]).astype(np.float64)
    count_w = np.bincount(of_n)
    free = max(len(of_n) - len(parts), 1)
    averaging = sp.csr_matrix((1 / count_w[of_n], (of_n, np.arange(len(of_n)))))
    mean_wg = (averaging @ x_ng).toarray()
    square_g = np.asarray(x_ng.multiply(x_ng).sum(axis=0)).ravel() - count_w @ mean_wg**2
    variance_g = np.maximum(square_g, 0) / free
    spread_g = np.sqrt(variance_g + _FLOOR * max(float(variance_g.mean()), 1e-12))
    effect_mg = _linear(targets_wc, shift_wg)[0]
    _, _, direction_dg = np.linalg.svd(effect_mg / spread_g, full_matrices=False)
    project_dg = direction_dg[:MOST_DIRECTIONS] / spread_g
    z_nd = np.asarray(x_ng @ project_dg.T) - (mean_wg @ project_dg.T)[of_n]
    noise_dd = z_nd.T @ z_nd / free
    own_d = np.diagonal(noise_dd)
    noise_dd = (1 - _SHRINKAGE) * noise_dd + np.diag(
        _SHRINKAGE * own_d + 1e-9 * max(float(own_d.mean()), 1e-12)
    )
    project_dg = solve_triangular(np.linalg.cholesky(noise_dd), project_dg, lower=True)
    code_wd = shift_wg @ project_dg.T
    effect_md, common_d, solve_mw = _linear(targets_wc, code_wd)
    # A condition's mean is as uncertain as one cell over its number of cells.
    doubt_mm = (solve_mw / cells_w) @ solve_mw.T
    x = targets_wc[:, targets_wc.any(axis=0)].astype(np.float64)
    left_wd = code_wd - common_d - x @ effect_md
    # What is left of a condition is smaller than its noise by the part that its own fit took.
    own_w = np.minimum(1 / len(x) + ((x - x.mean(axis=0)).T * solve_mw).sum(axis=0), 0.95)
    beyond = float(((left_wd**2).mean(axis=1) / (1 - own_w) - 1 / cells_w).mean())
    return SetEvidence(project_dg, effect_md, common_d, doubt_mm, max(beyond, 0.0))


def _linear(
    targets_wc: NDArray[np.bool_], shift_wx: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Ridge regression of shifts on the genes perturbed: effects, common shift, the map to effects."""
    x = targets_wc[:, targets_wc.any(axis=0)].astype(np.float64)
    centred = x - x.mean(axis=0)
    solve_mw = np.linalg.solve(centred.T @ centred + RIDGE * np.eye(x.shape[1]), centred.T)
    effect_mx = solve_mw @ (shift_wx - shift_wx.mean(axis=0))
    return effect_mx, shift_wx.mean(axis=0) - x.mean(axis=0) @ effect_mx, solve_mw


def _log_ratio(
    evidence: SetEvidence, code_qd: NDArray[np.float64], cells_q: NDArray[np.int64]
) -> NDArray[np.float64]:
    effect, doubt = evidence.effect_md, evidence.doubt_mm
    m, d = effect.shape
    if m < 2:
        return np.zeros(len(code_qd))
    gram = effect @ effect.T
    a, b = np.triu_indices(m, 1)
    own_m, own_p = np.diagonal(doubt), doubt[a, a] + doubt[b, b] + 2 * doubt[a, b]
    length_m, length_p = np.diagonal(gram), gram[a, a] + gram[b, b] + 2 * gram[a, b]
    out = np.empty(len(code_qd))
    step = max(1, _CHUNK // len(a))
    for start in range(0, len(code_qd), step):
        at = slice(start, start + step)
        away = code_qd[at] - evidence.common_d
        square = (away**2).sum(axis=1, keepdims=True)
        along = away @ effect.T
        noise = 1 / np.maximum(cells_q[at], 1)[:, None] + evidence.beyond
        found = []
        for distance, variance in (
            (square - 2 * (along[:, a] + along[:, b]) + length_p, noise + own_p),
            (square - 2 * along + length_m, noise + own_m),
        ):
            likelihood = -0.5 * distance / variance - 0.5 * d * np.log(variance)
            found.append(logsumexp(likelihood, axis=1) - math.log(likelihood.shape[1]))
        out[at] = found[0] - found[1]
    return out
