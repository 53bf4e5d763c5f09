"""Predicted shifts: distance and correlation of each method, a dot for every perturbation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.report.canvas import dress, figure_of, new_grid, plain
from cellwright.report.palette import COLOURS, INK, MUTED, NO_LABEL

_NAMES = {
    "l2": "Distance (L2), lower is better",
    "pearson_delta": "Pearson delta, higher is better",
}


def forward_panels(each: pd.DataFrame, table: pd.DataFrame, *, title: str) -> NDArray[Any]:
    """One panel for each metric: perturbations as dots, their mean with its 95 % interval.

    Shown are the genes without the candidates' own where that was asked. Methods stand in the
    order of their distance, the closest on top.

    Parameters
    ----------
    each
        Columns ``perturbation``, ``method``, ``genes``, ``metric``, ``value``.
    table
        Columns ``method``, ``genes``, ``stratum``, ``metric``, ``value``, ``low``, ``high``,
        ``noise_floor``, ``perturbations``.

    Raises
    ------
    DataError
        If there is no score to draw.
    """
    if table.empty or each.empty:
        raise DataError("no score of a predicted shift to draw")
    genes = "hidden" if "hidden" in set(table.genes) else "visible"
    rows = table[(table.genes == genes) & (table.stratum == "all")]
    dots = each[each.genes == genes]
    order = rows[rows.metric == "l2"].sort_values("value", ascending=False, kind="stable")
    methods = order.method.tolist()
    axes = new_grid(1, len(_NAMES), 9.4, 0.46 * len(methods) + 2.0, sharey=True)[0]
    rng = np.random.default_rng(0)
    for number, (ax, (metric, label)) in enumerate(zip(axes, _NAMES.items(), strict=True)):
        for y, method in enumerate(methods):
            value = dots[(dots.method == method) & (dots.metric == metric)].value.dropna()
            ax.scatter(
                value, y + rng.uniform(-0.22, 0.22, len(value)), s=9, color=NO_LABEL, linewidths=0
            )
            row = rows[(rows.method == method) & (rows.metric == metric)].iloc[0]
            if pd.isna(row.value):
                ax.annotate(
                    "not defined: no gene changes", (0.02, y), xycoords=("axes fraction", "data"),
                    fontsize=8.5, color=MUTED, va="center",
                )  # fmt: skip
                continue
            if pd.notna(row.low):
                ax.plot([row.low, row.high], [y, y], color=COLOURS[0], linewidth=1.8)
            ax.plot(row.value, y, marker="o", markersize=6, color=COLOURS[0])
        if metric == "l2":
            ax.axvline(
                float(rows[rows.metric == "l2"].noise_floor.iloc[0]),
                color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)), zorder=0,
            )  # fmt: skip
            ax.set_xlim(left=0)
        dress(ax, "", label, "", grid="x")
        if number:
            ax.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(methods)), [plain(m) for m in methods])
    axes[0].set_ylim(-0.6, len(methods) - 0.4)
    figure = figure_of(axes[0])
    figure.suptitle(
        plain(title, 120), x=0.01, ha="left", fontsize=11.5, fontweight="bold", color=INK
    )
    units = int(rows.perturbations.iloc[0])
    hidden = ", candidates' own genes left out" if genes == "hidden" else ""
    legend = figure.legend(
        handles=[
            Line2D([], [], color=COLOURS[0], marker="o", markersize=6, linewidth=1.8,
                   label="mean, 95 % interval"),
            Line2D([], [], color=NO_LABEL, marker="o", markersize=4, linestyle="none",
                   label="a perturbation"),
            Line2D([], [], color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)),
                   label="a perfect prediction: noise of the cells"),
        ],
        loc="outside lower left",
        ncols=3,
        frameon=False,
        fontsize=8.5,
        title=f"Over {units} perturbations{hidden}",
        title_fontsize=8.5,
        alignment="left",
    )  # fmt: skip
    legend.get_title().set_color(MUTED)
    return axes
