"""Baselines of the reverse problem under one interface: fitted on training conditions, they score.

``fit_method(name, training)`` gives a :class:`FittedMethod` whose ``score(queries)`` is (queries,
candidates), higher for the likelier, and -inf for a candidate that the method cannot score.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from cellwright.config import nearest
from cellwright.errors import SettingsError
from cellwright.perturbation.queries import Queries
from cellwright.perturbation.reverse import Screen
from cellwright.perturbation.reverse_additive import (
    GeneEffects,
    gene_scores,
    linear_effects,
    single_effects,
)
from cellwright.perturbation.reverse_audit import ScreenKind, own_z
from cellwright.perturbation.reverse_methods_trees import boosted_trees, random_forest

COMPONENTS = 30
NEIGHBOURS = 15
# Inverse strength of the penalty of logistic regression, as scikit-learn counts it.
C = 0.01


@dataclass(frozen=True)
class Training:
    """What methods are fitted on: cells of training conditions and of controls, nothing else.

    queries: groups of cells of the size that will be asked about; whole: one query for each
    training condition; own_c: column of each candidate's own gene in these queries, -1 where it is
    not measured or hidden; sd_g: from control cells; kind: whether targets go up or down.
    """

    screen: Screen
    queries: Queries
    whole: Queries
    own_c: NDArray[np.int64]
    sd_g: NDArray[np.float64]
    kind: ScreenKind
    seed: int = 0

    @property
    def target_qc(self) -> NDArray[np.bool_]:
        """Which candidates are perturbed in each training query."""
        return self.screen.targets_pc[self.queries.condition_q]

    @property
    def seen_c(self) -> NDArray[np.bool_]:
        """Candidates that are perturbed in a training condition."""
        return np.asarray(self.target_qc.any(axis=0))


@dataclass(frozen=True)
class FittedMethod:
    """A fitted method; ``score(queries)`` is (q, c), -inf where it cannot score."""

    name: str
    score: Callable[[Queries], NDArray[np.float64]]


def _frequency(training: Training) -> Callable[[Queries], NDArray[np.float64]]:
    """How many training conditions perturb the gene; it does not look at cells."""
    count_c = training.screen.targets_pc[training.whole.condition_q].sum(axis=0).astype(float)
    return lambda queries: np.tile(count_c, (len(queries), 1))


def _own(training: Training) -> Callable[[Queries], NDArray[np.float64]]:
    return lambda queries: own_z(queries, training.own_c, training.sd_g, training.kind)


def _logistic(training: Training) -> Callable[[Queries], NDArray[np.float64]]:
    x = training.queries.shift_qg.astype(np.float64)
    mean, spread = x.mean(axis=0), x.std(axis=0)
    spread = np.where(spread > 1e-9, spread, 1.0)
    seen = training.seen_c
    weight, intercept = one_vs_rest((x - mean) / spread, training.target_qc[:, seen])

    def score(queries: Queries) -> NDArray[np.float64]:
        logit = ((queries.shift_qg - mean) / spread) @ weight + intercept
        return unseen_last(expit(logit), seen)

    return score


def one_vs_rest(
    x_qg: NDArray[np.float64], target_qc: NDArray[np.bool_], c: float = C
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Logistic regression of every column of targets at once.

    The loss of scikit-learn's ``LogisticRegression(C=c)`` for each column: log-loss summed over
    rows plus half the squared weights over ``c``, the intercept free.

    Returns
    -------
    Weights (g, c) and intercepts (c,).
    """
    genes, labels = x_qg.shape[1], target_qc.shape[1]
    t = target_qc.astype(np.float64)

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        w = flat.reshape(genes + 1, labels)
        z = x_qg @ w[:-1] + w[-1]
        error = expit(z) - t
        slope = np.vstack([x_qg.T @ error + w[:-1] / c, error.sum(axis=0)])
        value = np.logaddexp(0, z).sum() - (t * z).sum() + 0.5 / c * (w[:-1] ** 2).sum()
        return float(value), slope.ravel()

    start = np.zeros((genes + 1, labels))
    found = minimize(
        loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 300, "gtol": 1e-4}
    )
    w = found.x.reshape(genes + 1, labels)
    return w[:-1], w[-1]


