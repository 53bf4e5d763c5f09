"""The classifiers that tell diseased cells from normal ones: a linear one and two small networks.

"252 hidden parameters" of the published protocol fits seven hidden units on 36 dimensions
(36 × 7) and 252 hidden units alike; both are here. No class weighs more than its cells, so that an
accuracy stands beside the share of the largest class.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from cellwright.config import nearest
from cellwright.errors import DataError, SettingsError

FAST = "logistic-regression"
HIDDEN: dict[str, int] = {"network-7": 7, "network-252": 252}
STATE_CLASSIFIERS: tuple[str, ...] = (FAST, *HIDDEN)
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
EPOCHS, PATIENCE, BATCH = 100, 5, 64
INNER = 3
WIDEST = 256  # dimensions that a network sees


@dataclass(frozen=True)
class StateClassifier:
    """A fitted classifier: the strength of its penalty or its epochs (``chosen``), and how it predicts."""

    name: str
    classes: tuple[str, ...]
    chosen: dict[str, Any]
    predict: Callable[[NDArray[np.floating]], NDArray[np.float64]]

    def probability(self, x_md: NDArray[np.floating]) -> NDArray[np.float64]:
        """Class probabilities, (m, k), rows sum to 1; 0 for a class without training rows."""
        return self.predict(x_md)


@dataclass(frozen=True)
class TrainingSpace:
    """Training rows standardized by themselves and, where wide, turned into their span.

    Made once for all classifiers and labels: outside of the span of the training rows none of them
    learns anything. Directions come in the order of their variance.
    """

    mean_d: NDArray[np.float64]
    scale_d: NDArray[np.float64]
    axes_dr: NDArray[np.float64] | None
    z_nr: NDArray[np.float64]

    @classmethod
    def of(cls, x_nd: NDArray[np.floating], *, name: str = "the vectors") -> TrainingSpace:
        """The space of these rows.

        Raises
        ------
        DataError
            If a value is not finite.
        """
        x = np.asarray(x_nd, dtype=np.float64)
        if not np.isfinite(x).all():
            bad = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
            raise DataError(f"row {bad} of {name} holds a value that is not finite")
        mean_d, scale_d = x.mean(axis=0), x.std(axis=0)
        scale_d = np.where(scale_d <= 1e-9 * np.abs(mean_d), np.inf, scale_d)
        z = (x - mean_d) / scale_d
        axes_dr = _span(z) if len(z) < z.shape[1] or z.shape[1] > WIDEST else None
        return cls(mean_d, scale_d, axes_dr, z if axes_dr is None else z @ axes_dr)

    def __call__(self, x_md: NDArray[np.floating]) -> NDArray[np.float64]:
        z: NDArray[np.float64] = (np.asarray(x_md, dtype=np.float64) - self.mean_d) / self.scale_d
        return z if self.axes_dr is None else z @ self.axes_dr


def fit_state_classifier(
    name: str,
    space: TrainingSpace,
    codes_n: NDArray[np.int64],
    classes: Sequence[str],
    *,
    groups_n: NDArray[np.str_] | None = None,
    seed: int = 0,
) -> StateClassifier:
    """Fit one of :data:`STATE_CLASSIFIERS` on training rows, standardized by these rows.

    Logistic regression takes the L2 penalty of the lowest log loss in three inner folds; a network
    (ReLU, Adam) stops at the epoch of the lowest log loss on a third of the training rows, and sees
    at most the 256 directions in which these rows vary most. Both keep groups whole inside, so that
    no copy of a cell chooses for its twin.

    Parameters
    ----------
    groups_n
        What the inner folds hold out whole (base cell, donor); None: single rows.

    Raises
    ------
    SettingsError
        For an unknown name; the nearest is named.
    DataError
        If the training rows are of one class.
    """
    if name not in STATE_CLASSIFIERS:
        close = nearest(name, STATE_CLASSIFIERS)
        raise SettingsError(
            f"no classifier {name!r}: "
            + (f"did you mean {close!r}?" if close else f"known: {', '.join(STATE_CLASSIFIERS)}")
        )
    present, own_n = np.unique(codes_n, return_inverse=True)
    if len(present) < 2:
        only = repr(classes[present[0]]) if len(present) else "none"
        raise DataError(f"{name} needs two classes to learn from and was given only {only}")
    inner = _inner(own_n, groups_n, seed)
    seen, kind = space.z_nr.shape[1], "float64"
    if name == FAST:
        model, chosen = _linear(space.z_nr, own_n, inner)
    else:
        seen, kind = min(seen, WIDEST), "float32"
        model, chosen = _network(HIDDEN[name], space.z_nr[:, :seen], own_n, inner, seed)

    def predict(x_md: NDArray[np.floating]) -> NDArray[np.float64]:
        out = np.zeros((len(x_md), len(classes)))
        if len(x_md):
            out[:, present] = model.predict_proba(space(x_md)[:, :seen].astype(kind))
        return out

    return StateClassifier(name, tuple(classes), chosen, predict)


def _span(z_nd: NDArray[np.float64]) -> NDArray[np.float64]:
    if len(z_nd) < z_nd.shape[1]:
        power_r, turn_nr = np.linalg.eigh(z_nd @ z_nd.T)
        keep = power_r > 1e-10 * max(float(power_r[-1]), 1e-300)
        axes_dr = z_nd.T @ (turn_nr[:, keep] / np.sqrt(power_r[keep]))
    else:
        _, axes_dr = np.linalg.eigh(z_nd.T @ z_nd)
    return np.ascontiguousarray(axes_dr[:, ::-1])


def _inner(
    codes_n: NDArray[np.int64], groups_n: NDArray[np.str_] | None, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Folds that each leave every class to learn from; none where the rows are too few."""
    if len(codes_n) < 2 * INNER:
        return []
    k = int(codes_n.max()) + 1
    of_n = np.arange(len(codes_n))
    if groups_n is not None:
        of_n = np.unique(groups_n, return_inverse=True)[1]
    # Groups with the same classes are dealt in turn, so that the folds have them alike.
    table_uk = np.zeros((int(of_n.max()) + 1, k), dtype=bool)
    table_uk[of_n, codes_n] = True
    _, stratum_u = np.unique(table_uk, axis=0, return_inverse=True)
    order = np.random.default_rng(seed).permutation(len(table_uk))
    order = order[np.argsort(stratum_u.ravel()[order], kind="stable")]
    fold_u = np.empty(len(order), dtype=np.int64)
    fold_u[order] = np.arange(len(order)) % INNER
    fold_n = fold_u[of_n]
    found = [(np.flatnonzero(fold_n != f), np.flatnonzero(fold_n == f)) for f in range(INNER)]
    return [(a, b) for a, b in found if len(b) and len(np.unique(codes_n[a])) == k]


