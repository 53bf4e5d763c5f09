"""Classical classifiers tuned by inner folds of the training rows, and by nothing else."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from cellwright.config import nearest
from cellwright.errors import DataError, SettingsError
from cellwright.evaluation.classifier_kinds import KINDS, Kind, Setting

CLASSIFIERS: tuple[str, ...] = tuple(KINDS)
MAX_ROWS = 10_000
_FAINT = 1e-3

Scores = Callable[[NDArray[np.floating]], NDArray[np.float64]]


@dataclass(frozen=True)
class Tuned:
    """A fitted classifier: which settings the inner folds chose, and what was cut short.

    ``note`` says in words what a reader must know (rows left out, nothing to tune on), or is empty.
    """

    name: str
    classes: tuple[str, ...]
    chosen: dict[str, Any]
    note: str
    predict: Scores

    def probability(self, x_md: NDArray[np.floating]) -> NDArray[np.float64]:
        """Class probabilities, (m, k), rows sum to 1; 0 for a class without training rows."""
        return self.predict(x_md)


def fit_tuned(
    name: str,
    x_nd: NDArray[np.floating],
    codes_n: NDArray[np.int64],
    classes: Sequence[str],
    *,
    groups_n: NDArray[np.str_] | None = None,
    seed: int = 0,
    folds: int = 3,
    max_rows: int = MAX_ROWS,
    threads: int = 1,
) -> Tuned:
    """Fit one of :data:`CLASSIFIERS` on training rows, tuned by cross-validation inside them.

    Vectors are standardized by these rows. The setting of the highest balanced accuracy over all
    held-out rows of the inner folds is taken, the simpler one of two that are equal. Outputs of
    support vector machines become probabilities by the slope and the offsets that fit the inner
    folds' held-out outputs best (Platt 1999).

    Parameters
    ----------
    x_nd, codes_n
        Training vectors, and the class of each as an index into ``classes``.
    groups_n
        What is held out whole in the inner folds too (donor, library, gene family).
    folds
        Inner folds, at most: as many as the smallest class has rows (or there are groups).
    max_rows
        Most training rows of a support vector machine, drawn class by class.
    threads
        Of forests and boosted trees.

    Raises
    ------
    SettingsError
        For a name that is no classifier.
    DataError
        If the labels are of one class, or a value is not finite.
    MissingExtra
        If XGBoost is asked for and not installed.
    """
    if name not in KINDS:
        close = nearest(name, KINDS)
        raise SettingsError(
            f"no classifier {name!r}: "
            + (f"did you mean {close!r}?" if close else f"known: {', '.join(KINDS)}")
        )
    present, own_n = np.unique(codes_n, return_inverse=True)
    if len(present) < 2:
        only = repr(classes[present[0]]) if len(present) else "none"
        raise DataError(f"{name} needs two classes to learn from and was given only {only}")
    x = np.asarray(x_nd, dtype=np.float64)
    if not np.isfinite(x).all():
        bad = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
        raise DataError(f"row {bad} of the vectors for {name} holds a value that is not finite")
    kind, notes = KINDS[name], []
    if kind.capped and len(x) > max_rows:
        kept = _capped(own_n, max_rows, seed)
        notes.append(f"fitted on {len(kept):,} of {len(x):,} rows")
        x, own_n = x[kept], own_n[kept]
        groups_n = None if groups_n is None else groups_n[kept]
    space = _Space.of(x, turned=kind.in_span)
    inner = _inner_folds(own_n, groups_n, folds, seed)
    fitter = _Fitter(kind, space, space(x), own_n, len(present), seed, threads)
    chosen, held_nk = fitter.tune(inner)
    if not inner:
        notes.append("too few rows to tune on: middle setting taken")
    scores, converged = fitter.fit(chosen)
    if not converged:
        notes.append("stopped before its optimum")
    if kind.decides:
        scores = _calibrated(scores, held_nk, own_n)

    def predict(x_md: NDArray[np.floating]) -> NDArray[np.float64]:
        out = np.zeros((len(x_md), len(classes)))
        if len(x_md):
            out[:, present] = scores(space(np.asarray(x_md, dtype=np.float64)))
        return out

    return Tuned(name, tuple(classes), dict(chosen), "; ".join(notes), predict)


@dataclass(frozen=True)
class _Space:
    """Standardized by the training rows and, where asked, turned into their span.

    Turning leaves distances between training rows and products with them as they are, and a
    linear or kernel machine has no part outside of their span.
    """

    mean_d: NDArray[np.float64]
    scale_d: NDArray[np.float64]
    axes_dr: NDArray[np.float64] | None
    dims: int

    @classmethod
    def of(cls, x_nd: NDArray[np.float64], *, turned: bool) -> _Space:
        mean_d, scale_d = x_nd.mean(axis=0), x_nd.std(axis=0)
        constant_d = scale_d <= 1e-12 * np.abs(mean_d)
        scale_d = np.where(constant_d | (scale_d == 0), np.inf, scale_d)
        axes_dr = None
        if turned and len(x_nd) < x_nd.shape[1]:
            z = (x_nd - mean_d) / scale_d
            _, length_r, axes_rd = np.linalg.svd(z, full_matrices=False)
            axes_dr = axes_rd[length_r > 1e-10 * max(length_r[0], 1e-300)].T
        return cls(mean_d, scale_d, axes_dr, max(1, int(np.isfinite(scale_d).sum())))

    def __call__(self, x_md: NDArray[np.float64]) -> NDArray[np.float64]:
        z: NDArray[np.float64] = (x_md - self.mean_d) / self.scale_d
        return z if self.axes_dr is None else z @ self.axes_dr


@dataclass(frozen=True)
class _Fitter:
    kind: Kind
    space: _Space
    z_nr: NDArray[np.float64]
    codes_n: NDArray[np.int64]
    k: int
    seed: int
    threads: int

    def fit(
        self, setting: Setting, rows: NDArray[np.int64] | slice = slice(None)
    ) -> tuple[Scores, bool]:
        """Scores of all k classes (a class that these rows lack gets the lowest), and: converged."""
        model = self.kind.build(setting, self.space.dims, self.seed, self.threads)
        present, own = np.unique(self.codes_n[rows], return_inverse=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            model.fit(self.z_nr[rows], own)
        converged = not any(issubclass(w.category, ConvergenceWarning) for w in caught)

        def scores(z_mr: NDArray[np.floating]) -> NDArray[np.float64]:
            if self.kind.decides:
                given = np.asarray(model.decision_function(z_mr))
                given = np.stack([-given, given], axis=1) if given.ndim == 1 else given
            else:
                given = np.asarray(model.predict_proba(z_mr))
            lowest = given.min(axis=1, keepdims=True) - 1 if self.kind.decides else 0.0
            out = np.broadcast_to(lowest, (len(z_mr), self.k)).astype(np.float64)
            out[:, present] = given
            return out

        return scores, converged

    def tune(
        self, inner: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]
    ) -> tuple[Setting, NDArray[np.float64]]:
        """The best setting, and the scores it gave the rows held out (NaN without inner folds)."""
        best, best_value = self.kind.grid[len(self.kind.grid) // 2], -np.inf
        best_nk = np.full((len(self.codes_n), self.k), np.nan)
        for setting in self.kind.grid if inner else ():
            held_nk = np.full_like(best_nk, np.nan)
            for train, test in inner:
                scores, _ = self.fit(setting, train)
                held_nk[test] = scores(self.z_nr[test])
            right_n = held_nk.argmax(axis=1) == self.codes_n
            value = float(np.mean([right_n[self.codes_n == c].mean() for c in range(self.k)]))
            if value > best_value + 1e-12:
                best, best_value, best_nk = setting, value, held_nk
        return best, best_nk


def _inner_folds(
    codes_n: NDArray[np.int64], groups_n: NDArray[np.str_] | None, folds: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Folds that each leave two classes to learn from; by groups where there are enough."""
    smallest = int(np.bincount(codes_n).min())
    blank = np.zeros(len(codes_n))
    if groups_n is not None and len(np.unique(groups_n)) >= 2:
        splitter = StratifiedGroupKFold(
            min(folds, len(np.unique(groups_n))), shuffle=True, random_state=seed
        )
        with warnings.catch_warnings():
            # A class may have fewer rows than folds, which is looked at here.
            warnings.simplefilter("ignore", UserWarning)
            found = list(splitter.split(blank, codes_n, groups_n))
        if all(len(test) and len(np.unique(codes_n[train])) > 1 for train, test in found):
            return found
    if smallest < 2:
        return []
    plain = StratifiedKFold(min(folds, smallest), shuffle=True, random_state=seed)
    return list(plain.split(blank, codes_n))


