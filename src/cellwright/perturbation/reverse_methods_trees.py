"""Trees over shifts, all candidates in one forest: random forest and gradient boosting."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestRegressor

from cellwright.errors import MissingExtra

TREES, ROUNDS = 100, 30
MOST_ROWS = 10_000

Grown = Callable[[NDArray[np.float32]], NDArray[np.float64]]


def random_forest(
    x_qg: NDArray[np.float32], target_qc: NDArray[np.bool_], *, seed: int = 0, trees: int = TREES
) -> Grown:
    """Share of the trees' leaves in which each candidate is perturbed, (q, c), 0 to 1.

    Regression on 0 and 1 splits as Gini impurity does, summed over candidates.
    """
    rows = _drawn(len(x_qg), seed)
    forest = RandomForestRegressor(
        trees, max_features="sqrt", min_samples_leaf=2, random_state=seed, n_jobs=1
    )
    forest.fit(x_qg[rows], target_qc[rows].astype(np.float32))

    def score(asked_qg: NDArray[np.float32]) -> NDArray[np.float64]:
        found = np.asarray(forest.predict(asked_qg), dtype=np.float64)
        return found.reshape(len(asked_qg), -1)

    return score


def boosted_trees(
    x_qg: NDArray[np.float32], target_qc: NDArray[np.bool_], *, seed: int = 0, rounds: int = ROUNDS
) -> Grown:
    """Probability of each candidate by XGBoost, whose trees have a leaf value for every candidate.

    Raises
    ------
    MissingExtra
        If xgboost is not installed.
    """
    if importlib.util.find_spec("xgboost") is None:
        raise MissingExtra("xgboost", "xgboost", "the method xgboost")
    import xgboost

    rows = _drawn(len(x_qg), seed)
    settings = {
        "objective": "binary:logistic",
        "tree_method": "hist",
        "multi_strategy": "multi_output_tree",
        "max_depth": 4,
        "max_bin": 32,
        "eta": 0.2,
        "subsample": 0.8,
        "seed": seed,
        "nthread": 1,
        "verbosity": 0,
    }
    table = xgboost.DMatrix(x_qg[rows], target_qc[rows].astype(np.float32))
    booster = xgboost.train(settings, table, num_boost_round=rounds)

    def score(asked_qg: NDArray[np.float32]) -> NDArray[np.float64]:
        found = np.asarray(booster.predict(xgboost.DMatrix(asked_qg)), dtype=np.float64)
        return found.reshape(len(asked_qg), -1)

    return score


def _drawn(n: int, seed: int) -> NDArray[np.int64]:
    """At most MOST_ROWS rows, at random: trees take no more from more."""
    if n <= MOST_ROWS:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, MOST_ROWS, replace=False))
