"""In-silico edits: the furthest with their null, all by place in the cell, and their p-values."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from cellwright.errors import DataError
from cellwright.report.canvas import dress, legend_beside, new_axes, plain
from cellwright.report.palette import COLOURS, INK, MUTED, NO_LABEL, OTHERS

FOUND, NOT_FOUND = COLOURS[1], COLOURS[0]
LEVEL = 0.05
# Shifts that differ by more than this factor are drawn on a logarithmic axis.
WIDE = 30
SHIFTS = {
    "toward": "Share of the way from start to goal",
    "cosine": "Shift of the cell vector (1 - cosine)",
    "genes": "Shift of the other genes (1 - cosine)",
}


def ranked_shifts(
    table: pd.DataFrame,
    statistic: str,
    *,
    most: int = 20,
    title: str = "Edits",
    subtitle: str | None = None,
) -> Axes:
    """The furthest ``most`` edits (half of them at either end of the way) with their 95 % intervals, each over the range of its null.

    Parameters
    ----------
    table
        Columns ``edit`` and, for the statistic S, ``S``, ``S_low``, ``S_high``, ``S_null``,
        ``S_null_low``, ``S_null_high``, ``S_q``; in the order in which they are drawn.

    Raises
    ------
    DataError
        If the table is empty.
    """
    shown = table.head(most)
    if statistic == "toward" and len(table) > most:
        # A sign: those that go back stand at the other end.
        shown = pd.concat([table.head(most // 2), table.tail(most - most // 2)])
    shown = shown.iloc[::-1]
    if shown.empty:
        raise DataError("there are no edits to draw")
    ax = new_axes(7.6, 0.27 * len(shown) + 1.9)
    # Bars would keep the frame at their ends.
    ax.use_sticky_edges = False
    for y, row in enumerate(shown.to_dict("records")):
        low, high = row[f"{statistic}_null_low"], row[f"{statistic}_null_high"]
        if np.isfinite(low):
            ax.barh(y, high - low, left=low, height=0.62, color=OTHERS, zorder=1)
            middle = row[f"{statistic}_null"]
            ax.plot([middle, middle], [y - 0.31, y + 0.31], color=MUTED, linewidth=1, zorder=2)
        found = row[f"{statistic}_q"] <= LEVEL
        colour, marker = (FOUND, "D") if found else (NOT_FOUND, "o")
        ends = row[f"{statistic}_low"], row[f"{statistic}_high"]
        if np.isfinite(ends[0]):
            ax.plot(ends, [y, y], color=colour, linewidth=1.6, zorder=3)
        ax.plot(row[statistic], y, marker=marker, color=colour, markersize=6, zorder=4)
    drawn = shown[[statistic, f"{statistic}_null_low"]].to_numpy(dtype=np.float64)
    drawn = drawn[np.isfinite(drawn)]
    if statistic != "toward" and drawn.min() > 0 and drawn.max() > WIDE * drawn.min():
        ax.set_xscale("log")
    if statistic == "toward":
        ax.axvline(0, color=MUTED, linewidth=0.8, zorder=0)
    ax.set_yticks(range(len(shown)), [plain(name, 28) for name in shown["edit"]])
    ax.set_ylim(-0.7, len(shown) - 0.3)
    dress(ax, title, SHIFTS[statistic], "", subtitle=subtitle, grid="x")
    legend_beside(ax, _handles(shown, statistic, Patch(color=OTHERS, label="matched random genes")))
    return ax


def shift_by_place(
    table: pd.DataFrame, null: pd.DataFrame, statistic: str, *, title: str = "Edits"
) -> Axes:
    """Every edit by the mean place of its genes in the cells that rank them, null edits in grey.

    A gene at the front moves a cell further whatever it is: only what stands out from its own
    place means something.
    """
    ax = new_axes(7.6, 4.4)
    if len(null):
        ax.scatter(null["place"] + 1, null[statistic], s=12, color=NO_LABEL, zorder=1, linewidths=0)
    crowded = len(table) > 1500
    found = (table[f"{statistic}_q"] <= LEVEL).to_numpy()
    for chosen, colour, marker in ((~found, NOT_FOUND, "o"), (found, FOUND, "D")):
        part = table[chosen]
        ax.scatter(
            part["place"] + 1,
            part[statistic],
            s=8 if crowded else 24,
            color=colour,
            marker=marker,
            alpha=0.5 if crowded and marker == "o" else 1.0,
            linewidths=0,
            rasterized=crowded,
            zorder=2 + int(marker == "D"),
        )
    across, up = np.ptp(np.log(table["place"] + 1)), np.ptp(table[statistic])
    named: list[tuple[float, float]] = []
    for row in table.head(8).to_dict("records"):
        at = (np.log(row["place"] + 1) / max(across, 1e-9), row[statistic] / max(up, 1e-30))
        # A name over another can be read no more than it.
        if any(abs(at[0] - x) < 0.2 and abs(at[1] - y) < 0.045 for x, y in named):
            continue
        named.append(at)
        ax.annotate(
            plain(row["edit"], 20),
            (row["place"] + 1, row[statistic]),
            xytext=(5, 3),
            textcoords="offset points",
            fontsize=8,
            color=INK,
            zorder=5,
        )
    ax.set_xscale("log")
    places = np.concatenate([table["place"], null["place"] if len(null) else []]) + 1
    near = places.max() < 10 * places.min()
    ax.xaxis.set_major_locator(MaxNLocator(6) if near else LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.set_xmargin(0.08)
    words = "Mean place in the cells (geometric), 1 at the front"
    dress(ax, title, words, SHIFTS[statistic], grid="both")
    grey = Line2D([], [], linestyle="none", marker="o", color=NO_LABEL, label="random genes")
    legend_beside(ax, _handles(table, statistic, grey if len(null) else None))
    return ax


def p_histogram(p_e: pd.Series, *, title: str = "Edits") -> Axes:
    """Histogram of p-values; where no gene stands out it is as flat as the line."""
    known = p_e.to_numpy(dtype=np.float64)
    known = known[np.isfinite(known)]
    ax = new_axes(6.4, 3.8)
    bins = 20
    ax.hist(known, bins=bins, range=(0.0, 1.0), color=NOT_FOUND, edgecolor="white")
    ax.axhline(known.size / bins, color=INK, linestyle="--", linewidth=1)
    small = f"{known.size:,} edits; dashed: as many as chance gives"
    dress(ax, title, "p against matched random genes", "Edits", subtitle=small)
    ax.set_xlim(0, 1)
    return ax


def _handles(
    table: pd.DataFrame, statistic: str, null: Line2D | Patch | None
) -> list[Line2D | Patch]:
    found = table[f"{statistic}_q"] <= LEVEL
    handles: list[Line2D | Patch] = []
    for there, colour, marker, words in (
        (found.any(), FOUND, "D", "FDR up to 5 %"),
        ((~found).any(), NOT_FOUND, "o", "FDR above 5 %"),
    ):
        if there:
            handles.append(
                Line2D([], [], linestyle="none", marker=marker, color=colour, label=words)
            )
    return handles if null is None else [*handles, null]
