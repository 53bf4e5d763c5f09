"""The classical classifiers that a learned model must beat, each with the settings it may choose from.

Settings stand in the order from simple to complex, so that a tie takes the simpler one. Classes
weigh the same in every one of them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC, LinearSVC
from sklearn.utils.class_weight import compute_sample_weight

from cellwright.errors import MissingExtra

Setting = Mapping[str, Any]


@dataclass(frozen=True)
class Kind:
    """A classifier: ``build(setting, dims, seed, threads)`` gives an unfitted one.

    in_span: it depends on distances and products only, so that vectors may be turned into the span
    of the training rows; capped: its cost grows with the square of the rows; decides: its outputs
    are distances to a boundary, not probabilities.
    """

    build: Callable[[Setting, int, int, int], Any]
    grid: tuple[Setting, ...]
    in_span: bool
    capped: bool = False
    decides: bool = False


def _logistic(setting: Setting, dims: int, seed: int, threads: int) -> Any:
    return LogisticRegression(C=setting["C"], class_weight="balanced", max_iter=2000)


def _linear_svm(setting: Setting, dims: int, seed: int, threads: int) -> Any:
    return LinearSVC(
        C=setting["C"], class_weight="balanced", dual="auto", max_iter=5000, random_state=seed
    )


def _rbf_svm(setting: Setting, dims: int, seed: int, threads: int) -> Any:
    # Of standardized vectors 1 / dims is what scikit-learn calls "scale".
    gamma = setting["gamma_times_dims"] / dims
    return SVC(
        C=setting["C"], gamma=gamma, class_weight="balanced", cache_size=500, random_state=seed
    )


def _forest(setting: Setting, dims: int, seed: int, threads: int) -> Any:
    return RandomForestClassifier(
        n_estimators=300,
        min_samples_leaf=setting["min_samples_leaf"],
        class_weight="balanced_subsample",
        random_state=seed,
        n_jobs=threads,
    )


def _xgboost(setting: Setting, dims: int, seed: int, threads: int) -> Any:
    try:
        xgboost: Any = importlib.import_module("xgboost")
    except ImportError:
        raise MissingExtra("xgboost", "xgboost", "the classifier xgboost") from None
    return _Boosted(
        xgboost.XGBClassifier(
            n_estimators=200,
            learning_rate=0.1,
            max_depth=setting["max_depth"],
            subsample=0.8,
            colsample_bytree=0.5,
            tree_method="hist",
            random_state=seed,
            n_jobs=threads,
        )
    )


@dataclass
class _Boosted:
    """XGBoost with balanced classes, which it takes as weights of rows."""

    model: Any

    def fit(self, x_nd: NDArray[np.floating], codes_n: NDArray[np.int64]) -> _Boosted:
        self.model.fit(x_nd, codes_n, sample_weight=compute_sample_weight("balanced", codes_n))
        return self

    def predict_proba(self, x_nd: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.asarray(self.model.predict_proba(x_nd))


KINDS: dict[str, Kind] = {
    "logistic-regression": Kind(
        _logistic, tuple({"C": c} for c in (0.001, 0.01, 0.1, 1.0, 10.0)), in_span=True
    ),
    "linear-svm": Kind(
        _linear_svm,
        tuple({"C": c} for c in (0.0001, 0.001, 0.01, 0.1, 1.0)),
        in_span=True,
        capped=True,
        decides=True,
    ),
    "rbf-svm": Kind(
        _rbf_svm,
        tuple({"C": c, "gamma_times_dims": g} for c in (1.0, 10.0) for g in (0.1, 1.0)),
        in_span=True,
        capped=True,
        decides=True,
    ),
    "random-forest": Kind(_forest, ({"min_samples_leaf": 5}, {"min_samples_leaf": 1}), False),
    "xgboost": Kind(_xgboost, ({"max_depth": 2}, {"max_depth": 6}), False),
}
