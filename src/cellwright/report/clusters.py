"""Clusters beside labels: size and purity of each, agreement over the resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from cellwright.errors import DataError
from cellwright.report.canvas import dress, legend_beside, new_axes, plain
from cellwright.report.palette import INK, MUTED, styles

WRITTEN = 60  # more clusters than this and the bars are too thin for words

AGREEMENT_NAMES = {
    "ari": "adjusted Rand index",
    "nmi": "normalized mutual information",
    "homogeneity": "homogeneity",
    "completeness": "completeness",
}


def cluster_sizes(
    clusters: pd.DataFrame | Sequence[Mapping[str, Any]],
    *,
    title: str = "Size and purity of the clusters",
    subtitle: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A bar per cluster: its size in cells, the share of its most frequent label filled.

    ``clusters`` has ``cluster``, ``n``, ``majority_label`` and ``purity`` (0 to 1).

    Raises
    ------
    DataError
        If there are no clusters or a column is missing.
    """
    table = _table(clusters, ("cluster", "n", "majority_label", "purity"), "cluster sizes")
    k = len(table)
    ax = new_axes(7.6, float(np.clip(0.3 * k + 1.5, 2.4, 11.0))) if ax is None else ax
    labels = [str(name) for name in table["majority_label"].fillna("no label")]
    look = styles(sorted(set(labels)))
    n = table["n"].to_numpy(dtype=np.float64)
    purity = np.nan_to_num(table["purity"].to_numpy(dtype=np.float64))
    y = np.arange(k)
    colour = [look[name].colour for name in labels]
    ax.barh(y, n, color="#e9ecf0", edgecolor=MUTED, linewidth=0.6, height=0.74)
    ax.barh(y, n * purity, color=colour, height=0.74, edgecolor=INK, linewidth=0.6)
    written = k <= WRITTEN
    for i in range(k if written else 0):
        ax.annotate(
            f"{n[i]:,.0f}: {purity[i]:.0%} {plain(labels[i], 18)}",
            (n[i], y[i]),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=INK,
        )
    dress(ax, title, "Cells", "Cluster", subtitle=subtitle, grid="x")
    step = 1 + k // 60
    ax.set_yticks(y[::step], [plain(c, 16) for c in table["cluster"]][::step])
    ax.set_ylim(k - 0.4, -0.6)
    ax.set_xlim(0, max(float(n.max()), 1.0) * (1.32 if written else 1.03))
    ax.tick_params(axis="y", length=0)
    other = Patch(facecolor="#e9ecf0", edgecolor=MUTED, linewidth=0.6, label="other labels")
    if written and len(look) > 12:
        # The names stand at the bars; so many colours explain nothing.
        legend_beside(ax, [other])
        return ax
    handles: list[Any] = [
        Patch(facecolor=style.colour, edgecolor=INK, linewidth=0.6, label=plain(name, 26))
        for name, style in look.items()
    ]
    legend_beside(ax, [*handles, other], "Most frequent label")
    return ax


def resolution_curve(
    grid: pd.DataFrame | Sequence[Mapping[str, Any]],
    *,
    given: float | None = None,
    matched: float | None = None,
    metrics: Sequence[str] = ("ari", "nmi", "homogeneity", "completeness"),
    title: str = "Agreement over the resolution",
    subtitle: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Agreement with the labels and the number of clusters over a grid of resolutions.

    ``grid`` has ``resolution``, ``n_clusters`` and the metrics; the number of clusters stands
    along the upper edge. ``given`` and ``matched`` are marked by vertical lines. Higher agreement is
    better.

    Raises
    ------
    DataError
        If there is no grid or a column is missing.
    """
    shown = [m for m in metrics if m in pd.DataFrame(grid).columns]
    table = _table(grid, ("resolution", *(shown or metrics)), "agreement over the resolution")
    table = table.sort_values("resolution", ignore_index=True)
    ax = new_axes(7.6, 4.2) if ax is None else ax
    resolution = table["resolution"].to_numpy(dtype=np.float64)
    handles: list[Line2D] = []
    for (name, style), metric in zip(styles(shown).items(), shown, strict=True):
        handles += ax.plot(
            resolution,
            table[metric].to_numpy(dtype=np.float64),
            color=style.colour,
            linestyle=style.line,
            marker=style.marker,
            markersize=5,
            linewidth=1.7,
            label=AGREEMENT_NAMES.get(name, name),
        )
    marks: Any = ((given, "as given", "-"), (matched, "as many clusters as labels", "--"))
    for at, words, line in marks:
        if at is not None and np.isfinite(at):
            ax.axvline(at, color=MUTED, linewidth=1.1, linestyle=line, zorder=1)
            handles.append(
                Line2D(
                    [], [], color=MUTED, linewidth=1.1, linestyle=line, label=f"{words}: {at:.3g}"
                )
            )
    upper = "n_clusters" in table
    dress(
        ax,
        title,
        "Resolution",
        "Agreement with the labels",
        subtitle=subtitle,
        lift=32.0 if upper else 0.0,
    )
    ax.set_ylim(min(0.0, float(np.nanmin(table[shown].to_numpy(dtype=np.float64)))) - 0.02, 1.03)
    if upper:
        _cluster_counts(ax, resolution, table["n_clusters"].tolist())
    legend_beside(ax, handles)
    return ax


def _cluster_counts(ax: Axes, resolution: Any, counts: list[Any]) -> None:
    """The number of clusters at each resolution, along the upper edge."""
    apart = 0.035 * max(float(np.ptp(resolution)), 1e-9)
    at: list[float] = []
    words: list[str] = []
    for value, count in zip(resolution, counts, strict=True):
        if not pd.isna(count) and (not at or value - at[-1] >= apart):
            at.append(float(value))
            words.append(f"{int(count)}")
    upper = ax.secondary_xaxis("top")
    upper.set_xticks(at, words, fontsize=8)
    upper.set_xlabel("Number of clusters", fontsize=8.5, color=MUTED)
    upper.tick_params(length=3, colors=MUTED, labelcolor=INK)
    upper.spines["top"].set_color(MUTED)


def _table(
    given: pd.DataFrame | Sequence[Mapping[str, Any]], columns: Sequence[str], what: str
) -> pd.DataFrame:
    table = pd.DataFrame(given)
    missing = [c for c in columns if c not in table.columns]
    if missing or not len(table):
        raise DataError(
            f"no {what} to draw: {len(table)} rows with the columns "
            f"{', '.join(map(str, table.columns)) or 'none'}, needed {', '.join(columns)}"
        )
    return table
