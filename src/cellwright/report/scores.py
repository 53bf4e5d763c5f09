"""Scores with their intervals: methods in rows, one metric along the axis, chance as a line."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.interfaces import Score
from cellwright.report.canvas import dress, figure_of, new_axes, new_grid, plain
from cellwright.report.methods import (
    KIND_NAMES,
    KIND_ORDER,
    Kind,
    as_dicts,
    design_words,
    kinds,
    metric_name,
)
from cellwright.report.palette import COLOURS, INK, MUTED

LOOKS: dict[str, dict[str, Any]] = {
    "model": {"color": COLOURS[0], "marker": "o", "markersize": 8},
    "simple": {"color": "#4a5059", "marker": "s", "markersize": 6.5, "markerfacecolor": "white"},
    "shortcut": {"color": COLOURS[1], "marker": "D", "markersize": 6, "markerfacecolor": "white"},
}


def score_intervals(
    scores: Sequence[Score | Mapping[str, Any]],
    *,
    metric: str = "accuracy",
    split: str | None = None,
    stratum: str = "all",
    baselines: Collection[str] | None = None,
    title: str | None = None,
    subtitle: str | None = None,
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
    rows = as_dicts(scores)
    kind = kinds(rows, baselines)
    chosen = _chosen(rows, metric, split, stratum)
    reps = _row_order(chosen, kind)
    if ax is None:
        ax = new_axes(7.4, 0.36 * len(reps) + 1.7)
    _draw(ax, chosen, reps, kind)
    first = next(iter(chosen.values()))
    if title is None:
        title = metric_name(metric)
    if subtitle is None:
        subtitle = _design_words(first)
    dress(ax, title, metric_name(metric), "", subtitle=subtitle, grid="x")
    _name_rows(ax, reps)
    _legend(ax, {kind[rep] for rep in reps}, _chance(chosen))
    return ax


def score_panels(
    scores: Sequence[Score | Mapping[str, Any]],
    *,
    metrics: Sequence[str] = ("accuracy", "macro_f1", "roc_auc"),
    split: str | None = None,
    baselines: Collection[str] | None = None,
) -> NDArray[Any]:
    """``score_intervals`` of several metrics side by side, as an array of Axes with shared rows.

    Metrics that no score has are left out.

    Raises
    ------
    DataError
        If no score has any of the metrics.
    """
    rows = as_dicts(scores)
    kind = kinds(rows, baselines)
    there = {str(row.get("metric")) for row in rows if _number(row.get("value")) is not None}
    shown = [m for m in metrics if m in there]
    if not shown:
        raise DataError(_nothing(rows, " or ".join(metrics), split))
    lead = _chosen(rows, shown[0], split, "all")
    reps = _row_order(lead, kind)
    axes = new_grid(1, len(shown), 2.0 + 3.9 * len(shown), 0.36 * len(reps) + 2.0, sharey=True)[0]
    first = next(iter(lead.values()))
    words = _design_words(first)
    chances: list[float | None] = []
    for ax, metric in zip(axes, shown, strict=True):
        chosen = _chosen(rows, metric, split, "all")
        _draw(ax, chosen, reps, kind)
        chances.append(_chance(chosen))
        dress(ax, metric_name(metric), "", "", grid="x", subtitle=None if chances[1:] else words)
        _name_rows(ax, reps)
    _legend(axes[0], {kind[rep] for rep in reps}, next((c for c in chances if c is not None), None))
    return axes


def _draw(
    ax: Axes, chosen: Mapping[str, Mapping[str, Any]], reps: Sequence[str], kind: Mapping[str, Kind]
) -> None:
    ends: list[float] = []
    for y, rep in enumerate(reps):
        row = chosen.get(rep)
        value = None if row is None else _number(row.get("value"))
        if row is None or value is None:
            ax.annotate(
                "not scored",
                (0, y),
                xycoords=("axes fraction", "data"),
                xytext=(4, 0),
                textcoords="offset points",
                fontsize=8,
                color=MUTED,
                va="center",
            )
            continue
        low, high = (_number(row.get(key)) for key in ("low", "high"))
        look = LOOKS[kind[rep]]
        if low is not None and high is not None:
            ax.plot([low, high], [y, y], color=look["color"], linewidth=2, solid_capstyle="butt")
            ax.plot([low, high], [y, y], linestyle="none", marker="|", color=look["color"])
            ends += [low, high]
        ax.plot([value], [y], linestyle="none", markeredgewidth=1.6, zorder=3, **look)
        ends.append(value)
        ax.annotate(
            _words(value, low, high),
            (1, y),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            fontsize=8.5,
            color=INK,
            va="center",
            family=["DejaVu Sans Mono", "monospace"],
            annotation_clip=False,
        )
    chance = _chance(chosen)
    if chance is not None:
        ax.axvline(chance, color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)), zorder=1)
        ends.append(chance)
    if ends:
        low_end, high_end = min(ends), max(ends)
        pad = max(0.05 * (high_end - low_end), 0.01)
        ax.set_xlim(low_end - pad, high_end + pad)
    changes = [y - 0.5 for y in range(1, len(reps)) if kind[reps[y]] != kind[reps[y - 1]]]
    for y_line in changes:
        ax.axhline(y_line, color=MUTED, linewidth=0.6)
    ax.set_ylim(len(reps) - 0.4, -0.6)


def _name_rows(ax: Axes, reps: Sequence[str]) -> None:
    ax.set_yticks(np.arange(len(reps)), [plain(rep, 28) for rep in reps])
    ax.tick_params(axis="y", length=0)


def _design_words(row: Mapping[str, Any]) -> str:
    """What was held out and what the bars are."""
    return f"{design_words(row)}; bars: 95 % interval over {row.get('unit')}"


def _legend(ax: Axes, present: set[Kind], chance: float | None) -> None:
    """A row of kinds under the whole figure: the right margin holds the numbers."""
    handles = [
        Line2D([], [], markeredgewidth=1.6, linewidth=2, label=KIND_NAMES[k], **LOOKS[k])
        for k in KIND_ORDER
        if k in present
    ]
    if chance is not None:
        line = Line2D([], [], color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)))
        line.set_label("chance: knows only the class sizes")
        handles.append(line)
    figure_of(ax).legend(
        handles=handles,
        loc="outside lower left",
        ncols=len(handles),
        frameon=False,
        fontsize=8.5,
        handlelength=2.2,
        columnspacing=1.6,
    )


def _chosen(
    rows: list[dict[str, Any]], metric: str, split: str | None, stratum: str
) -> dict[str, dict[str, Any]]:
    """The row of each representation, by name."""
    fitting = [
        row for row in rows if row.get("metric") == metric and row.get("stratum", "all") == stratum
    ]
    if split is None and fitting:
        split = fitting[0].get("split")
    chosen = {str(row["rep"]): row for row in fitting if row.get("split") == split}
    if not any(_number(row.get("value")) is not None for row in chosen.values()):
        raise DataError(_nothing(rows, metric, split))
    return chosen


def _row_order(chosen: Mapping[str, Mapping[str, Any]], kind: Mapping[str, Kind]) -> list[str]:
    """Models, simple methods, shortcuts; the best of each first."""
    return sorted(
        chosen,
        key=lambda rep: (
            KIND_ORDER.index(kind[rep]),
            -(_number(chosen[rep].get("value")) or -math.inf),
        ),
    )


def _chance(chosen: Mapping[str, Mapping[str, Any]]) -> float | None:
    """Chance of the first row that has one (equal for all rows of a design)."""
    known = [_number(row.get("chance")) for row in chosen.values()]
    return next((c for c in known if c is not None), None)


def _words(value: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{value:.3f}"
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _number(value: Any) -> float | None:
    """A finite float, else None."""
    if value is None or isinstance(value, (str, bool)):
        return None
    return float(value) if math.isfinite(value) else None


def _nothing(rows: list[dict[str, Any]], metric: str, split: str | None) -> str:
    there = sorted({f"{row.get('metric')} ({row.get('split')})" for row in rows})
    held = f" in the design {split}" if split else ""
    return f"no score of {metric}{held} to draw; there are {', '.join(there) or 'no scores'}"
