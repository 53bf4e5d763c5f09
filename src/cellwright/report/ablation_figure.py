"""What each source of gene knowledge adds: paired differences with their intervals."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.report.canvas import dress, figure_of, new_grid, plain
from cellwright.report.palette import COLOURS, INK, MUTED

_LOOKS: dict[str, tuple[str, dict[str, Any]]] = {
    "shuffled": (
        "against the same numbers shuffled between genes",
        {"color": COLOURS[0], "marker": "o", "markersize": 6},
    ),
    "alone": (
        "against no knowledge",
        {"color": COLOURS[1], "marker": "D", "markersize": 5, "markerfacecolor": "white"},
    ),
    "left out": (
        "all sources against all but this one",
        {"color": COLOURS[2], "marker": "^", "markersize": 6, "markerfacecolor": "white"},
    ),
}
_METRICS = {"mrr": "mean reciprocal rank", "auprc": "average precision"}


def ablation_panels(differences: pd.DataFrame, metric: str = "mrr", *, title: str) -> NDArray[Any]:
    """One panel for each method, one row for each source, up to three differences in it.

    Parameters
    ----------
    differences
        Columns ``method``, ``source``, ``comparison``, ``metric``, ``difference``, ``low``,
        ``high``.

    Raises
    ------
    DataError
        If there is no difference of that metric.
    """
    rows = differences[differences.metric == metric]
    if rows.empty:
        raise DataError(f"no difference of {metric} to draw")
    methods = list(dict.fromkeys(rows.method))
    sources = list(dict.fromkeys(rows.source))[::-1]
    axes = new_grid(
        1, len(methods), 3.4 + 3.6 * len(methods), 0.75 * len(sources) + 2.2,
        sharey=True, sharex=True,
    )[0]  # fmt: skip
    shown = [name for name in _LOOKS if name in set(rows.comparison)]
    for number, (ax, method) in enumerate(zip(axes, methods, strict=True)):
        ax.axvline(0, color=MUTED, linewidth=1.2, linestyle=(0, (4, 2)), zorder=0)
        for row in rows[rows.method == method].to_dict("records"):
            place = shown.index(row["comparison"])
            y = sources.index(row["source"]) + 0.22 * ((len(shown) - 1) / 2 - place)
            look = _LOOKS[row["comparison"]][1]
            ax.plot([row["low"], row["high"]], [y, y], color=look["color"], linewidth=1.6)
            ax.plot(row["difference"], y, linestyle="none", markeredgewidth=1.4, **look)
        label = f"Difference in {_METRICS.get(metric, metric)}"
        dress(ax, method, label, "", grid="x")
        if number:
            ax.tick_params(axis="y", length=0)
    axes[0].set_yticks(range(len(sources)), [plain(s) for s in sources])
    axes[0].set_ylim(-0.6, len(sources) - 0.4)
    figure = figure_of(axes[0])
    figure.suptitle(
        plain(title, 120), x=0.01, ha="left", fontsize=11.5, fontweight="bold", color=INK
    )
    legend = figure.legend(
        handles=[
            Line2D([], [], linewidth=1.6, markeredgewidth=1.4, label=words, **look)
            for words, look in (_LOOKS[name] for name in shown)
        ],
        loc="outside lower left",
        ncols=1,
        frameon=False,
        fontsize=8.5,
        title="Paired differences, 95 % intervals over perturbations; right of 0: better with it",
        title_fontsize=8.5,
        alignment="left",
    )
    legend.get_title().set_color(MUTED)
    return axes
