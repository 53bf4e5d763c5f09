"""How much of a label can be read off the batch alone, before any model is trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from cellwright.data.split import group_columns
from cellwright.interfaces import Check


@dataclass(frozen=True)
class Confounding:
    """How well the group of a cell gives away its label.

    accuracy: share of cells whose label is the commonest among the *other* cells of their group,
    ties counted in part; in [0, 1], higher is more confounded. majority: share of the largest
    class. one_class: groups of two cells or more that hold a single class. n_groups: groups of
    two cells or more.
    """

    accuracy: float
    majority: float
    one_class: int
    n_groups: int

    @property
    def strong(self) -> bool:
        """The group closes at least half of the way from the largest class to certainty."""
        return self.majority < 1 and self.accuracy - self.majority >= 0.5 * (1 - self.majority)


def confounding(labels: pd.Series, groups: pd.Series) -> Confounding:
    """Measure it by leaving out one cell at a time, so that small groups get no credit for chance.

    A cell alone in its group is guessed from the largest class. Cells without label or group are
    left out.

    Parameters
    ----------
    labels, groups
        One value per cell, in the same order.
    """
    known = (labels.notna() & groups.notna()).to_numpy()
    codes_n, classes = pd.factorize(labels.to_numpy()[known])
    groups_n, names = pd.factorize(groups.to_numpy()[known])
    if not len(codes_n):
        return Confounding(0.0, 1.0, 0, 0)
    counts_gk = np.zeros((len(names), len(classes)))
    np.add.at(counts_gk, (groups_n, codes_n), 1.0)
    all_k = counts_gk.sum(axis=0)
    hits = 0.0
    for k in range(len(classes)):
        others_gk = counts_gk.copy()
        others_gk[:, k] -= 1
        best_g = others_gk.max(axis=1)
        ties_g = (others_gk == best_g[:, None]).sum(axis=1)
        right_g = np.where(others_gk[:, k] == best_g, 1.0 / ties_g, 0.0)
        right_g = np.where(best_g > 0, right_g, float(all_k.argmax() == k))
        hits += float(counts_gk[:, k] @ right_g)
    shared = counts_gk.sum(axis=1) > 1
    return Confounding(
        accuracy=hits / len(codes_n),
        majority=float(all_k.max() / all_k.sum()),
        one_class=int(((counts_gk > 0).sum(axis=1) == 1)[shared].sum()),
        n_groups=int(shared.sum()),
    )


def check_confounding(obs: pd.DataFrame, label: str, by: str | None) -> list[Check]:
    """What each grouping column of ``obs`` gives away of ``label``; a warning where it is much."""
    checks = []
    columns = group_columns(obs)
    if by is not None and by not in columns:
        columns = [by, *columns]
    for column in columns:
        if column == label:
            continue
        found = confounding(obs[label], obs[column])
        if found.accuracy <= found.majority:
            told = (
                f"{column} tells no more of {label} than the largest class ({found.majority:.3f})."
            )
            checks.append(Check("label-confounded", "note", told))
            continue
        numbers = (
            f"{column} alone names {label} for {found.accuracy:.3f} of the cells (largest class: "
            f"{found.majority:.3f}; {found.one_class} of {found.n_groups} groups of two cells or "
            "more hold one class)"
        )
        if found.strong:
            checks.append(
                Check(
                    "label-confounded",
                    "warning",
                    f"{numbers}: a model that knows the batch knows much of the answer.",
                    "hold out whole groups and put the technical baselines beside every score",
                )
            )
        else:
            checks.append(Check("label-confounded", "note", f"{numbers}."))
    return checks
