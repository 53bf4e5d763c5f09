"""Is the test set large enough, and does it hold every class?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.interfaces import Check

MIN_TEST = 100
MIN_UNITS = 6
MIN_CLASS = 5


def check_classes(parts_n: NDArray[np.str_], labels: pd.Series) -> list[Check]:
    """Classes that a part lacks (warning), or of which test has fewer than five cells (note)."""
    table = pd.crosstab(labels.astype(object), parts_n)
    present = [part for part in ("train", "val", "test") if (parts_n == part).any()]
    table = table.reindex(columns=present, fill_value=0)
    checks = []
    for part in present:
        missing = [str(c) for c in table.index[table[part] == 0]]
        if missing:
            checks.append(
                Check(
                    "classes-missing",
                    "warning",
                    f"{len(missing)} of {len(table)} classes of {labels.name} have no cell in "
                    f"{part} ({some(missing)}).",
                    "leave these classes out, or split by a unit that has them on every side",
                )
            )
    if "test" in present:
        few = table["test"][(table["test"] > 0) & (table["test"] < MIN_CLASS)]
        if len(few):
            told = [f"{name}: {count}" for name, count in few.items()]
            checks.append(
                Check(
                    "classes-small",
                    "note",
                    f"{len(few)} classes of {labels.name} have fewer than {MIN_CLASS} test cells "
                    f"({some(told)}); their recall is hardly known.",
                )
            )
    if not checks:
        checks.append(
            Check(
                "classes-missing",
                "note",
                f"All {len(table)} classes of {labels.name} are in {', '.join(present)}.",
            )
        )
    return checks


def check_size(parts_n: NDArray[np.str_], obs: pd.DataFrame, by: str | None) -> list[Check]:
    """A test set of under 100 cells (warning), or under six groups (note)."""
    n_test = int((parts_n == "test").sum())
    if n_test == 0:
        return [Check("test-size", "warning", "No cell is in test: nothing can be scored on it.")]
    checks = []
    if n_test < MIN_TEST:
        checks.append(
            Check(
                "test-size",
                "warning",
                f"Test holds {n_test} cells: an accuracy near one half is known only to "
                f"± {0.98 / np.sqrt(n_test):.2f}.",
                f"hold out at least {MIN_TEST} cells, or use cross-validation over groups",
            )
        )
    if by is not None:
        units = obs[by][parts_n == "test"].nunique()
        if units < MIN_UNITS:
            checks.append(
                Check(
                    "test-units",
                    "note",
                    f"Groups of {by} in test: {units}; an interval over groups needs "
                    f"{MIN_UNITS}, so scores are listed group by group.",
                )
            )
    return checks


def some(names: Sequence[str]) -> str:
    """The first three of ``names``, and a sign that there are more."""
    return ", ".join(str(n) for n in names[:3]) + (" …" if len(names) > 3 else "")
