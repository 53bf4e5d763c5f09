"""Few labels: self-training and label propagation against plain fits, as labels are hidden.

Labels are hidden inside each training fold; what is hidden stays there as an unlabelled gene. Two
methods also see the test genes as unlabelled nodes of their graph: transductive, and marked. The
estimators are scikit-learn's; fixed settings, so that no label is spent on choosing them.
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
from sklearn.semi_supervised import LabelPropagation, LabelSpreading, SelfTrainingClassifier

from cellwright.errors import SettingsError
from cellwright.evaluation.comparison import judge
from cellwright.evaluation.folds import Design, Fold
from cellwright.evaluation.gene_classification import GeneTask, GeneView, filled
from cellwright.evaluation.gene_scores import families_measure
from cellwright.interfaces import Predictions, Score

SUPERVISED = "LR on what is labelled"
SELF_TRAINING = "self-training"
SPREADING = "label spreading"
TRANSDUCTIVE = ("label propagation (transductive)", "label spreading (transductive)")
METHODS = (SUPERVISED, SELF_TRAINING, SPREADING, *TRANSDUCTIVE)
NEIGHBOURS = 10
FEWEST = 2  # labels kept per class
CONFIDENT = 0.75
ROUNDS = 10
UNLABELLED = -1


@dataclass(frozen=True)
class HiddenScore:
    """One method at one share of hidden labels; ``score.difference`` is against the plain fit."""

    view: str
    method: str
    share: float
    labelled: float
    score: Score

    def to_dict(self) -> dict[str, Any]:
        """The share, the mean number of labels left per fold, and the score."""
        return {
            "view": self.view,
            "method": self.method,
            "share_hidden": self.share,
            "labels_left": self.labelled,
            "transductive": self.method in TRANSDUCTIVE,
            **self.score.to_dict(),
        }


def hidden_curves(
    task: GeneTask,
    view: GeneView,
    design: Design,
    shares: Sequence[float],
    *,
    metrics: Sequence[str] = ("roc_auc", "macro_f1"),
    resamples: int = 500,
) -> list[HiddenScore]:
    """Every method at every share of hidden labels, on the same genes and the same hidden ones.

    Raises
    ------
    SettingsError
        If a share is not between 0 and 1.
    """
    out = []
    for share in shares:
        if not 0 <= share < 1:
            raise SettingsError(
                f"a share of hidden labels is {share:g}; it must be from 0 to below 1"
            )
        left = [
            int((hide(task.codes_g[f.train], share, _rng(task.seed, n)) >= 0).sum())
            for n, f in enumerate(design.folds)
        ]
        answers = [_answer(task, view, design, method, share) for method in METHODS]
        found = judge(
            answers,
            families_measure(task.families_g),
            resamples=resamples,
            seed=task.seed,
            headline=metrics[0],
        )
        out += [
            HiddenScore(view.name, s.rep, float(share), float(np.mean(left)), s)
            for s in found.scores
            if s.metric in metrics and s.stratum == "all"
        ]
    return out


def hide(codes_n: NDArray[np.int64], share: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """The codes with a share of every class hidden as -1; at least two of a class stay.

    More is hidden of the same genes as the share grows, for one state of ``rng``.
    """
    out = codes_n.copy()
    for code in np.unique(codes_n):
        rows = rng.permutation(np.flatnonzero(codes_n == code))
        keep = max(round(len(rows) * (1 - share)), min(FEWEST, len(rows)))
        out[rows[keep:]] = UNLABELLED
    return out


def _answer(
    task: GeneTask, view: GeneView, design: Design, method: str, share: float
) -> Predictions:
    fit = _FITS[method]

    def probability(fold: Fold, number: int) -> NDArray[np.float64]:
        x_gd = standardized(filled(view.vectors_gd, fold.train), fold.train)
        codes_n = hide(task.codes_g[fold.train], share, _rng(task.seed, number))
        found_mk = fit(x_gd[fold.train], codes_n, x_gd[fold.test])
        return _all_classes(found_mk, codes_n, len(task.classes))

    return task.collect(
        method,
        method,
        design,
        probability,
        baseline=method == SUPERVISED,
        seen="seen-unlabelled" if method in TRANSDUCTIVE else "clean",
    )


def standardized(x_gd: NDArray[np.float64], train: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean 0 and deviation 1 over the training genes; a constant column becomes 0."""
    mean_d, scale_d = x_gd[train].mean(axis=0), x_gd[train].std(axis=0)
    constant = scale_d <= 1e-12 * np.maximum(np.abs(mean_d), 1.0)
    out = (x_gd - mean_d) / np.where(constant, 1.0, scale_d)
    out[:, constant] = 0.0
    return out


