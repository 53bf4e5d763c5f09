"""An honest test of (simulated) disease: clean folds, simple rivals, controls, and the leak beside."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.data.atomic import refuse_existing
from cellwright.errors import SettingsError
from cellwright.evaluation.comparison import Judgement
from cellwright.evaluation.disease_classifiers import STATE_CLASSIFIERS
from cellwright.evaluation.disease_controls import leak_rows
from cellwright.evaluation.disease_designs import CROSS, DESIGNS, HOLDOUT, LEAKY, Cohort
from cellwright.evaluation.disease_state import QUESTIONS, DiseaseState
from cellwright.evaluation.sentences import verdicts
from cellwright.interfaces import CellView, Check, Predictions, Score
from cellwright.representations.technical import Depth
from cellwright.workflows import disease_test_folder
from cellwright.workflows.designs import require_passed
from cellwright.workflows.disease_cells import read_cohort
from cellwright.workflows.disease_cohorts import (
    BaseCells,
    read_base,
    read_simulation,
    scored_programs,
)
from cellwright.workflows.disease_controls import Bench, Controls, Progress, all_controls
from cellwright.workflows.disease_real import RealShift, real_shift
from cellwright.workflows.disease_test_result import DiseaseTest
from cellwright.workflows.disease_views import ControlViews, disease_views
from cellwright.workflows.pictures import picture
from cellwright.workflows.projections import narrowed

log = logging.getLogger("cellwright.workflows.disease")


def disease_test(
    source: AnnData | Path | str,
    reps: str | Path | Sequence[str | Path] = ("pca",),
    *,
    state_column: str = "state",
    normal: str = "normal",
    donor: str | None = "auto",
    donor_pattern: str | None = None,
    base: AnnData | Path | str | None = None,
    up: str | None = None,
    down: str | None = None,
    classifiers: Sequence[str] = STATE_CLASSIFIERS,
    folds: int = 5,
    test_share: float = 0.3,
    controls: bool = True,
    random_sets: int = 50,
    shuffles: int = 20,
    real: AnnData | Path | str | None = None,
    real_state_column: str | None = None,
    real_normal: str | None = None,
    seed: int = 42,
    layer: str | None = None,
    assume_counts: bool = False,
    out: Path | str | None = None,
    force: bool = False,
    strict: bool = False,
    progress: Progress | None = None,
) -> DiseaseTest:
    """Ask whether states can be told apart, beside everything that could make it look so.

    Two questions (perturbed against normal; which state), three classifiers, each representation
    beside variable genes, components, the gene-set score alone and depth. No copy of a base cell
    and no donor is on both sides of a fold. For a simulated file (``disease simulate`` leaves its
    record in it) the controls follow: random gene sets, fold 1, doses, and copies on both sides.

    Parameters
    ----------
    source
        Cells with ``state_column``; ``obs["base_cell"]`` says which are copies of one cell.
    reps
        Catalog names, run folders, ``obsm:KEY`` or ``file:PATH.npy``. Controls need new cells
        embedded, so the last two have none.
    normal
        The normal state.
    donor, donor_pattern
        As in :func:`~cellwright.workflows.disease_cells.read_cohort`.
    base
        The file the cohort was simulated from: controls then use every base cell; without it they
        use the cohort's normal cells.
    up, down
        Genes of the gene-set score where the file has no record: as for ``disease simulate``.
    controls
        Whether cohorts are made anew for controls (random sets, fold 1, doses, copies).
    random_sets
        How many random sets of each of the two kinds; 0 for none.
    real, real_state_column, real_normal
        Cells with a real shift, put through the same pipeline and into the same latent space.
    progress
        Called with the steps of the controls done and to do, and what is at work.

    Raises
    ------
    DataError
        If cells, columns, donors, vectors or genes do not fit.
    SettingsError
        For an unknown representation or classifier, or ``real`` without its column.
    RunError
        If ``out`` exists.
    CheckFailed
        Under ``strict``.
    """
    if out is not None:
        refuse_existing(out, force=force)
    if random_sets < 0:
        raise SettingsError(f"random_sets is {random_sets}, expected 0 or more")
    if real is not None and (real_state_column is None or real_normal is None):
        raise SettingsError("--real needs --real-state-column and --real-normal")
    names = [str(r) for r in ([reps] if isinstance(reps, str | Path) else reps)] or ["pca"]
    subject, cohort, checks = read_cohort(
        source,
        state_column=state_column,
        normal=normal,
        donor=donor,
        donor_pattern=donor_pattern,
        layer=layer,
        assume_counts=assume_counts,
    )
    simulation = read_simulation(subject.cells.uns, subject.cells.var)
    simulated = simulation is not None and normal == "normal"
    programs = scored_programs(subject.cells.var, simulation if simulated else None, up, down)
    found_base = None
    if simulation is not None and simulated:
        found_base = read_base(subject, cohort, normal, simulation, base)
    elif base is not None:
        raise SettingsError(
            "--base is of use with a simulated file only, and this one has no record"
        )
    wanted = (*DESIGNS, LEAKY) if cohort.paired else DESIGNS
    tasks = _tasks(cohort, normal, wanted, classifiers, folds, test_share, seed, shuffles)
    # Drawn before anything is fitted; what cannot be drawn is said here.
    designs = tasks[0].draw()
    views, every = disease_views(subject, names, programs, seed=seed)
    answers = _answers(tasks, every)
    judged = [task.judge([a for a in answers if a.task.endswith(task.question)]) for task in tasks]
    asked = [view for view in every if view.name in views.asked]
    shuffled = [c for v in asked for t in tasks for c in t.control(v)] if shuffles else []
    control_views = ControlViews(names, seed)
    checked = Controls()
    if controls and simulation is not None and found_base is not None:
        bench = Bench(
            found_base,
            simulation,
            _base_donors(found_base, cohort),
            cohort.donor_name,
            control_views,
            folds,
            test_share,
            seed,
            progress,
        )
        start = time.perf_counter()
        checked = all_controls(bench, random_sets, leak=not cohort.paired)
        log.info("controls: %.1f s", time.perf_counter() - start)
    if cohort.paired:
        checked = _own_leak(checked, answers, seed, designs[-1].note)
    shift = None
    if real is not None:
        shift = real_shift(
            (subject, cohort),
            real,
            str(real_state_column),
            normals=(normal, str(real_normal)),
            reps=names,
            programs=programs,
            views=control_views,
            task=tasks[0],
            donor=donor,
            donor_pattern=donor_pattern,
        )
    pictures = {
        view.name: picture(
            view.name,
            narrowed(view.vectors(np.arange(subject.cells.n_obs))),
            np.asarray(cohort.classes)[cohort.state_codes_n],
            "umap",
            seed=seed,
        )
        for view in asked
    }
    result = DiseaseTest(
        cohort=cohort,
        normal=normal,
        designs=tuple(designs),
        answers=tuple(answers),
        scores=tuple(s for j in judged for s in j.scores),
        differences=tuple(
            (task.question, d) for task, j in zip(tasks, judged, strict=True) for d in j.differences
        ),
        checks=_unique(
            [
                *checks,
                *(c for j in judged for c in j.checks),
                *(c.check() for c in shuffled),
                *(c.check() for c in checked.nulls),
                *(shift.checks if shift else ()),
            ]
        ),
        sentences=_sentences(
            tasks,
            judged,
            views.asked,
            checked,
            shift,
            [
                *views.notes,
                *_control_notes(
                    control_views, found_base if controls else None, cohort, random_sets
                ),
            ],
        ),
        shuffled=tuple(shuffled),
        controls=checked,
        real=shift,
        pictures=pictures,
        asked=tuple(v.name for v in asked),
        simulation=simulation if simulated else None,
        seed=seed,
        folder=None if out is None else Path(out),
    )
    if out is not None:
        disease_test_folder.write(result, Path(out), force=force)
    if strict:
        require_passed(result.checks, result.folder)
    return result


def _tasks(
    cohort: Cohort,
    normal: str,
    designs: Sequence[str],
    classifiers: Sequence[str],
    folds: int,
    test_share: float,
    seed: int,
    shuffles: int,
) -> list[DiseaseState]:
    """One task per question; with one diseased state both questions are the same."""
    return [
        DiseaseState(
            cohort,
            question,
            normal,
            designs,
            classifiers,
            folds=folds,
            test_share=test_share,
            seed=seed,
            shuffles=shuffles,
        )
        for question in QUESTIONS[: 1 + int(len(cohort.classes) > 2)]
    ]


def _answers(tasks: Sequence[DiseaseState], views: Sequence[CellView]) -> list[Predictions]:
    found = []
    for view in views:
        start = time.perf_counter()
        for task in tasks:
            found += task.predict(view)
        log.info("%s: %.1f s", view.name, time.perf_counter() - start)
    return found


def _own_leak(controls: Controls, answers: Sequence[Predictions], seed: int, note: str) -> Controls:
    """The leak of a file that has its cells in several states: its own answers say it."""
    clean = [a for a in answers if a.split == HOLDOUT]
    leaky = [a for a in answers if a.split == LEAKY]
    rows = tuple(leak_rows(clean, leaky, seed=seed))
    return replace(controls, leak=rows, leak_note=f"the file's own cells; {note}")


def _base_donors(base: BaseCells, cohort: Cohort) -> NDArray[np.str_] | None:
    """The donor of every base cell, from the cohort's own cells."""
    if cohort.donor_n is None:
        return None
    donor_of = dict(zip(cohort.base_n.tolist(), cohort.donor_n.tolist(), strict=True))
    return np.array([donor_of[str(name)] for name in base.obs.index], dtype=np.str_)