def _linear(
    z_nr: NDArray[np.float64],
    codes_n: NDArray[np.int64],
    inner: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
) -> tuple[Any, dict[str, Any]]:
    # Without inner folds the middle one.
    best, least = STRENGTHS[len(STRENGTHS) // 2], np.inf
    for strength in STRENGTHS if inner else ():
        loss = 0.0
        for train, test in inner:
            guess = _regression(strength, z_nr[train], codes_n[train]).predict_proba(z_nr[test])
            loss += _log_loss(guess, codes_n[test]) * len(test)
        if loss >= least:
            # From strong to weak the loss falls and then rises; weaker ones are the slowest.
            break
        best, least = strength, loss
    return _regression(best, z_nr, codes_n), {"C": best}


def _log_loss(guess_mk: NDArray[np.floating], codes_m: NDArray[np.int64]) -> float:
    given = guess_mk[np.arange(len(codes_m)), codes_m].astype(np.float64)
    return float(-np.log(np.maximum(given, 1e-12)).mean())


def _regression(strength: float, z_nr: NDArray[np.float64], codes_n: NDArray[np.int64]) -> Any:
    model = LogisticRegression(C=strength, tol=1e-3, max_iter=300)
    with warnings.catch_warnings():
        # Weak penalties on rows that a plane parts have their optimum far out; the inner folds
        # decide whether that is any good.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(z_nr, codes_n)


def _network(
    hidden: int,
    z_nr: NDArray[np.float64],
    codes_n: NDArray[np.int64],
    inner: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    seed: int,
) -> tuple[Any, dict[str, Any]]:
    rows, x = np.arange(len(codes_n)), z_nr.astype(np.float32)
    train, val = inner[0] if inner else (rows, rows)
    model = MLPClassifier(
        (hidden,),
        batch_size=min(BATCH, len(train)),
        learning_rate_init=3e-3,
        # One stream for all epochs: a seed would shuffle every epoch alike.
        random_state=np.random.RandomState(seed),
    )
    labels = np.arange(int(codes_n.max()) + 1)
    least, best_epoch, best = np.inf, 0, None
    for epoch in range(1, EPOCHS + 1):
        model.partial_fit(x[train], codes_n[train], classes=labels)
        loss = _log_loss(model.predict_proba(x[val]), codes_n[val])
        if loss < least - 1e-6:
            least, best_epoch = loss, epoch
            best = [w.copy() for w in (*model.coefs_, *model.intercepts_)]
        elif epoch - best_epoch >= PATIENCE:
            break
    if best is not None:
        model.coefs_, model.intercepts_ = best[:2], best[2:]
    return model, {"hidden": hidden, "epoch": best_epoch}