def _supervised(
    x_nd: NDArray[np.float64], codes_n: NDArray[np.int64], x_md: NDArray[np.float64]
) -> NDArray[np.float64]:
    known = codes_n >= 0
    return np.asarray(_logistic().fit(x_nd[known], codes_n[known]).predict_proba(x_md))


def _self_training(
    x_nd: NDArray[np.float64], codes_n: NDArray[np.int64], x_md: NDArray[np.float64]
) -> NDArray[np.float64]:
    if (codes_n >= 0).all():
        return _supervised(x_nd, codes_n, x_md)
    model = SelfTrainingClassifier(_logistic(), threshold=CONFIDENT, max_iter=ROUNDS)
    return np.asarray(model.fit(x_nd, codes_n).predict_proba(x_md))


def _spreading(
    x_nd: NDArray[np.float64], codes_n: NDArray[np.int64], x_md: NDArray[np.float64]
) -> NDArray[np.float64]:
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        # A gene whose neighbours have no label gets 0/0, which becomes the class shares.
        warnings.simplefilter("ignore", RuntimeWarning)
        model = LabelSpreading(kernel="knn", n_neighbors=_k(x_nd), max_iter=1000)
        return np.asarray(model.fit(x_nd, codes_n).predict_proba(x_md))


def _transductive(
    estimator: Callable[..., Any],
) -> Callable[..., NDArray[np.float64]]:
    def fit(
        x_nd: NDArray[np.float64], codes_n: NDArray[np.int64], x_md: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        x = np.concatenate([x_nd, x_md])
        codes = np.concatenate([codes_n, np.full(len(x_md), UNLABELLED)])
        with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.simplefilter("ignore", RuntimeWarning)
            model = estimator(kernel="knn", n_neighbors=_k(x), max_iter=1000).fit(x, codes)
        return np.asarray(model.label_distributions_[len(x_nd) :])

    return fit


_FITS: dict[str, Callable[..., NDArray[np.float64]]] = {
    SUPERVISED: _supervised,
    SELF_TRAINING: _self_training,
    SPREADING: _spreading,
    TRANSDUCTIVE[0]: _transductive(LabelPropagation),
    TRANSDUCTIVE[1]: _transductive(LabelSpreading),
}


def _logistic() -> LogisticRegression:
    return LogisticRegression(class_weight="balanced", max_iter=2000)


def _all_classes(
    found_mk: NDArray[np.float64], codes_n: NDArray[np.int64], k: int
) -> NDArray[np.float64]:
    """A column per class, and the class shares where a method had nothing to say."""
    known = codes_n[codes_n >= 0]
    out = np.zeros((len(found_mk), k))
    out[:, np.unique(known)] = found_mk
    silent = ~np.isfinite(out).all(axis=1) | (np.nan_to_num(out).sum(axis=1) < 1e-9)
    out[silent] = np.bincount(known, minlength=k) / len(known)
    return out / out.sum(axis=1, keepdims=True)


def _k(x: NDArray[np.float64]) -> int:
    return min(NEIGHBOURS, len(x) - 1)


def _rng(seed: int, fold: int) -> np.random.Generator:
    return np.random.default_rng([seed, fold])