def _sentences(
    tasks: Sequence[DiseaseState],
    judged: Sequence[Judgement],
    asked: Sequence[str],
    controls: Controls,
    shift: RealShift | None,
    notes: Sequence[str],
) -> tuple[str, ...]:
    lines = []
    for task, found in zip(tasks, judged, strict=True):
        scores = [s for s in found.scores if s.split == CROSS]
        best = _best_classifiers(scores)
        said = verdicts(
            [s for s in scores if s.rep in best],
            [d for d in found.differences if d.split == CROSS and {d.rep, d.rival} <= best],
            shortcuts={f"{Depth.name} + {c}": "depth alone" for c in task.classifiers},
        )
        lead = "Perturbed or normal: " if task.question == "perturbed" else "Which state: "
        lines += [lead + line for line in said]
    for row in controls.leak:
        if row.metric == "accuracy" and row.rep.rpartition(" + ")[0] in asked:
            lines.append(
                f"Copies at random: {row.rep} ({row.question}) would have claimed an accuracy of "
                f"{row.leaky:.3f}; split by base cell it is {row.clean:.3f} "
                f"(chance {row.chance or 0:.3f})."
            )
    lines += [c.sentence() for c in controls.sets if c.rep != Depth.name]
    if shift is not None:
        lines += shift.sentences
    return (*lines, *notes)


def _best_classifiers(scores: Sequence[Score]) -> set[str]:
    """Every representation with the classifier that does best by it, rivals too."""
    best: dict[str, Score] = {}
    for score in scores:
        rep = score.rep.rpartition(" + ")[0]
        if score.metric == "accuracy" and score.stratum == "all":
            best[rep] = max(best.get(rep, score), score, key=lambda s: s.value)
    return {score.rep for score in best.values()}


def _control_notes(
    views: ControlViews, base: BaseCells | None, cohort: Cohort, n_sets: int
) -> list[str]:
    notes = [
        f"{rep} holds vectors of this file's cells only, so it has no controls: name a run folder "
        "or a catalog name for those."
        for rep in views.left_out
    ]
    if base is None:
        return notes
    if not base.whole:
        notes.append(
            f"Controls are made from the {len(base.obs):,} normal cells of the cohort; with --base "
            f"FILE they would have all {len(np.unique(cohort.base_n)):,} base cells."
        )
    if 0 < n_sets < 50:
        notes.append(f"{n_sets} random sets cannot give a p below {1 / (n_sets + 1):.3f}.")
    return notes


def _unique(checks: Sequence[Check]) -> tuple[Check, ...]:
    return tuple(dict.fromkeys(checks))
