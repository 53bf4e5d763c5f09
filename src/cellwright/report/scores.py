"""Scores with their intervals: methods in rows, one metric along the axis, chance as a line."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from numpy.typing import NDArray

from cellwright.interfaces import Score


def score_intervals(
    scores: Sequence[Score | Mapping[str, Any]],
    *,
    metric: str = "accuracy",
    split: str | None = None,
    stratum: str = "all",
    baselines: Collection[str] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One metric of every representation with its 95 % interval.

    Models, simple methods and shortcuts differ in colour and marker; chance is a dashed line.

    Parameters
    ----------
    scores
        ``Score`` objects or their dictionaries.
    split
        Which design (``grouped``, ``random``); None takes the first that occurs.
    baselines
        Names of the baselines; None works it out (a representation with a paired difference to
        a baseline is a model).

    Raises
    ------
    DataError
        If no score has this metric in this design.
    """
    raise NotImplementedError


def score_panels(
    scores: Sequence[Score | Mapping[str, Any]],
    *,
    metrics: Sequence[str] = ("accuracy", "macro_f1", "roc_auc"),
    split: str | None = None,
    baselines: Collection[str] | None = None,
) -> NDArray[Any]:
    """``score_intervals`` of several metrics side by side, as an array of Axes with shared rows."""
    raise NotImplementedError
