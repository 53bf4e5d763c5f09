"""Which cells a probe learns from and which it is asked about, and the checks that go with it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.split import PARTS, Split, group_columns, split_unit
from cellwright.errors import CheckFailed, DataError
from cellwright.evaluation.annotation import Annotation
from cellwright.evaluation.folds import Design
from cellwright.evaluation.leakage import check_split
from cellwright.interfaces import Check
from cellwright.workflows.labels import Labels
from cellwright.workflows.subject import Subject
from cellwright.workflows.views import Views

log = logging.getLogger("cellwright.workflows.designs")

ENOUGH_CELLS = 200
ENOUGH_IN_CLASS = 20
_OF_ONE_TEST = ("test-size", "test-units", "classes-small")
_SEVERITY = {"note": 0, "warning": 1, "failure": 2}


@dataclass(frozen=True)
class Exam:
    """The designs of a probe, the first of them the headline, each a task of its own.

    group: column held out whole, or None. split_by: column the given split kept whole.
    """

    tasks: tuple[Annotation, ...]
    designs: tuple[Design, ...]
    group: str | None
    split_by: str | None
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Settings and sizes, without the cells."""
        first = self.tasks[0]
        return {
            "headline": self.designs[0].name,
            "group": self.group,
            "class_weight": first.class_weight or "none",
            "C": first.C,
            "seed": first.seed,
            "test_share": first.test_share,
            "designs": [
                {
                    "name": d.name,
                    "fold_unit": d.fold_unit,
                    "unit": d.unit,
                    "folds": len(d.folds),
                    "train": [len(f.train) for f in d.folds],
                    "test": [len(f.test) for f in d.folds],
                    "note": d.note,
                }
                for d in self.designs
            ],
        }


def draw_exam(
    subject: Subject,
    labels: Labels,
    views: Views,
    *,
    group: str | None = "auto",
    folds: int = 5,
    class_weight: str | None = "balanced",
    seed: int = 42,
    shuffles: int = 20,
) -> Exam:
    """Draw up to three designs over the labelled cells.

    ``given``: learn from train and validation cells, answer for test cells, where
    ``obs["split"]`` says so or where a run has not seen all cells (then its unseen cells are the
    test). ``grouped``: cross-validation with whole groups held out, inside the cells no run has
    seen if they are enough, else over all. ``random``: 80/20 of single cells, as published
    protocols do it, over all cells. A cell whose label a fine-tuned run has learned is never held
    out.

    Raises
    ------
    DataError
        If the grouping column is missing, or the asked-for groups cannot be held out.
    """
    obs = subject.cells.obs
    column = group_column(obs, group, labels.column)
    groups_n = None if column is None else group_values(obs, column)
    split_n, split_by, notes = _split(subject, views)
    common: dict[str, Any] = {
        "label_codes_n": labels.codes_n,
        "classes": labels.classes,
        "cell_names_n": np.asarray(obs.index, dtype=np.str_),
        "groups_n": groups_n,
        "group_name": column or "groups",
        "positive": labels.positive,
        "label": labels.column,
        "class_weight": class_weight,
        "folds": folds,
        "seed": seed,
        "shuffles": shuffles,
    }
    wanted: dict[str, Annotation] = {}
    if split_n is not None:
        wanted["given"] = Annotation(**common, split_n=split_n, designs=("given",))
    if groups_n is not None:
        inside_n, note = _inside(labels, groups_n, views.unseen_n, folds)
        if inside_n is None and _not_learned(views) is not None:
            inside_n = _not_learned(views)
            note = "Grouped folds are drawn inside the cells whose labels no run has learned."
        notes += [note] if note else []
        wanted["grouped"] = Annotation(**common, unseen_n=inside_n, designs=("grouped",))
    outside_n = _not_learned(views)
    if outside_n is not None:
        notes.append(
            f"Random cells are held out inside the {int(outside_n.sum())} cells whose labels no run "
            "has learned."
        )
    wanted["random"] = Annotation(**common, unseen_n=outside_n, designs=("random",))
    tasks, designs = [], []
    for name, task in wanted.items():
        try:
            (design,) = task.draw()
        except DataError as error:
            # What was chosen by rule may not fit the labels; what was asked for has to.
            if name == "random" or (name == "grouped" and group != "auto"):
                raise
            notes.append(f"No {name} design: {error}.")
            continue
        tasks.append(task)
        designs.append(design)
    for note in notes:
        log.info(note)
    return Exam(tuple(tasks), tuple(designs), column, split_by, tuple(notes))


def group_column(obs: pd.DataFrame, group: str | None, label: str) -> str | None:
    """The column to hold out whole: as named, by the rule of ``split_unit`` for ``auto``, or None.

    Raises
    ------
    DataError
        If the column is missing (the nearest is named) or is the label itself.
    """
    if group in (None, "none"):
        return None
    if group == "auto":
        return batch_column(obs, None, label)
    if group not in obs.columns:
        close = nearest(str(group), map(str, obs.columns))
        known = ", ".join(map(str, obs.columns)) or "none"
        hint = f"did you mean {close!r}?" if close else f"columns: {known}"
        raise DataError(f"no grouping column {group!r} in obs: {hint}")
    if group == label:
        raise DataError(
            f"the grouping column {group!r} is the label itself: with its groups held out there is "
            "nothing to learn them from; name another with --group"
        )
    return group


def batch_column(obs: pd.DataFrame, group: str | None, label: str) -> str | None:
    """The column of the batch baselines: the groups, else what the cells would be split by."""
    return group or split_unit(obs.drop(columns=label, errors="ignore"))


