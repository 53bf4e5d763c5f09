"""Curves over epochs for doubles of training and unseen ones in one plot, so that memorising is seen."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.report.canvas import dress, figure_of, new_grid, plain
from cellwright.report.palette import COLOURS, INK, LINES, MUTED

_LOOKS: dict[str, dict[str, Any]] = {
    "training": {"color": COLOURS[4], "linestyle": LINES[1], "linewidth": 1.8},
    "val": {"color": COLOURS[1], "linestyle": (0, (1, 1)), "linewidth": 1.8},
    "unseen": {"color": COLOURS[0], "linewidth": 2.4},
}
_WORDS = {
    "training": "perturbations of training",
    "val": "validation perturbations",
    "unseen": "unseen perturbations",
}

# Inches of an entry of the legend.
_ENTRY = 2.3


def reverse_curves(curves: pd.DataFrame, metric: str = "mrr", *, title: str) -> NDArray[Any]:
    """Mean over partitions of one metric at each epoch, one panel per network.

    Partitions are thin lines behind unseen perturbations. A partition that stopped early keeps
    its last value.

    Parameters
    ----------
    curves
        Columns ``method``, ``part``, ``epoch``, and ``training_METRIC`` and ``unseen_METRIC``
        (``val_METRIC`` where there are validation perturbations), of one size of query.

    Raises
    ------
    DataError
        If there is no such column.
    """
    shown = [
        n for n in _LOOKS if f"{n}_{metric}" in curves and curves[f"{n}_{metric}"].notna().any()
    ]
    if "unseen" not in shown:
        raise DataError(f"no curve of {metric} over unseen perturbations to draw")
    methods = list(dict.fromkeys(curves.method))
    wide_in = 2.4 + 2.7 * len(methods)
    axes = new_grid(1, len(methods), wide_in, 3.7, sharey=True)[0]
    for ax, method in zip(axes, methods, strict=True):
        rows = curves[curves.method == method]
        for name in shown:
            column = f"{name}_{metric}"
            wide = rows.pivot_table(index="epoch", columns="part", values=column).ffill()
            if name == "unseen" and wide.shape[1] > 1:
                ax.plot(wide.index, wide.to_numpy(), color=MUTED, linewidth=0.6, alpha=0.5)
            ax.plot(wide.index, wide.mean(axis=1), marker="o", markersize=3.5, **_LOOKS[name])
        words = "Mean reciprocal rank" if metric == "mrr" else metric
        dress(ax, plain(method), "Epoch", words if ax is axes[0] else "")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set_ylim(0, 1.02)
    figure = figure_of(axes[0])
    figure.suptitle(
        plain(title, 120), x=0.01, ha="left", fontsize=11.5, fontweight="bold", color=INK
    )
    handles = [Line2D([], [], label=_WORDS[n], **_LOOKS[n]) for n in shown]
    if len(set(curves.part)) > 1:
        handles.append(Line2D([], [], color=MUTED, linewidth=0.6, label="each partition, unseen"))
    # Over one panel the four entries do not fit into a line.
    columns = max(1, int(wide_in / _ENTRY))
    figure.legend(
        handles=handles, loc="outside lower left", ncols=columns, frameon=False, fontsize=8.5
    )
    return axes
