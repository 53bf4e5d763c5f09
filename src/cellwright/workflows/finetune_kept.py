"""The fine-tuned run that is kept: which cells it learns from, and a picture of the others."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.data.split import PARTS
from cellwright.representations.finetuned import Base, FinetunedRun, finetuned_run, new_classifier
from cellwright.training.finetuning import FittedCellClassifier, finetune_cells
from cellwright.workflows.finetune_methods import FINETUNED, FROZEN, Contest, carve
from cellwright.workflows.labels import Labels
from cellwright.workflows.pictures import Picture, picture
from cellwright.workflows.projections import narrowed

FEWEST_PICTURED = 20


def kept_run(
    contest: Contest, labels: Labels, seen_n: NDArray[np.str_], *, name: str, loaded: Base
) -> tuple[FinetunedRun, dict[str, Any], FittedCellClassifier]:
    """The run to keep: fitted on train cells, stopped on validation cells, asked about test cells."""
    settings, codes_n = contest.settings, labels.codes_n
    parts_n, how = _parts(contest, labels, seen_n)
    train, val, test = (np.flatnonzero((parts_n == part) & (codes_n >= 0)) for part in PARTS)
    model = new_classifier(loaded, len(labels.classes), settings.head_dropout)
    fitted = finetune_cells(model, contest.tokens, codes_n, train, val, settings)
    right = None
    if len(test):
        probability_mk = fitted.probability(contest.tokens, test)
        right = float((probability_mk.argmax(axis=1) == codes_n[test]).mean())
    used = np.flatnonzero(parts_n != "")
    made = finetuned_run(
        loaded,
        fitted,
        contest.subject.slim[used],
        parts_n[used],
        classes=labels.classes,
        label=labels.column,
        name=name,
        assume_counts=contest.subject.assume_counts,
    )
    facts = {
        "parts": how,
        "train": len(train),
        "val": len(val),
        "test": len(test),
        "best_epoch": fitted.best_epoch,
        "parameters_trained": fitted.trained,
        "seconds": fitted.seconds,
        "test_accuracy": right,
        "picture_rows": test,
    }
    return made, facts, fitted


def _parts(
    contest: Contest, labels: Labels, seen_n: NDArray[np.str_]
) -> tuple[NDArray[np.str_], str]:
    """train, val, test per labelled cell, empty for the others: the file's split, else the cells
    the pretrained run has not seen as test, else a fifth held back."""
    obs, seed, groups_n = contest.subject.cells.obs, contest.settings.seed, contest.groups_n
    rows = np.flatnonzero(labels.codes_n >= 0)
    parts_n = np.full(len(obs), "", dtype="<U5")
    classes = len(labels.classes)

    def whole(chosen: NDArray[np.int64]) -> bool:
        return len(np.unique(labels.codes_n[chosen])) == classes

    if "split" in obs.columns and set(obs["split"].astype(str)) <= set(PARTS):
        given_n = obs["split"].astype(str).to_numpy()
        if whole(rows[given_n[rows] == "train"]) and (given_n[rows] == "val").any():
            parts_n[rows] = given_n[rows]
            return parts_n, "the split of the file"
    clean = rows[seen_n[rows] == "clean"]
    rest = rows[seen_n[rows] != "clean"]
    how = "a fifth of the cells held back"
    if len(clean) >= FEWEST_PICTURED and len(rest) and whole(clean) and whole(rest):
        learn, test, how = rest, clean, "the cells the pretrained run has not seen held back"
    else:
        learn, test, _ = carve(rows, labels.codes_n, groups_n, 0.2, seed)
        test = test if len(learn) < len(rows) else rows[:0]
    train, val, _ = carve(learn, labels.codes_n, groups_n, contest.settings.val, seed + 1)
    parts_n[test] = "test"
    parts_n[train] = "train"
    if len(train) < len(learn):
        parts_n[val] = "val"
    return parts_n, how


def pictures(
    contest: Contest, run: FinetunedRun, labels: Labels, rows_m: NDArray[np.int64]
) -> dict[str, Picture]:
    """UMAP of the vectors before and after, of cells whose labels the run was not given."""
    if len(rows_m) < FEWEST_PICTURED:
        return {}
    subject = contest.subject
    after_nd = run.transform(subject.slim, assume_counts=subject.assume_counts)
    return {
        which: picture(
            which,
            narrowed(vectors_nd[rows_m]),
            labels.class_n[rows_m],
            "umap",
            seed=contest.settings.seed,
        )
        for which, vectors_nd in ((FROZEN, contest.frozen_nd), (FINETUNED, after_nd))
    }
