"""ROC curves of several representations, with the area under each in the legend."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cellwright.report.canvas import dress, legend_beside, new_axes, plain
from cellwright.report.palette import LINES, MUTED, styles


def roc_curves(
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    auc: Mapping[str, float] | None = None,
    baselines: Collection[str] = (),
    positive: str | None = None,
    title: str = "ROC of held-out cells",
    subtitle: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """True-positive over false-positive rate; the diagonal is chance, the upper left corner perfect.

    Parameters
    ----------
    curves
        Name -> ``{"fpr": [...], "tpr": [...]}``, both rising from 0 to 1. Empty ones are left out.
    auc
        Name -> area as scored (with its own averaging); None or a missing name: trapezoids under
        the curve given.
    baselines
        Names drawn as thin dashed lines.
    positive
        Name of the positive class, for the axis labels.
    """
    ax = new_axes(7.2, 4.6) if ax is None else ax
    areas = {}
    for name, curve in curves.items():
        fpr, tpr = (np.asarray(curve.get(key, ()), dtype=np.float64) for key in ("fpr", "tpr"))
        if len(fpr) < 2 or len(fpr) != len(tpr):
            continue
        given = (auc or {}).get(name)
        known = given is not None and math.isfinite(given)
        areas[name] = float(given) if known else _trapezoids(fpr, tpr)  # type: ignore[arg-type]
    look = styles(list(curves))
    dashes: Any = cycle(LINES[1:])
    handles = []
    for name in sorted(areas, key=lambda n: (n in baselines, -areas[n])):
        simple = name in baselines
        line: Any = next(dashes) if simple else "-"
        ax.plot(
            curves[name]["fpr"],
            curves[name]["tpr"],
            color=look[name].colour,
            linestyle=line,
            linewidth=1.3 if simple else 2.4,
            clip_on=False,
            zorder=2 if simple else 3,
        )
        handles.append(
            Line2D(
                [],
                [],
                color=look[name].colour,
                linestyle=line,
                linewidth=1.3 if simple else 2.4,
                label=f"{plain(name)}  {areas[name]:.3f}",
            )
        )
    ax.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)), zorder=1)
    handles.append(
        Line2D([], [], color=MUTED, linewidth=0.9, linestyle=(0, (2, 2)), label="chance  0.500")
    )
    of = f" ({plain(positive)})" if positive else ""
    dress(
        ax, title, "False-positive rate", f"True-positive rate{of}", subtitle=subtitle, grid="both"
    )
    ax.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    legend_beside(ax, handles, "Area under the curve")
    return ax


def _trapezoids(fpr: NDArray[np.float64], tpr: NDArray[np.float64]) -> float:
    return float(np.sum(np.diff(fpr) * (tpr[1:] + tpr[:-1]) / 2))
