"""Confusion matrices: true classes in rows, predicted classes in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from cellwright.errors import SettingsError
from cellwright.report.canvas import dress, figure_of, new_axes, plain
from cellwright.report.palette import INK, MUTED

# White to the palette's blue, darkened: one hue, so that greyscale keeps the order.
SHADES = LinearSegmentedColormap.from_list(
    "cellwright_blue", ["#ffffff", "#9ecae8", "#0072B2", "#00314d"]
)
WRITTEN = 20  # more classes than this and the numbers no longer fit
SHARES_WRITTEN = 6  # more and there is no room for shares


def confusion_matrix(
    counts_kk: ArrayLike,
    classes: Sequence[str],
    *,
    columns: Sequence[str] | None = None,
    title: str = "Confusion matrix",
    subtitle: str | None = None,
    row_axis: str = "True class",
    column_axis: str = "Predicted class",
    ax: Axes | None = None,
) -> Axes:
    """Cells per true and predicted class, shaded by the share of the row.

    Parameters
    ----------
    counts_kk
        Cells, rows are true classes; not necessarily square when ``columns`` is given.
    classes
        Names of the rows, and of the columns unless ``columns`` is given.
    columns
        Names of the columns (clusters, for a cross table).

    Raises
    ------
    SettingsError
        If the names do not fit the shape.
    """
    counts = np.nan_to_num(np.asarray(counts_kk, dtype=np.float64))
    columns = classes if columns is None else columns
    if counts.shape != (len(classes), len(columns)):
        raise SettingsError(
            f"a confusion matrix of shape {counts.shape} does not fit {len(classes)} row names "
            f"and {len(columns)} column names"
        )
    size = max(len(classes), len(columns))
    edge = float(np.clip(0.42 * size, 2.0, 8.5))
    # Where every cell says its share, the scale has nothing to add.
    scale = size > SHARES_WRITTEN
    if ax is None:
        high = max(edge * len(classes) / max(len(columns), 1), 0.9)
        ax = new_axes(edge + (2.9 if scale else 1.6), high + 1.7)
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    # Always the image, not vectors: 100 × 100 classes stay small in SVG and PDF.
    image = ax.imshow(share, cmap=SHADES, vmin=0, vmax=1, aspect="equal", interpolation="nearest")
    if size <= WRITTEN:
        small = 10 if size <= 6 else 8 if size <= 12 else 6.5
        for (row, column), count in np.ndenumerate(counts):
            ax.text(
                column,
                row,
                f"{count:,.0f}" + ("" if scale else f"\n{share[row, column]:.0%}"),
                ha="center",
                va="center",
                fontsize=small,
                color="white" if share[row, column] > 0.5 else INK,
            )
    step = 1 + size // 60
    dress(ax, title, column_axis, row_axis, subtitle=subtitle, grid=None)
    letters = 9 if size <= 12 else 7.5 if size <= 30 else 6
    longest = max((min(len(str(c)), 24) for c in columns), default=0)
    flat = longest * 0.0085 * letters < edge / max(len(columns), 1)
    ax.set_xticks(
        np.arange(len(columns))[::step],
        [plain(c, 24) for c in columns][::step],
        rotation=0 if flat else 90,
        fontsize=letters,
    )
    ax.set_yticks(
        np.arange(len(classes))[::step],
        [f"{plain(c, 24)}" for c in classes][::step],
        fontsize=letters,
    )
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(True)
        side.set_color(MUTED)
    if not scale:
        return ax
    # Inside the Axes' own box, so that it is as tall as the matrix whatever its shape.
    beside = ax.inset_axes((1.0 + 0.12 / edge, 0.0, 0.14 / edge, 1.0))
    bar = figure_of(ax).colorbar(image, cax=beside, format=PercentFormatter(1.0, decimals=0))
    bar.set_label("Share of the row", fontsize=8.5, color=INK)
    bar.ax.tick_params(labelsize=8, colors=MUTED, labelcolor=INK)
    bar.ax.set_frame_on(False)
    return ax


def confusion_of(entry: Mapping[str, Any], **how: Any) -> Axes:
    """``confusion_matrix`` of ``{"classes": [...], "counts": [[...]]}`` as ``metrics.json`` keeps it."""
    return confusion_matrix(entry["counts"], [str(c) for c in entry["classes"]], **how)
