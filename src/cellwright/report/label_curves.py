"""Scores over the number of labelled cells, one line per method with its band."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from cellwright.errors import DataError
from cellwright.report.canvas import dress, legend_beside, new_axes, plain
from cellwright.report.palette import COLOURS, LINES, MARKERS, MUTED

METRIC_NAMES = {"accuracy": "Accuracy", "macro_f1": "Macro F1", "roc_auc": "ROC-AUC"}


def label_curves_figure(
    table: pd.DataFrame,
    *,
    metric: str = "macro_f1",
    methods: Sequence[str] | None = None,
    label: str = "label",
    ax: Axes | None = None,
) -> Axes:
    """One metric over labelled cells per class, higher is better; chance as a dotted line.

    Parameters
    ----------
    table
        Columns ``method``, ``per_class`` (a number or ``all``), ``n_labelled``, ``metric``,
        ``value``, ``low``, ``high``, ``chance``, ``unit``, ``repeats``.
    methods
        In this order, bands for all; default all, in the order of the table.

    Raises
    ------
    DataError
        If the table has no row of this metric.
    """
    rows = table[table["metric"] == metric]
    if rows.empty:
        raise DataError(f"there is no {metric!r} in the table of label curves")
    ax = new_axes(9.6, 4.6) if ax is None else ax
    sizes = list(dict.fromkeys(rows["per_class"].astype(str)))
    place = {size: at for at, size in enumerate(sizes)}
    shown = list(dict.fromkeys(rows["method"])) if methods is None else list(methods)
    handles = []
    for i, method in enumerate(shown):
        own = rows[rows["method"] == method]
        x = np.array([place[size] for size in own["per_class"].astype(str)], dtype=float)
        colour = COLOURS[i % len(COLOURS)]
        if len(sizes) > 1:
            ax.fill_between(x, own["low"], own["high"], color=colour, alpha=0.12, linewidth=0)
        else:  # a band needs a width: bars side by side
            x += 0.5 * (i - (len(shown) - 1) / 2) / max(len(shown), 1)
            ax.vlines(x, own["low"], own["high"], color=colour, alpha=0.45, linewidth=1.6)
        handles += ax.plot(
            x,
            own["value"],
            color=colour,
            linestyle=LINES[0] if i < 3 else LINES[1],
            marker=MARKERS[i % len(MARKERS)],
            markersize=4.5,
            linewidth=1.4,
            label=plain(method),
        )
    chance = rows["chance"].dropna()
    if len(chance):
        handles.append(
            ax.axhline(float(chance.iloc[0]), color=MUTED, linestyle=":", label="chance")
        )
    ax.set_xticks(range(len(sizes)), sizes)
    ax.xaxis.set_minor_locator(NullLocator())
    bands = f"bands: 95 %, resampling {rows['unit'].iloc[0]} of the test set and draws of labels"
    dress(
        ax,
        f"{METRIC_NAMES.get(metric, metric)} over labels: {plain(label)}",
        "Labelled cells per class",
        METRIC_NAMES.get(metric, metric),
        subtitle=f"The same labelled cells for every method, {int(rows['repeats'].max())} draws; {bands}",
    )
    legend_beside(ax, handles)
    return ax
