"""The controls of a disease test: cohorts made anew, each asked with logistic regression."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.evaluation.disease_classifiers import FAST
from cellwright.evaluation.disease_controls import (
    METRIC,
    DosePoint,
    LeakRow,
    NullControl,
    SetControl,
    leak_rows,
    measured,
    null_control,
    quick_value,
)
from cellwright.evaluation.disease_designs import CROSS, HOLDOUT, LEAKY
from cellwright.evaluation.disease_state import QUESTIONS, DiseaseState, fast_answer
from cellwright.evaluation.gene_set_controls import RandomSets, gene_traits, random_sets
from cellwright.interfaces import Predictions
from cellwright.perturbation.disease import NORMAL
from cellwright.representations.expression import log_normalized
from cellwright.workflows.disease_cohorts import BaseCells, Simulation, new_cohort
from cellwright.workflows.disease_views import ControlViews

log = logging.getLogger("cellwright.workflows.disease")

NULL_COHORTS = 10
DOSES = (0.25, 0.5, 1.0, 2.0)
LEAK_CLASSIFIERS = (FAST, "network-252")

Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Controls:
    """What the controls found, and how well the random sets match."""

    sets: tuple[SetControl, ...] = ()
    matches: Mapping[str, dict[str, Any]] | None = None
    nulls: tuple[NullControl, ...] = ()
    doses: tuple[DosePoint, ...] = ()
    leak: tuple[LeakRow, ...] = ()
    leak_note: str = ""


@dataclass(frozen=True)
class Bench:
    """All that a control needs: base cells, how they were simulated, and who answers."""

    base: BaseCells
    simulation: Simulation
    donor_b: NDArray[np.str_] | None
    donor_name: str
    views: ControlViews
    folds: int
    test_share: float
    seed: int
    progress: Progress | None = None

    def answers(self, design: str, **how: Any) -> Iterator[Predictions]:
        """One cohort, asked whether cells are perturbed, one answer per representation."""
        how = {"seed": self.simulation.settings.seed, **how}
        subject, cohort, programs = new_cohort(
            self.base, self.simulation, self.donor_b, self.donor_name, **how
        )
        task = self.task(cohort, design)
        for view in self.views.views(subject, programs):
            yield from fast_answer(task, view)

    def task(self, cohort: Any, *designs: str, **how: Any) -> DiseaseState:
        return DiseaseState(
            cohort,
            normal=NORMAL,
            designs=designs,
            folds=self.folds,
            test_share=self.test_share,
            seed=self.seed,
            **how,
        )

    def values(self, design: str, **how: Any) -> dict[str, float]:
        """The AUC of every representation on one cohort."""
        return {_bare(a): quick_value(a) for a in self.answers(design, **how)}


def all_controls(bench: Bench, n_sets: int, *, leak: bool = True) -> Controls:
    """Random sets, fold 1, doses and (with ``leak``) the split of copies, in this order."""
    doses = sorted({*DOSES, *bench.simulation.settings.doses})
    steps = _Steps(bench.progress, 1 + 2 * n_sets + NULL_COHORTS + len(doses) + int(leak))
    sets, matches = _set_controls(bench, n_sets, steps) if n_sets else ((), None)
    nulls = _nulls(bench, steps)
    points = []
    for dose in doses:
        steps.next(f"dose {dose:g}")
        for a in bench.answers(CROSS, dose=dose):
            points.append(_point(a, dose))
    steps.next("dose 0")
    for a in bench.answers(CROSS, dose=0.0):
        points.append(_point(a, 0.0))
    rows, note = _leak(bench, steps) if leak else ((), "")
    steps.done()
    return Controls(sets, matches, nulls, tuple(points), rows, note)


class _Steps:
    def __init__(self, progress: Progress | None, whole: int) -> None:
        self._progress, self._whole, self._at = progress, whole, 0

    def next(self, what: str) -> None:
        if self._progress is not None:
            self._progress(min(self._at, self._whole), self._whole, what)
        self._at += 1

    def done(self) -> None:
        if self._progress is not None:
            self._progress(self._whole, self._whole, "")


def _set_controls(
    bench: Bench, n_sets: int, steps: _Steps
) -> tuple[tuple[SetControl, ...], dict[str, dict[str, Any]]]:
    steps.next("the set itself")
    own = bench.values(HOLDOUT)
    columns = [program.columns for program in bench.simulation.programs]
    traits = gene_traits(bench.base.counts_ng)
    values_ng = log_normalized(bench.base.counts_ng)
    found, matches = [], {}
    for kind in ("matched", "coexpressed"):
        drawn = random_sets(
            values_ng,
            traits,
            columns,
            n_sets,
            coexpressed=kind == "coexpressed",
            seed=bench.seed + int(kind == "coexpressed"),
        )
        matches[kind] = _match(drawn)
        rows = []
        for number, sets in enumerate(drawn.sets):
            steps.next(f"random set {number + 1} of {n_sets}, {kind}")
            rows.append(bench.values(HOLDOUT, sets=sets))
        for rep, value in own.items():
            found.append(SetControl(rep, kind, METRIC, value, np.array([r[rep] for r in rows])))
    return tuple(found), matches


def _match(drawn: RandomSets) -> dict[str, Any]:
    low, middle, high = np.quantile(drawn.coexpression_m, [0.05, 0.5, 0.95])
    return {
        "gap": drawn.gap,
        "gap_without_matching": drawn.unmatched,
        "coexpression": drawn.coexpression,
        "coexpression_of_sets": {"low": low, "median": middle, "high": high},
    }


def _nulls(bench: Bench, steps: _Steps) -> tuple[NullControl, ...]:
    values: dict[str, list[float]] = {}
    for number in range(NULL_COHORTS):
        steps.next(f"fold 1, cohort {number + 1} of {NULL_COHORTS}")
        # Each cohort gives the cells other states, and is split anew.
        drawn = replace(bench, seed=bench.seed + number)
        for rep, value in drawn.values(HOLDOUT, dose=0.0, seed=1000 + number).items():
            values.setdefault(rep, []).append(value)
    return tuple(null_control(rep, found) for rep, found in values.items())


def _point(a: Predictions, dose: float) -> DosePoint:
    found = measured(a)[METRIC]
    ends = found.interval
    return DosePoint(_bare(a), dose, METRIC, found.value, ends.low, ends.high, found.chance)


def _leak(bench: Bench, steps: _Steps) -> tuple[tuple[LeakRow, ...], str]:
    steps.next("copies on both sides")
    subject, cohort, programs = new_cohort(
        bench.base,
        bench.simulation,
        bench.donor_b,
        bench.donor_name,
        paired=True,
        seed=bench.simulation.settings.seed,
    )
    clean: list[Predictions] = []
    leaky: list[Predictions] = []
    note = ""
    for view in bench.views.views(subject, programs):
        for question in QUESTIONS[: 1 + int(len(cohort.classes) > 2)]:
            task = bench.task(
                cohort, HOLDOUT, LEAKY, question=question, classifiers=LEAK_CLASSIFIERS
            )
            note = next(d.note for d in task.draw() if d.name == LEAKY)
            for a in task.predict(view):
                (leaky if a.split == LEAKY else clean).append(a)
    made = f"{len(base_names(cohort.base_n)):,} base cells in {len(cohort.classes)} states each"
    return tuple(leak_rows(clean, leaky, seed=bench.seed)), f"{made}; {note}"


def base_names(base_n: Sequence[str] | NDArray[np.str_]) -> NDArray[np.str_]:
    """The different base cells."""
    return np.unique(np.asarray(base_n, dtype=np.str_))


def _bare(a: Predictions) -> str:
    return a.rep.removesuffix(f" + {a.model}")