def _capped(codes_n: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Rows drawn class by class, at least one of each, in their order."""
    rng = np.random.default_rng(seed)
    share = most / len(codes_n)
    drawn = []
    for code in np.unique(codes_n):
        rows = rng.permutation(np.flatnonzero(codes_n == code))
        drawn.append(rows[: max(1, int(np.floor(len(rows) * share)))])
    return np.sort(np.concatenate(drawn))


def _calibrated(scores: Scores, held_nk: NDArray[np.float64], codes_n: NDArray[np.int64]) -> Scores:
    """Softmax of slope × scores + a constant per class, as the rows held out have it.

    The slope stays positive: where held-out rows tell nothing, a free one would turn the order of
    the scores round.
    """
    slope, offset_k = _FAINT, np.zeros(held_nk.shape[1])
    spread = 1.0
    if np.isfinite(held_nk).all():
        spread = float(held_nk.std()) or 1.0
        slope, offset_k = _scaling(held_nk / spread, codes_n)
    return lambda z: np.asarray(softmax(slope / spread * scores(z) + offset_k, axis=1))


def _scaling(
    scores_nk: NDArray[np.float64], codes_n: NDArray[np.int64]
) -> tuple[float, NDArray[np.float64]]:
    k = scores_nk.shape[1]
    weight_n = 1.0 / (k * np.bincount(codes_n, minlength=k)[codes_n])
    truth_nk = np.eye(k)[codes_n]

    def loss(free: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logit_nk = free[0] * scores_nk + free[1:]
        error_nk = (softmax(logit_nk, axis=1) - truth_nk) * weight_n[:, None]
        nll = float((weight_n * (logsumexp(logit_nk, axis=1) - logit_nk[truth_nk > 0])).sum())
        # A faint pull to zero keeps rows that are told apart without error from infinite slopes.
        value = nll + 1e-3 * float(free @ free)
        slope = np.r_[(error_nk * scores_nk).sum(), error_nk.sum(axis=0)] + 2e-3 * free
        return value, slope

    start = np.r_[1.0, np.zeros(k)]
    bounds = [(_FAINT, None), *[(None, None)] * k]
    found = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B")
    return float(found.x[0]), np.asarray(found.x[1:])