def _components(training: Training) -> PCA:
    x = training.queries.shift_qg
    most = min(COMPONENTS, *x.shape)
    return PCA(n_components=most, random_state=training.seed).fit(x)


def _neighbours(training: Training) -> Callable[[Queries], NDArray[np.float64]]:
    """Share of the nearest training queries in which the gene is perturbed."""
    pca, target = _components(training), training.target_qc
    table = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(target)))
    table.fit(pca.transform(training.queries.shift_qg))

    def score(queries: Queries) -> NDArray[np.float64]:
        near = table.kneighbors(pca.transform(queries.shift_qg), return_distance=False)
        return unseen_last(target[near].mean(axis=1)[:, training.seen_c], training.seen_c)

    return score


def _centroid(training: Training) -> Callable[[Queries], NDArray[np.float64]]:
    """Minus the distance to the nearest training condition that perturbs the gene."""
    pca, seen = _components(training), training.seen_c
    centre = pca.transform(training.whole.shift_qg)
    holds = training.screen.targets_pc[training.whole.condition_q][:, seen]

    def score(queries: Queries) -> NDArray[np.float64]:
        at = pca.transform(queries.shift_qg)
        distance = np.linalg.norm(at[:, None] - centre, axis=2)
        near = np.where(holds, distance[:, :, None], np.inf).min(axis=1)
        return unseen_last(-near, seen)

    return score


def _additive(
    effects: Callable[[Queries, Screen], GeneEffects], free_strength: bool = False
) -> Callable[[Training], Callable[[Queries], NDArray[np.float64]]]:
    def fit(training: Training) -> Callable[[Queries], NDArray[np.float64]]:
        known = effects(training.whole, training.screen)
        return lambda queries: gene_scores(queries.shift_qg, known, free_strength=free_strength)

    return fit


def _trees(
    grow: Callable[..., Callable[[NDArray[np.float32]], NDArray[np.float64]]],
) -> Callable[[Training], Callable[[Queries], NDArray[np.float64]]]:
    def fit(training: Training) -> Callable[[Queries], NDArray[np.float64]]:
        seen = training.seen_c
        grown = grow(training.queries.shift_qg, training.target_qc[:, seen], seed=training.seed)
        return lambda queries: unseen_last(grown(queries.shift_qg), seen)

    return fit


def unseen_last(score_qs: NDArray[np.float64], seen_c: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Scores of seen candidates among all, -inf for those that no training condition perturbs."""
    score = np.full((len(score_qs), len(seen_c)), -np.inf)
    score[:, seen_c] = score_qs
    return score


_FITS: Mapping[str, Callable[[Training], Callable[[Queries], NDArray[np.float64]]]] = (
    MappingProxyType(
        {
            "frequency": _frequency,
            "own-z": _own,
            "nearest-centroid": _centroid,
            "knn": _neighbours,
            "additive": _additive(single_effects),
            "additive-strength": _additive(single_effects, free_strength=True),
            "linear-inverted": _additive(linear_effects),
            "logistic-regression": _logistic,
            "random-forest": _trees(random_forest),
            "xgboost": _trees(boosted_trees),
        }
    )
)
METHODS: tuple[str, ...] = tuple(_FITS)


def check_methods(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once, or an error that names the nearest method.

    Raises
    ------
    SettingsError
        For an unknown method.
    """
    for name in names:
        if name not in _FITS:
            close = nearest(name, METHODS)
            raise SettingsError(
                f"no method {name!r}: "
                + (f"did you mean {close!r}?" if close else f"known: {', '.join(METHODS)}")
            )
    return tuple(dict.fromkeys(names))


def fit_method(name: str, training: Training) -> FittedMethod:
    """Fit one of :data:`METHODS` on training conditions.

    Raises
    ------
    SettingsError
        For an unknown method.
    MissingExtra
        For xgboost where it is not installed.
    """
    check_methods([name])
    return FittedMethod(name, _FITS[name](training))


def joined(parts: Sequence[Queries]) -> Queries:
    """Several sets of queries as one; k is that of the first."""
    return Queries(
        np.vstack([q.mean_qg for q in parts]),
        np.vstack([q.shift_qg for q in parts]),
        np.concatenate([q.condition_q for q in parts]),
        tuple(rows for q in parts for rows in q.rows_q),
        parts[0].k,
    )
