"""The methods that stand beside each other, and how one of them answers one fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.stratify import choose_cells, choose_groups
from cellwright.errors import SettingsError
from cellwright.evaluation.classifiers import CLASSIFIERS, fit_tuned
from cellwright.representations.finetuned import Base, cell_tokens, new_classifier, random_start
from cellwright.training.finetune_settings import FinetuneSettings
from cellwright.training.finetuning import FittedCellClassifier, finetune_cells
from cellwright.training.labelled import CellTokens
from cellwright.workflows.subject import Subject
from cellwright.workflows.views import SIMPLE, Views

FINETUNED, SCRATCH, FROZEN = "fine-tuned", "from scratch", "frozen"
PLAIN = CLASSIFIERS[0]
_JOIN = " + "


@dataclass(frozen=True)
class Contest:
    """What all methods share: the cells, the run, the plain representations and the settings.

    run: what is fine-tuned; views: hvg, pca and the shortcuts, refitted per fold; groups_n: what
    is held out whole, None for single cells; threads: of forests and boosted trees.
    """

    subject: Subject
    run: Base
    views: Views
    settings: FinetuneSettings
    groups_n: NDArray[np.str_] | None = None
    threads: int = 1

    @cached_property
    def tokens(self) -> CellTokens:
        """All cells as the encoder takes them."""
        return cell_tokens(self.run, self.subject.slim, assume_counts=self.subject.assume_counts)

    @cached_property
    def frozen_nd(self) -> NDArray[np.float32]:
        """All cells embedded by the run as it came."""
        return self.run.transform(self.subject.slim, assume_counts=self.subject.assume_counts)


@dataclass(frozen=True)
class FoldAnswer:
    """probability_mk: class probabilities of the test rows; chosen: settings taken inside the
    training rows; notes: what a reader must know; fitted: the fine-tuned classifier, if it is one."""

    probability_mk: NDArray[np.float64]
    chosen: dict[str, Any]
    notes: tuple[str, ...] = ()
    fitted: FittedCellClassifier | None = field(default=None, repr=False)


def method_names(
    views: Views, classifiers: Sequence[str] = CLASSIFIERS, *, scratch: bool = True
) -> tuple[str, ...]:
    """All methods: fine-tuned, frozen, from scratch, each classifier on each plain representation,
    and the shortcuts with a logistic regression.

    Raises
    ------
    SettingsError
        For a classifier that there is not.
    """
    for name in classifiers:
        if name not in CLASSIFIERS:
            close = nearest(name, CLASSIFIERS)
            hint = f"did you mean {close!r}?" if close else f"known: {', '.join(CLASSIFIERS)}"
            raise SettingsError(f"no classifier {name!r}: {hint}")
    simple = [view.name for view in views if view.name in SIMPLE]
    shortcuts = [view.name for view in views if view.name not in SIMPLE]
    return (
        FINETUNED,
        FROZEN + _JOIN + PLAIN,
        *((SCRATCH,) if scratch else ()),
        *(rep + _JOIN + name for rep in simple for name in classifiers),
        *shortcuts,
    )


def answer_fold(
    method: str,
    contest: Contest,
    codes_n: NDArray[np.int64],
    classes: Sequence[str],
    train_rows: NDArray[np.int64],
    test_rows: NDArray[np.int64],
    *,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Class probabilities that a method gives the test rows, (m, k), learned from the train rows only."""
    return answer(
        method, contest, codes_n, classes, train_rows, test_rows, seed=seed
    ).probability_mk


def answer(
    method: str,
    contest: Contest,
    codes_n: NDArray[np.int64],
    classes: Sequence[str],
    train_rows: NDArray[np.int64],
    test_rows: NDArray[np.int64],
    *,
    seed: int = 0,
) -> FoldAnswer:
    """How a method answers for the test rows, with what it chose on the way.

    Parameters
    ----------
    method
        One of :func:`method_names`.
    codes_n
        Class of each cell; those of ``test_rows`` are not looked at.
    train_rows
        Labelled cells to learn from; validation cells and inner folds are carved from them.

    Raises
    ------
    DataError, SettingsError, RunError
        If the rows hold one class, or training fails.
    """
    if method in (FINETUNED, SCRATCH):
        return _finetuned(method, contest, codes_n, classes, train_rows, test_rows, seed)
    rep, _, name = method.partition(_JOIN)
    x_nd = contest.frozen_nd if rep == FROZEN else contest.views[rep].vectors(train_rows)
    groups_n = contest.groups_n
    tuned = fit_tuned(
        name or PLAIN,
        x_nd[train_rows],
        codes_n[train_rows],
        classes,
        groups_n=None if groups_n is None else groups_n[train_rows],
        seed=seed,
        threads=contest.threads,
    )
    notes = (f"{method}: {tuned.note}",) if tuned.note else ()
    return FoldAnswer(tuned.probability(x_nd[test_rows]), dict(tuned.chosen), notes)


def _finetuned(
    method: str,
    contest: Contest,
    codes_n: NDArray[np.int64],
    classes: Sequence[str],
    train_rows: NDArray[np.int64],
    test_rows: NDArray[np.int64],
    seed: int,
) -> FoldAnswer:
    settings = replace(contest.settings, seed=seed)
    learn, val, note = carve(train_rows, codes_n, contest.groups_n, settings.val, seed)
    run = contest.run if method == FINETUNED else random_start(contest.run, seed)
    model = new_classifier(run, len(classes), settings.head_dropout)
    fitted = finetune_cells(model, contest.tokens, codes_n, learn, val, settings)
    chosen = {"epoch": fitted.best_epoch, "validation cells": len(val)}
    notes = (f"{method}: {note}",) if note else ()
    return FoldAnswer(fitted.probability(contest.tokens, test_rows), chosen, notes, fitted)


def carve(
    rows: NDArray[np.int64],
    codes_n: NDArray[np.int64],
    groups_n: NDArray[np.str_] | None,
    share: float,
    seed: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], str]:
    """Training and validation rows, and a note where it could not be done by whole groups.

    Whole groups are held back where at least three leave every class in training; else single
    cells of every class, of which a class of one cell keeps it.
    """
    if share <= 0:
        return rows, rows[:0], "no validation cells: trained to the last epoch"
    rng = np.random.default_rng([seed, 2])
    codes_m = codes_n[rows]
    _, own_m = np.unique(codes_m, return_inverse=True)
    if groups_n is not None:
        names, group_m = np.unique(groups_n[rows], return_inverse=True)
        if len(names) >= 3:
            counts_gk = np.zeros((len(names), int(own_m.max()) + 1))
            np.add.at(counts_gk, (group_m, own_m), 1.0)
            val_m = choose_groups(counts_gk, share, rng)[group_m]
            if len(np.unique(own_m[~val_m])) == len(np.unique(own_m)) and val_m.any():
                return rows[~val_m], rows[val_m], ""
    val_m = choose_cells(own_m, share, rng)
    if not val_m.any():
        return rows, rows, "too few cells to hold any back: stopped on its own training cells"
    note = "" if groups_n is None else "stopped on single cells, not on whole groups"
    return rows[~val_m], rows[val_m], note
