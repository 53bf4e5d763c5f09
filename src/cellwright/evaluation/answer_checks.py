"""What must hold of labels before a probe, and what must be said of probes after."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.evaluation.probe import Probe
from cellwright.interfaces import Check, Predictions


def require_classes(label_codes_n: NDArray[np.int64], classes: Sequence[str], label: str) -> None:
    """Refuse labels that cannot be learned: fewer than two classes, or one cell in a class.

    Raises
    ------
    DataError
        Naming the column and the class.
    """
    size_k = np.bincount(label_codes_n[label_codes_n >= 0], minlength=len(classes))
    used = [int(c) for c in np.flatnonzero(size_k)]
    if len(used) < 2:
        given = f"one class, {str(classes[used[0]])!r}" if len(used) else "no labelled cell"
        raise DataError(
            f"the label {label!r} has {given} among {len(label_codes_n)} cells; "
            "at least two classes are needed"
        )
    lonely = [repr(str(classes[c])) for c in used if size_k[c] == 1]
    if lonely:
        raise DataError(
            f"class {', '.join(lonely[:5])} of the label {label!r} has 1 cell, and at least 2 are "
            "needed, one to learn from and one to test; merge it with another class or leave it out"
        )


def probe_checks(answers: Predictions) -> list[Check]:
    """Warnings about the probes behind some answers: not converged, or a class never learned."""
    probes = [p for p in answers.fitted if isinstance(p, Probe)]
    stopped = sum(not p.converged for p in probes)
    checks = []
    if stopped:
        checks.append(
            Check(
                "convergence",
                "warning",
                f"The probe of {answers.rep} stopped before its optimum in {stopped} of {len(probes)} "
                f"folds of the {answers.split} design.",
                "Use a smaller C, or fewer dimensions.",
            )
        )
    unlearned = np.zeros(len(answers.classes), dtype=np.int64)
    for fold, probe in enumerate(probes):
        absent = ~np.isfinite(probe.intercept_k)
        absent &= np.isin(np.arange(len(answers.classes)), answers.truth_m[answers.fold_m == fold])
        unlearned += absent
    if unlearned.any() and answers.baseline is False:
        names = ", ".join(repr(answers.classes[int(c)]) for c in np.flatnonzero(unlearned))
        checks.append(
            Check(
                "unlearned-class",
                "warning",
                f"In the {answers.split} design {names} is held out whole in a fold, so no "
                "representation can name its cells there.",
                f"Use another {answers.fold_unit!r}, or leave these classes out.",
            )
        )
    return checks
