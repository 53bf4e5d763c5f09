"""What fine-tuning found, in sentences and checks beside the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.evaluation.annotation import Annotation
from cellwright.evaluation.comparison import Difference
from cellwright.evaluation.folds import Design
from cellwright.evaluation.sentences import standing
from cellwright.interfaces import Check
from cellwright.workflows.designs import Exam, check_designs
from cellwright.workflows.finetune_methods import FINETUNED, FoldAnswer
from cellwright.workflows.labels import Labels
from cellwright.workflows.subject import Subject


def beside_frozen(differences: Sequence[Difference]) -> list[str]:
    """What fine-tuning added to the run as it came: no verdict on simple methods."""
    said = []
    for gap in differences:
        if gap.metric != "accuracy":
            continue
        said.append(
            f"{gap.rep} is {standing(gap.low, gap.high)} the same run frozen, {gap.rival}: difference in accuracy "
            f"{gap.value:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]."
        )
    return said


def notes(
    given: Mapping[str, list[FoldAnswer]], design: Design, final: Mapping[str, Any]
) -> list[str]:
    counted: dict[str, int] = {}
    for answers in given.values():
        for note in (n for a in answers for n in a.notes):
            counted[note] = counted.get(note, 0) + 1
    folds = len(design.folds)
    lines = [f"{note} (in {n} of {folds} folds)." for note, n in counted.items()]
    unchanged = sum(a.chosen["epoch"] == 0 for a in given[FINETUNED])
    if unchanged:
        lines.append(
            f"In {unchanged} of {folds} folds no epoch of fine-tuning was better on validation "
            "cells than a linear head on the untouched encoder, which was taken."
        )
    right = final["test_accuracy"]
    told = "" if right is None else f", which names {right:.3f} of {final['test']} held-out cells"
    lines.append(
        f"The run that is kept learned from {final['train']} cells and stopped at epoch "
        f"{final['best_epoch']} by {final['val']} others ({final['parts']}){told}."
    )
    return lines


def leaks(
    subject: Subject,
    labels: Labels,
    design: Design,
    groups_n: NDArray[np.str_] | None,
    column: str | None,
) -> list[Check]:
    task = Annotation(
        label_codes_n=labels.codes_n,
        classes=labels.classes,
        cell_names_n=np.asarray(subject.cells.obs.index, dtype=np.str_),
        groups_n=groups_n,
        group_name=column or "groups",
        label=labels.column,
    )
    checks = check_designs(Exam((task,), (design,), column, None, ()), subject, labels)
    if design.note:
        checks.append(Check("folds", "note", f"The {design.name} design has {design.note}."))
    return checks
