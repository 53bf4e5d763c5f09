"""The disease-state task: are diseased cells told from normal ones, in donors never seen?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError, SettingsError
from cellwright.evaluation.class_scores import measure_classes
from cellwright.evaluation.comparison import Judgement, judge, score
from cellwright.evaluation.disease_classifiers import (
    FAST,
    STATE_CLASSIFIERS,
    TrainingSpace,
    fit_state_classifier,
)
from cellwright.evaluation.disease_designs import DESIGNS, LEAKY, Cohort, draw_designs
from cellwright.evaluation.folds import Design
from cellwright.evaluation.seen import worst_seen
from cellwright.evaluation.shuffling import ShuffleControl, shuffle_control
from cellwright.evaluation.vectors import checked_vectors
from cellwright.interfaces import CellView, Check, Predictions, Score

Question = Literal["perturbed", "state"]
QUESTIONS: tuple[Question, ...] = ("perturbed", "state")
PERTURBED = "perturbed"


@dataclass(frozen=True)
class DiseaseState:
    """Task: name the state of cells whose donors (or base cells) took no part in learning.

    Folds are drawn from names and states before anything is fitted; copies of one base cell are
    never on both sides, except in the design ``leaky``, which shows what that mistake claims.

    Parameters
    ----------
    cohort
        Cells, states, base cells and donors.
    question
        ``perturbed`` (any diseased state against the normal one) or ``state`` (which one).
    normal
        Name of the normal state.
    designs
        Any of ``grouped``, ``holdout`` and ``leaky``.
    classifiers
        Any of :data:`~cellwright.evaluation.disease_classifiers.STATE_CLASSIFIERS`; each answers
        by itself, under the name ``REP + CLASSIFIER``.
    folds, test_share
        Of the cross-validation, and of the single split.
    resamples, shuffles
        Bootstrap resamples of an interval; permutations of the control.

    References
    ----------
    The published protocol splits copies of one cell at random 70/30 and trains a network with 252
    hidden parameters on 36 latent dimensions.
    """

    name: ClassVar[str] = "disease-state"
    needs: ClassVar[Literal["cells", "genes", "candidates", "finetune"]] = "cells"

    cohort: Cohort
    question: Question = "perturbed"
    normal: str = "normal"
    designs: Sequence[str] = DESIGNS
    classifiers: Sequence[str] = STATE_CLASSIFIERS
    folds: int = 5
    test_share: float = 0.3
    seed: int = 0
    resamples: int = 1000
    shuffles: int = 20

    @property
    def classes(self) -> tuple[str, ...]:
        """What is asked for: the normal state first."""
        return (self.normal, PERTURBED) if self.question == "perturbed" else self.cohort.classes

    @cached_property
    def truth_n(self) -> NDArray[np.int64]:
        """Index into ``classes`` of every cell."""
        codes_n = self.cohort.state_codes_n
        if self.question == "state":
            return codes_n
        return (codes_n != self.cohort.classes.index(self.normal)).astype(np.int64)

    def draw(self) -> list[Design]:
        """The designs with their folds, the same for both questions. Deterministic.

        Raises
        ------
        DataError, SettingsError
            As :func:`~cellwright.evaluation.disease_designs.draw_designs`, and if no cell is normal.
        """
        if self.question not in QUESTIONS:
            raise SettingsError(
                f"unknown question {self.question!r}; expected {' or '.join(QUESTIONS)}"
            )
        if self.normal not in self.cohort.classes:
            raise DataError(
                f"no cell is in the normal state {self.normal!r}; "
                f"the states are {', '.join(map(repr, self.cohort.classes))}"
            )
        return draw_designs(
            self.cohort, self.designs, folds=self.folds, test_share=self.test_share, seed=self.seed
        )

    def predict(self, view: CellView) -> list[Predictions]:
        """Answers of every classifier for the held-out cells, one ``Predictions`` per design.

        Raises
        ------
        DataError
            If the view is about other cells, or its vectors are of another length or not finite.
        """
        vectors_of = self._vectors(view)
        return [found for d in self.draw() for found in self._answers(view, d, vectors_of)]

    def score(self, answers: Predictions, rivals: Sequence[Predictions]) -> list[Score]:
        """All metrics with intervals and the paired difference to the best of ``rivals``."""
        return score(answers, rivals, measure_classes, resamples=self.resamples, seed=self.seed)

    def judge(self, answers: Sequence[Predictions]) -> Judgement:
        """Score many answers at once; the leaky ones get neither verdict nor rival."""
        clean = [a for a in answers if a.split != LEAKY]
        found = judge(clean, measure_classes, resamples=self.resamples, seed=self.seed)
        leaky = judge(
            [replace(a, baseline=True) for a in answers if a.split == LEAKY],
            measure_classes,
            resamples=self.resamples,
            seed=self.seed,
        )
        notes = [
            Check("folds", "note", f"The {d.name} design: {d.note}.")
            for d in self.draw()
            if d.note and d.name != LEAKY
        ]
        return replace(found, scores=(*found.scores, *leaky.scores), checks=(*found.checks, *notes))

    def control(self, view: CellView) -> list[ShuffleControl]:
        """The label-shuffle control of one representation, one per clean design."""
        vectors_of = self._vectors(view)
        return [
            shuffle_control(
                vectors_of,
                self.truth_n,
                self.classes,
                design,
                rep=view.name,
                shuffles=self.shuffles,
                seed=self.seed,
            )
            for design in self.draw()
            if design.name != LEAKY
        ]

    def _answers(
        self,
        view: CellView,
        design: Design,
        vectors_of: Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.floating]],
    ) -> list[Predictions]:
        tested = [fold.test for fold in design.folds]
        given: dict[str, list[NDArray[np.float64]]] = {name: [] for name in self.classifiers}
        for fold in design.folds:
            x = vectors_of(fold.train, np.r_[fold.train, fold.test])
            space = TrainingSpace.of(x[fold.train], name=f"the vectors of {view.name}")
            for name in self.classifiers:
                fitted = fit_state_classifier(
                    name,
                    space,
                    self.truth_n[fold.train],
                    self.classes,
                    groups_n=self.cohort.unit_n[fold.train],
                    seed=self.seed,
                )
                answer = fitted.probability(x[fold.test])
                given[name].append(self._at_common_shares(answer, fold.train))
        rows = np.concatenate(tested)
        order = np.argsort(self.cohort.cell_names_n[rows], kind="stable")
        rows = rows[order]
        fold_m = np.repeat(np.arange(len(tested)), [len(t) for t in tested])[order]
        seen = worst_seen(
            view.seen_n[rows], name=view.name, where=f"that the {design.name} design holds out"
        )
        out = []
        for name, parts in given.items():
            probability_mk = np.concatenate(parts)[order]
            out.append(
                Predictions(
                    task=f"{self.name}:{self.question}",
                    rep=f"{view.name} + {name}",
                    model=name,
                    split=design.name,
                    fold_unit=design.fold_unit,
                    classes=self.classes,
                    rows_m=rows,
                    truth_m=self.truth_n[rows],
                    predicted_m=probability_mk.argmax(axis=1),
                    probability_mk=probability_mk,
                    unit_m=self._units(design.unit)[rows],
                    unit=design.unit,
                    fold_m=fold_m,
                    seen=seen,
                    baseline=view.baseline,
                )
            )
        return out

    def _at_common_shares(
        self, probability_mk: NDArray[np.float64], train: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Probabilities as if every fold had learned from the cohort's shares of the classes.

        Whole donors leave other shares for every fold: what they hold more of the others lack, so
        that answers of no skill, ranked over all folds, would score below chance.
        """
        k = len(self.classes)
        share_k = np.bincount(self.truth_n, minlength=k) / len(self.truth_n)
        learned_k = np.bincount(self.truth_n[train], minlength=k) / len(train)
        ratio_k = np.divide(share_k, learned_k, out=np.zeros(k), where=learned_k > 0)
        out = probability_mk * ratio_k
        total_m = out.sum(axis=1, keepdims=True)
        return np.divide(out, total_m, out=probability_mk.copy(), where=total_m > 0)

    def _units(self, unit: str) -> NDArray[np.str_]:
        if self.cohort.donor_n is not None and unit == self.cohort.donor_name:
            return self.cohort.donor_n
        return self.cohort.cell_names_n if unit == "cells" else self.cohort.base_n

    def _vectors(
        self, view: CellView
    ) -> Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.floating]]:
        names_n = self.cohort.cell_names_n
        if not np.array_equal(np.asarray(view.obs.index, dtype=np.str_), names_n):
            raise DataError(
                f"the view of {view.name} has {len(view.obs)} cells that are not the "
                f"{len(names_n)} cells of the task in their order"
            )

        def vectors_of(
            fit_rows: NDArray[np.int64], used: NDArray[np.int64]
        ) -> NDArray[np.floating]:
            x = np.asarray(view.vectors(fit_rows))
            return checked_vectors(x, name=view.name, n_cells=len(names_n), rows=used)

        return vectors_of


def fast_answer(task: DiseaseState, view: CellView) -> list[Predictions]:
    """Answers by logistic regression alone: what the many cohorts of a control are asked with."""
    return replace(task, classifiers=(FAST,)).predict(view)
