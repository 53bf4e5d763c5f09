"""Methods as bars with intervals: one metric, the best method of each kind first."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cellwright.errors import DataError
from cellwright.interfaces import Score
from cellwright.report.canvas import dress, figure_of, new_axes, plain
from cellwright.report.methods import (
    KIND_ORDER,
    Kind,
    as_dicts,
    design_words,
    kinds,
    metric_name,
)
from cellwright.report.palette import COLOURS, INK, MUTED

FILLS: dict[Kind, tuple[str, str, str]] = {
    "model": (COLOURS[0], "", "uses the pretrained run"),
    "simple": ("#c9ced6", "", "uses nothing of it"),
    "shortcut": ("white", "////", "technical shortcut"),
}


def method_bars(
    scores: Sequence[Score | Mapping[str, Any]],
    *,
    metric: str = "accuracy",
    baselines: Collection[str] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One metric of every method with its 95 % interval; higher is better, chance is dashed.

    The axis starts at zero, as bars must; where all that matters happens near one, the numbers
    stand beside the bars.

    Parameters
    ----------
    scores
        ``Score`` objects or their dictionaries, of one design.
    baselines
        Names of the methods that use nothing of the pretrained run; None works it out.

    Raises
    ------
    DataError
        If no score has this metric.
    """
    rows = as_dicts(scores)
    kind = kinds(rows, baselines)
    chosen = {
        str(row["rep"]): row
        for row in rows
        if row.get("metric") == metric and row.get("stratum", "all") == "all"
    }
    if not chosen:
        known = ", ".join(sorted({str(row.get("metric")) for row in rows})) or "no scores"
        raise DataError(f"no score of {metric} to draw; there are {known}")
    order = sorted(
        chosen, key=lambda rep: (KIND_ORDER.index(kind[rep]), -float(chosen[rep]["value"]))
    )
    if ax is None:
        ax = new_axes(8.6, 0.31 * len(order) + 1.7)
    for y, rep in enumerate(order):
        row = chosen[rep]
        value, low, high = (float(row[key]) for key in ("value", "low", "high"))
        colour, hatch, _ = FILLS[kind[rep]]
        edge = MUTED if kind[rep] == "shortcut" else colour
        ax.barh(y, value, height=0.68, color=colour, hatch=hatch, edgecolor=edge, linewidth=0.8)
        if np.isfinite([low, high]).all():
            reach = [[max(value - low, 0.0)], [max(high - value, 0.0)]]
            ax.errorbar(value, y, xerr=reach, color=INK, linewidth=1.3, capsize=2.5)
        ax.annotate(
            f"{value:.3f} [{low:.3f}, {high:.3f}]",
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
    first = next(iter(chosen.values()))
    words = f"{design_words(first)}; whiskers: 95 % interval over {first.get('unit')}"
    dress(ax, title or metric_name(metric), metric_name(metric), "", subtitle=words, grid="x")
    ax.set_yticks(np.arange(len(order)), [plain(rep, 32) for rep in order])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(order) - 0.4, -0.6)
    ax.set_xlim(0, 1.0)
    handles: list[Any] = [
        Patch(
            facecolor=FILLS[k][0],
            hatch=FILLS[k][1],
            edgecolor=MUTED if k == "shortcut" else FILLS[k][0],
            label=FILLS[k][2],
        )
        for k in KIND_ORDER
        if k in {kind[rep] for rep in order}
    ]
    chance = first.get("chance")
    if chance is not None:
        dashes = (0, (4, 2))
        ax.axvline(float(chance), color=MUTED, linewidth=1.2, linestyle=dashes)
        label = "chance: knows only the class sizes"
        handles.append(Line2D([], [], color=MUTED, linewidth=1.2, linestyle=dashes, label=label))
    figure_of(ax).legend(
        handles=handles, loc="outside lower left", ncols=len(handles), frameon=False, fontsize=8.5
    )
    return ax