def group_values(obs: pd.DataFrame, column: str) -> NDArray[np.str_]:
    """The group of each cell; a cell without one is a group of its own."""
    known = obs[column].notna().to_numpy()
    own = [f"(no {column}) {name}" for name in obs.index]
    return np.where(known, obs[column].astype(str).to_numpy(dtype=object), own).astype(np.str_)


def check_designs(exam: Exam, subject: Subject, labels: Labels) -> list[Check]:
    """The leakage checks of every design; of several folds the worst finding of each kind."""
    obs = subject.cells.obs
    rows = np.flatnonzero(labels.codes_n >= 0)
    columns = list(dict.fromkeys([*group_columns(obs), *([exam.group] if exam.group else [])]))
    table = obs[[c for c in columns if c != labels.column]].copy()
    table[labels.column] = labels.class_n
    genes_n = np.diff(subject.counts_ng.indptr)
    hashes = subject.hashes
    # Looking for copies is slow; without any among the labelled cells there is nothing to look for.
    copies = len(np.unique(hashes[rows])) < len(rows)
    found: dict[Check, list[str]] = {}
    for task, design in zip(exam.tasks, exam.designs, strict=True):
        by = None if design.unit == "cells" else design.unit
        if design.name == "given" and exam.split_by in table.columns:
            by = exam.split_by
        in_folds: dict[str, list[Check]] = {}
        for fold in design.folds:
            used = np.sort(np.concatenate([fold.train, fold.test]))
            part_n = np.full(len(obs), "train", dtype="<U5")
            if task.split_n is not None:
                part_n = task.split_n.astype("<U5")
            part_n[fold.test] = "test"
            for check in check_split(
                pd.Series(part_n[used], index=table.index[used]),
                table.iloc[used],
                hashes[used] if copies else None,
                by=by,
                label=labels.column,
                genes_n=genes_n[used] if copies else None,
            ):
                # A fold is a part of the test: its size alone warns of nothing.
                if len(design.folds) == 1 or check.name not in _OF_ONE_TEST:
                    in_folds.setdefault(check.name, []).append(check)
        if not copies:
            none = f"No two of the {len(rows)} labelled cells have the same counts."
            in_folds["duplicate-cells"] = [Check("duplicate-cells", "note", none)]
        for checks in in_folds.values():
            worst = max(checks, key=lambda check: _SEVERITY[check.severity])
            where = f"{design.name} design"
            if len(set(checks)) > 1:
                where += f", fold {checks.index(worst) + 1} of {len(design.folds)}"
            found.setdefault(worst, []).append(where)
    return [
        Check(check.name, check.severity, f"{check.sentence} ({'; '.join(where)})", check.remedy)
        for check, where in found.items()
    ]


def _split(subject: Subject, views: Views) -> tuple[NDArray[np.str_] | None, str | None, list[str]]:
    """train, val, test per cell, from ``obs["split"]`` or from what the runs have not seen."""
    obs = subject.cells.obs
    if "split" in obs.columns:
        strange = sorted({str(v) for v in obs["split"].unique()} - set(PARTS))
        if not strange:
            found = Split.from_obs(subject.cells)
            return obs["split"].astype(str).to_numpy(dtype=np.str_), found.by, []
        return (
            None,
            None,
            [
                f"obs['split'] was not used: it holds {', '.join(map(repr, strange[:3]))} where "
                f"{', '.join(PARTS)} are expected."
            ],
        )
    unseen_n = views.unseen_n
    if unseen_n is None or unseen_n.all():
        return None, None, []
    if not unseen_n.any():
        return None, None, ["Every cell was in the training of a run: no test cells are clean."]
    return np.where(unseen_n, "test", "train"), None, []


def _inside(
    labels: Labels, groups_n: NDArray[np.str_], unseen_n: NDArray[np.bool_] | None, folds: int
) -> tuple[NDArray[np.bool_] | None, str]:
    """Where grouped folds are drawn: the cells no run has seen if they are enough, else all."""
    if unseen_n is None or unseen_n.all():
        return None, ""
    rows = np.flatnonzero(unseen_n & (labels.codes_n >= 0))
    sizes_k = np.bincount(labels.codes_n[rows], minlength=len(labels.classes))
    groups = len(np.unique(groups_n[rows]))
    if len(rows) >= ENOUGH_CELLS and sizes_k.min() >= ENOUGH_IN_CLASS and groups >= folds:
        return unseen_n, f"Grouped folds are drawn inside the {len(rows)} cells no run has seen."
    return None, (
        f"Grouped folds are drawn over all cells, and runs are marked as having seen them: only "
        f"{len(rows)} labelled cells in {groups} groups are unseen, the smallest class with "
        f"{sizes_k.min()} (needed: {ENOUGH_CELLS} cells, {ENOUGH_IN_CLASS} a class, "
        f"{folds} groups)."
    )


def _not_learned(views: Views) -> NDArray[np.bool_] | None:
    """True for cells whose labels no run was fine-tuned on; None where none was."""
    learned = [view.seen_n == "seen-labelled" for view in views]
    either_n = np.logical_or.reduce(learned)
    return ~either_n if either_n.any() else None


def require_passed(checks: Sequence[Check], folder: Path | None = None) -> None:
    """What ``--strict`` asks for, once everything is written.

    Raises
    ------
    CheckFailed
        If a check is a failure; the sentence holds what each found.
    """
    failed = [check for check in checks if check.severity == "failure"]
    if failed:
        where = f" (everything is in {folder})" if folder is not None else ""
        raise CheckFailed(
            f"{len(failed)} of {len(checks)} checks failed{where}: "
            + " ".join(check.sentence for check in failed)
        )
