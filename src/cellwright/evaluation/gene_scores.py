"""The metrics of gene classification: those of cells, recall of each class, AUC within families."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cellwright.evaluation import metrics
from cellwright.evaluation.intervals import Measured, interval
from cellwright.evaluation.resampling import Resamples
from cellwright.interfaces import Predictions

WITHIN = "auc_within_family"
RECALL = "recall of "


def measure_genes(
    answers: Predictions, drawn: Resamples, families_g: NDArray[np.str_]
) -> dict[str, Measured]:
    """All metrics by name; a gene held out once in each of r repeats is r rows and one gene.

    accuracy, balanced_accuracy, macro_f1, roc_auc (of genes of one fold, whose scores one
    classifier made; more than two classes: mean of each against the rest), ``recall of CLASS``;
    with two classes f1_positive (of the last class) and
    auc_within_family, which is left out where no family holds both classes.

    Parameters
    ----------
    families_g
        Family of every gene that ``answers.rows_m`` points at.
    """
    k = len(answers.classes)
    repeats = len(answers.rows_m) / max(len(np.unique(answers.rows_m)), 1)
    totals = drawn.totals(answers.truth_m * k + answers.predicted_m, k * k)
    counts_bkk = np.concatenate([(totals.T @ w.T).T for w in drawn.weights()]).reshape(-1, k, k)
    counts_kk = metrics.confusion(answers)
    size_k = counts_kk.sum(axis=1) / repeats
    present = np.flatnonzero(size_k)
    per_class = float(len(present) ** 2 / (1 / size_k[present]).sum())
    chance = metrics.chance_levels(counts_kk)
    # A gene asked r times is one gene: sizes and trials count genes.
    sizes_u = np.maximum(drawn.sizes_u / repeats, 1).astype(np.int64)
    out: dict[str, Measured] = {}

    def keep(
        name: str,
        value: float,
        draws_b: NDArray[np.float64],
        trials: float,
        by_chance: float | None,
    ) -> None:
        out[name] = Measured(value, draws_b, interval(value, draws_b, sizes_u, trials), by_chance)

    for name, metric, trials in (
        ("accuracy", metrics.accuracy, float(size_k.sum())),
        ("balanced_accuracy", metrics.balanced_accuracy, per_class),
        ("macro_f1", metrics.macro_f1, per_class),
    ):
        keep(name, float(metric(counts_kk)), metric(counts_bkk), trials, chance[name])
    recalls_bk = metrics.recalls(counts_bkk)
    for c in present.tolist():
        value = float(metrics.recalls(counts_kk)[c])
        keep(f"{RECALL}{answers.classes[c]}", value, recalls_bk[:, c], float(size_k[c]), None)
    if len(present) < 2:
        return out
    if k == 2:
        f1s_bk, by_chance = metrics.f1s(counts_bkk), metrics.f1_chance(counts_kk, 1)
        value = float(metrics.f1s(counts_kk)[1])
        keep("f1_positive", value, f1s_bk[:, 1], float(size_k[1]), by_chance)
    asked = [1] if k == 2 else present.tolist()
    found = [
        _auc(answers.truth_m == c, answers.probability_mk[:, c], answers, drawn) for c in asked
    ]
    smaller = np.array([min(size_k[c], size_k.sum() - size_k[c]) for c in asked])
    worth = len(asked) / float((1 / smaller).sum())
    value = float(np.mean([v for v, _ in found]))
    keep("roc_auc", value, np.mean([draws_b for _, draws_b in found], axis=0), worth, 0.5)
    if k == 2:
        within = within_family_auc(answers, families_g, drawn)
        if within is not None:
            value, draws_b, rows = within
            keep(WITHIN, value, draws_b, rows / repeats, 0.5)
    return out


def families_measure(
    families_g: NDArray[np.str_],
) -> Callable[[Predictions, Resamples], dict[str, Measured]]:
    """``measure_genes`` for genes of these families."""
    return lambda answers, drawn: measure_genes(answers, drawn, families_g)


def _auc(
    true_m: NDArray[np.bool_],
    score_m: NDArray[np.float64],
    answers: Predictions,
    drawn: Resamples,
) -> tuple[float, NDArray[np.float64]]:
    """Share of pairs of one fold ranked right; of all pairs where no fold holds both classes."""
    blocks = _blocks(answers.fold_m, true_m, score_m)
    blocks = blocks or _blocks(np.zeros_like(answers.fold_m), true_m, score_m)
    return _ranked_right(blocks, drawn)


def roc_within_folds(answers: Predictions) -> dict[str, list[float]]:
    """The ROC curve whose area is the AUC above: those of the folds, averaged by their pairs.

    Returns
    -------
    ``{"fpr": [...], "tpr": [...]}`` of the last class, from (0, 0) to (1, 1); empty where no fold
    holds both classes.
    """
    true_m, score_m = answers.truth_m == len(answers.classes) - 1, answers.probability_mk[:, -1]
    curves = []
    for fold in np.unique(answers.fold_m):
        here = answers.fold_m == fold
        yes, no = np.sort(score_m[here & true_m]), np.sort(score_m[here & ~true_m])
        if not len(yes) or not len(no):
            continue
        cuts = np.unique(np.r_[yes, no])[::-1]
        tpr = np.r_[0.0, 1 - np.searchsorted(yes, cuts, side="left") / len(yes)]
        fpr = np.r_[0.0, 1 - np.searchsorted(no, cuts, side="left") / len(no)]
        # Steps straight up keep both their ends.
        curves.append((len(yes) * len(no), fpr + 1e-12 * np.arange(len(fpr)), tpr))
    if not curves:
        return {"fpr": [], "tpr": []}
    grid = np.unique(np.concatenate([fpr for _, fpr, _ in curves]))
    tprs = [np.interp(grid, fpr, tpr) for _, fpr, tpr in curves]
    mean = np.average(tprs, axis=0, weights=[pairs for pairs, _, _ in curves])
    return {"fpr": np.minimum(grid, 1.0).tolist(), "tpr": mean.tolist()}


def within_family_auc(
    answers: Predictions, families_g: NDArray[np.str_], drawn: Resamples
) -> tuple[float, NDArray[np.float64], int] | None:
    """The share of pairs of one family, one gene of each class, that are ranked right (ties half).

    Only genes of one fold are compared, so that what one classifier was fitted on does not tell
    them apart. All such pairs count alike, so a large family weighs more. What is alike within a
    family (its name, much of its length and level) cannot help here.

    Returns
    -------
    The value, its resamples (b,), and the rows of the rarer class in such families; None where no
    family holds both classes in a fold.
    """
    _, family_m = np.unique(families_g[answers.rows_m], return_inverse=True)
    family_m = family_m * (int(answers.fold_m.max()) + 1) + answers.fold_m
    true_m, score_m = answers.truth_m == 1, answers.probability_mk[:, 1]
    blocks = _blocks(family_m, true_m, score_m)
    if not blocks:
        return None
    value, draws_b = _ranked_right(blocks, drawn)
    return value, draws_b, sum(min(len(yes), len(no)) for yes, no, _ in blocks)


Block = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]


def _blocks(
    group_m: NDArray[np.int64], true_m: NDArray[np.bool_], score_m: NDArray[np.float64]
) -> list[Block]:
    """Per group that holds both: rows of the class, other rows, and which pairs are ranked right."""
    out = []
    for group in np.intersect1d(group_m[true_m], group_m[~true_m]):
        yes = np.flatnonzero(true_m & (group_m == group))
        no = np.flatnonzero(~true_m & (group_m == group))
        gap = score_m[yes][:, None] - score_m[no][None, :]
        out.append((yes, no, (gap > 0) + 0.5 * (gap == 0)))
    return out


def _ranked_right(blocks: list[Block], drawn: Resamples) -> tuple[float, NDArray[np.float64]]:
    value = sum(b.sum() for _, _, b in blocks) / sum(b.size for _, _, b in blocks)
    draws = [_weighted_pairs(blocks, w, drawn.unit_m) for w in drawn.weights()]
    return float(value), np.concatenate(draws)


def _weighted_pairs(
    blocks: list[Block],
    weights_bu: NDArray[np.float64],
    unit_m: NDArray[np.int64],
) -> NDArray[np.float64]:
    right_b, all_b = np.zeros(len(weights_bu)), np.zeros(len(weights_bu))
    for yes, no, right_yn in blocks:
        yes_by, no_bn = weights_bu[:, unit_m[yes]], weights_bu[:, unit_m[no]]
        if len(np.unique(unit_m[np.r_[yes, no]])) == 1:
            # The family itself was drawn: twice drawn, its pairs count twice, not four times.
            right_b += yes_by[:, 0] * right_yn.sum()
            all_b += yes_by[:, 0] * right_yn.size
            continue
        right_b += ((yes_by @ right_yn) * no_bn).sum(axis=1)
        all_b += yes_by.sum(axis=1) * no_bn.sum(axis=1)
    out = np.full(len(right_b), np.nan)
    return np.divide(right_b, all_b, out=out, where=all_b > 0)
