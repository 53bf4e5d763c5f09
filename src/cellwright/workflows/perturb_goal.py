"""The direction from one state to another, fitted on cells whose edits it does not judge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.errors import DataError, SettingsError
from cellwright.evaluation.ranking import roc_auc
from cellwright.workflows.labels import Labels, read_labels

FEWEST_CELLS = 4


@dataclass(frozen=True)
class Goal:
    """From one state to another, in a column of ``obs``."""

    column: str
    start: str
    end: str


@dataclass(frozen=True)
class Direction:
    """Two directions, each fitted on the cells or donors of the other half.

    direction_nd: for each cell that of the half it is not in, scaled so that 1 is the whole way
    from the mean of the start to the mean of the end. unit: what was halved. agreement: cosine of
    the two; auc: how well the place along the direction tells the states apart in cells that it
    was not fitted on, 0.5 by chance, 1 at best.
    """

    direction_nd: NDArray[np.float32]
    unit: str
    agreement: float
    auc: float


def read_goal(obs: pd.DataFrame, states: str | None, goal: str | None) -> Goal | None:
    """The two states named as A:B, both values of the column ``states``.

    Raises
    ------
    SettingsError, DataError
        If one is given without the other, the text is not A:B, the column is missing, or a state
        is not in it (the nearest is named).
    """
    if states is None and goal is None:
        return None
    if states is None:
        raise SettingsError(
            f"the goal {goal!r} needs the column of obs that holds the states; say --states COLUMN"
        )
    if goal is None:
        raise SettingsError(
            f"the states are in {states!r}, but no goal was given; say --goal STATE_A:STATE_B"
        )
    labels = read_labels(obs, states, min_cells=0, fewest=1)
    start, end = _split(goal, labels)
    if start == end:
        raise SettingsError(f"the goal {goal!r} goes from {start!r} to itself; name two states")
    return Goal(states, start, end)


def _split(goal: str, labels: Labels) -> tuple[str, str]:
    known = [str(name) for name in labels.classes]
    # A state's own name may hold a colon.
    cuts = [at for at, letter in enumerate(goal) if letter == ":"]
    pairs = [(goal[:at].strip(), goal[at + 1 :].strip()) for at in cuts]
    if not pairs:
        raise SettingsError(f"the goal is {goal!r}, expected two states as STATE_A:STATE_B")
    for start, end in pairs:
        if start in known and end in known:
            return start, end
    wrong = next(name for name in pairs[0] if name not in known)
    close = nearest(wrong, known)
    hint = f"did you mean {close!r}?" if close else f"states: {', '.join(known[:10])}"
    raise DataError(f"there is no state {wrong!r} in obs[{labels.column!r}]; {hint}")


def fit_direction(
    vectors_nd: NDArray[np.float32],
    end_n: NDArray[np.bool_],
    groups_n: NDArray[np.str_] | None,
    group: str | None,
    seed: int,
) -> Direction:
    """Means of the end minus means of the start, in two halves.

    Parameters
    ----------
    vectors_nd
        Unedited cells of both states.
    end_n
        True for cells of the end.
    groups_n, group
        Donor or library of each cell and the name of that column. Whole groups are halved where
        both halves then hold both states, else cells.

    Raises
    ------
    DataError
        If a state has fewer than four cells, or both have the same mean.
    """
    for count in (int(end_n.sum()), int((~end_n).sum())):
        if count < FEWEST_CELLS:
            raise DataError(
                f"a state has {count} cells, but a direction needs at least {FEWEST_CELLS} of each"
            )
    rng = np.random.default_rng(seed)
    half_n = None if groups_n is None else _halves(groups_n, end_n, rng)
    unit = group if half_n is not None and group is not None else "cells"
    if half_n is None:
        half_n = _halves(np.arange(end_n.size).astype(np.str_), end_n, rng)
    if half_n is None:
        raise DataError("the cells of the two states cannot be halved; give more cells of each")
    x_nd = vectors_nd.astype(np.float64)
    fitted = []
    for half in (0, 1):
        start_d = x_nd[(half_n == half) & ~end_n].mean(axis=0)
        way_d = x_nd[(half_n == half) & end_n].mean(axis=0) - start_d
        length = float(way_d @ way_d)
        if not length > 0:
            raise DataError(
                "the cells of both states have the same mean vector, so there is no direction from "
                "one to the other"
            )
        fitted.append((way_d / length, start_d))
    direction_nd = np.empty(x_nd.shape, dtype=np.float32)
    at_n = np.empty(end_n.size)
    for half, (way_d, start_d) in enumerate(fitted):
        other_n = half_n != half
        direction_nd[other_n] = way_d
        at_n[other_n] = (x_nd[other_n] - start_d) @ way_d
    a, b = fitted[0][0], fitted[1][0]
    agreement = float(a @ b / np.sqrt((a @ a) * (b @ b)))
    auc = float(roc_auc(at_n, end_n, np.ones(end_n.size)))
    return Direction(direction_nd, unit, agreement, auc)


def _halves(
    groups_n: NDArray[np.str_], end_n: NDArray[np.bool_], rng: np.random.Generator
) -> NDArray[np.int64] | None:
    """Half of each cell, whole groups together; None where a half would lack a state."""
    names_u, code_n = np.unique(groups_n, return_inverse=True)
    share_u = np.bincount(code_n, weights=end_n) / np.bincount(code_n)
    # Groups of one state alone are dealt out in turn, so that both halves get some of each.
    order_u = np.lexsort((rng.random(names_u.size), np.round(share_u)))
    half_u = np.empty(names_u.size, dtype=np.int64)
    half_u[order_u] = np.arange(names_u.size) % 2
    half_n = half_u[code_n]
    whole = all(((half_n == half) & (end_n == end)).any() for half in (0, 1) for end in (0, 1))
    return half_n if whole else None
