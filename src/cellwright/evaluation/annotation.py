"""The annotation task: can a linear probe read the label off the vectors of held-out cells?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.errors import DataError, SettingsError
from cellwright.evaluation.answer_checks import probe_checks, require_classes
from cellwright.evaluation.class_scores import measure_classes
from cellwright.evaluation.comparison import Judgement, Measure, judge, score
from cellwright.evaluation.folds import Design, given_split, grouped_folds, random_holdout
from cellwright.evaluation.probe import Probe, Standardized
from cellwright.evaluation.seen import worst_seen
from cellwright.evaluation.shuffling import ShuffleControl, VectorsOf, shuffle_control
from cellwright.evaluation.vectors import checked_vectors
from cellwright.interfaces import CellView, Check, Predictions, Score

DESIGNS = ("grouped", "random", "given")


@dataclass(frozen=True)
class Annotation:
    """Task: predict a label of cells with a logistic-regression probe.

    Every representation answers for the same held-out cells with the same probe. The default
    designs are whole groups held out (where there are groups), which is what generalises, and the
    published protocol's random 80/20 beside it.

    Parameters
    ----------
    label_codes_n
        Index of each cell's class in ``classes``, -1 for a cell that takes no part.
    classes
        Names of the classes (at least two in use).
    cell_names_n
        ``obs_names``; must equal the index of every view's ``obs``. Cells are drawn by name, so
        their order does not matter.
    groups_n, group_name
        What is held out whole (library, donor) and its column name; None if there is none.
    split_n
        ``obs["split"]`` (train, val, test), needed by the design ``given``.
    designs
        Any of ``grouped``, ``random``, ``given``. None: ``grouped`` if there are groups, and
        ``random``.
    unseen_n
        True where a cell may take part in ``grouped`` and ``random`` folds: the cells that no
        representation in the comparison has been trained on. None: all.
    positive
        Class whose F1 is scored.
    label
        Name of the label column, for messages.
    class_weight
        ``balanced`` (every class weighs the same in training) or None.
    C
        Inverse strength of the L2 penalty.
    resamples, shuffles
        Bootstrap resamples of an interval; permutations of the control.
    """

    name: ClassVar[str] = "annotation"
    needs: ClassVar[Literal["cells", "genes", "candidates", "finetune"]] = "cells"
    model: ClassVar[str] = "logistic-regression"

    label_codes_n: NDArray[np.int64]
    classes: Sequence[str]
    cell_names_n: NDArray[np.str_]
    groups_n: NDArray[np.str_] | None = None
    group_name: str = "groups"
    split_n: NDArray[np.str_] | None = None
    designs: Sequence[str] | None = None
    unseen_n: NDArray[np.bool_] | None = None
    positive: str | None = None
    label: str = "label"
    class_weight: str | None = "balanced"
    C: float = 1.0
    folds: int = 5
    test_share: float = 0.2
    seed: int = 0
    resamples: int = 2000
    shuffles: int = 20

    def draw(self) -> list[Design]:
        """The designs with their folds (positions into all cells). Deterministic.

        Raises
        ------
        DataError
            With fewer than two classes, one cell in a class, duplicate cell names, or a design that
            the data do not allow.
        SettingsError
            For an unknown design, or a positive class that is not among the classes.
        """
        wanted = self.designs
        if wanted is None:
            wanted = ("random",) if self.groups_n is None else ("grouped", "random")
        self._require_sound(wanted)
        classes = tuple(self.classes)
        codes_n = self.label_codes_n
        inside_n = codes_n if self.unseen_n is None else np.where(self.unseen_n, codes_n, -1)
        drawn = []
        for design in wanted:
            if design == "grouped" and self.groups_n is not None:
                drawn.append(
                    grouped_folds(
                        inside_n,
                        self.groups_n,
                        group_name=self.group_name,
                        folds=self.folds,
                        seed=self.seed,
                        classes=classes,
                    )
                )
            elif design == "random":
                drawn.append(
                    random_holdout(
                        inside_n,
                        self.cell_names_n,
                        test_share=self.test_share,
                        seed=self.seed,
                        classes=classes,
                    )
                )
            elif self.split_n is not None:
                drawn.append(
                    given_split(
                        codes_n,
                        self.split_n,
                        groups_n=self.groups_n,
                        group_name=self.group_name,
                        classes=classes,
                    )
                )
        return drawn

    def predict(self, view: CellView) -> list[Predictions]:
        """Answers for the held-out cells, one ``Predictions`` per design.

        Rows are in the order of cell names; ``fitted`` holds the probe of each fold. ``seen`` is
        the worst of the held-out cells.

        Raises
        ------
        DataError
            If the view is about other cells, its vectors are not finite, or it has been trained on
            the labels of held-out cells.
        """
        designs = self.draw()
        vectors_of = self._vectors(view)
        return [self._answer(view, design, vectors_of) for design in designs]

    def score(self, answers: Predictions, rivals: Sequence[Predictions]) -> list[Score]:
        """All metrics of ``answers`` with intervals and the paired difference to the best of ``rivals``."""
        return score(answers, rivals, self._measure(), resamples=self.resamples, seed=self.seed)

    def judge(self, answers: Sequence[Predictions]) -> Judgement:
        """Score many representations and designs at once, with sentences and checks.

        The headline metric is accuracy, as in the published protocol.
        """
        found = judge(answers, self._measure(), resamples=self.resamples, seed=self.seed)
        checks = [
            Check("folds", "note", f"The {d.name} design has {d.note}.")
            for d in self.draw()
            if d.note
        ]
        checks += [c for a in answers for c in probe_checks(a)]
        return replace(found, checks=(*found.checks, *checks))

    def control(self, view: CellView) -> list[ShuffleControl]:
        """The label-shuffle control of one representation, one per design."""
        vectors_of = self._vectors(view)
        return [
            shuffle_control(
                vectors_of,
                self.label_codes_n,
                tuple(self.classes),
                design,
                rep=view.name,
                shuffles=self.shuffles,
                seed=self.seed,
                C=self.C,
                class_weight=self.class_weight,
            )
            for design in self.draw()
        ]

    def fit_all(self, view: CellView) -> Probe:
        """The final probe: fitted on every labelled cell; what ``probe.npz`` keeps."""
        rows = np.flatnonzero(self.label_codes_n >= 0)
        x = self._vectors(view)(rows, rows)
        return Standardized(x[rows], name=view.name).fit(
            self.label_codes_n[rows], tuple(self.classes), C=self.C, class_weight=self.class_weight
        )

    def _answer(self, view: CellView, design: Design, vectors_of: VectorsOf) -> Predictions:
        classes = tuple(self.classes)
        tested, probability, fold_of, probes = [], [], [], []
        for number, fold in enumerate(design.folds):
            x = vectors_of(fold.train, np.r_[fold.train, fold.test])
            probe = Standardized(x[fold.train], name=view.name).fit(
                self.label_codes_n[fold.train],
                classes,
                C=self.C,
                class_weight=self.class_weight,
            )
            probes.append(probe)
            tested.append(fold.test)
            probability.append(probe.probability(x[fold.test]))
            fold_of.append(np.full(len(fold.test), number))
        rows = np.concatenate(tested)
        order = np.argsort(self.cell_names_n[rows], kind="stable")
        rows = rows[order]
        probability_mk = np.concatenate(probability)[order]
        units_n = self.groups_n if design.unit != "cells" else self.cell_names_n
        return Predictions(
            task=self.name,
            rep=view.name,
            model=self.model,
            split=design.name,
            fold_unit=design.fold_unit,
            classes=classes,
            rows_m=rows,
            truth_m=self.label_codes_n[rows],
            predicted_m=probability_mk.argmax(axis=1),
            probability_mk=probability_mk,
            unit_m=np.asarray(units_n)[rows].astype(np.str_),
            unit=design.unit,
            fold_m=np.concatenate(fold_of)[order],
            seen=worst_seen(
                view.seen_n[rows], name=view.name, where=f"that the {design.name} design holds out"
            ),
            baseline=view.baseline,
            fitted=tuple(probes),
        )

    def _vectors(self, view: CellView) -> VectorsOf:
        if not np.array_equal(np.asarray(view.obs.index, dtype=np.str_), self.cell_names_n):
            raise DataError(
                f"the view of {view.name} has {len(view.obs)} cells that are not the "
                f"{len(self.cell_names_n)} cells of the task in their order"
            )
        kept: list[NDArray[np.floating]] = []

        def vectors_of(
            fit_rows: NDArray[np.int64], used: NDArray[np.int64]
        ) -> NDArray[np.floating]:
            # What is not refitted has the same vectors in every fold.
            x = kept[0] if kept else np.asarray(view.vectors(fit_rows))
            if not kept and not view.refitted_per_fold:
                kept.append(x)
            return checked_vectors(x, name=view.name, n_cells=len(self.cell_names_n), rows=used)

        return vectors_of

    def _measure(self) -> Measure:
        return partial(measure_classes, positive=self.positive)

    def _require_sound(self, designs: Sequence[str]) -> None:
        for design in designs:
            if design not in DESIGNS:
                raise SettingsError(
                    f"unknown design {design!r}; did you mean {nearest(design, DESIGNS) or 'grouped'!r}? "
                    f"({', '.join(DESIGNS)})"
                )
        if "grouped" in designs and self.groups_n is None:
            raise SettingsError("the design 'grouped' needs a grouping column, and none was given")
        if "given" in designs and self.split_n is None:
            raise SettingsError("the design 'given' needs the split of the cells; run split first")
        if self.positive is not None and self.positive not in self.classes:
            raise SettingsError(
                f"the positive class {self.positive!r} is not a class of {self.label!r}: "
                f"{', '.join(map(repr, self.classes))}"
            )
        require_classes(self.label_codes_n, self.classes, self.label)
        names, counts = np.unique(self.cell_names_n, return_counts=True)
        if len(names) < len(self.cell_names_n):
            twice = str(names[counts > 1][0])
            raise DataError(
                f"{int((counts > 1).sum())} cell names stand for more than one cell, {twice!r} first; "
                "make the names unique with cellwright unique, so that cells can be told apart"
            )
