"""Two-dimensional maps of cells coloured by a category."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike, NDArray

from cellwright.errors import SettingsError
from cellwright.report.canvas import dress, legend_beside, new_axes, new_grid, plain
from cellwright.report.palette import NO_LABEL, Style, styles

METHOD_NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}
MISSING = "no label"
UNNAMED = (MISSING, "no cluster", "not held out")
"""What stands for a missing category: last in every legend, and grey."""
SLICES = 12


def embedding_map(
    xy_n2: ArrayLike,
    labels_n: Sequence[Any] | NDArray[Any] | pd.Series,
    *,
    method: str = "umap",
    rep: str = "",
    label: str = "label",
    knn: Mapping[str, float] | None = None,
    order: Sequence[str] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Scatter of cells coloured by label, drawn in an order that hides no class systematically.

    Parameters
    ----------
    xy_n2
        Coordinates, cells × 2 (rows with NaN are left out).
    labels_n
        One category per cell; missing or empty ones are drawn in grey as "no label".
    method
        ``pca``, ``tsne``, ``umap`` or any other name, for title and axes.
    rep, label
        Name of the representation and of the label column, for the title and the legend.
    knn
        ``{"value": ..., "chance": ...}``: k-nearest-neighbour accuracy in this picture, printed
        beside it.
    order
        Order of the categories (fixes their colours); default sorted.

    Raises
    ------
    SettingsError
        If there are not as many labels as points, or the points are not pairs.
    """
    xy = np.asarray(xy_n2, dtype=np.float64)
    names = clean_labels(labels_n)
    if xy.ndim != 2 or xy.shape[1] != 2 or len(xy) != len(names):
        raise SettingsError(
            f"a map needs one pair of coordinates and one label per cell; "
            f"given were coordinates of shape {xy.shape} and {len(names)} labels"
        )
    kept = np.isfinite(xy).all(axis=1)
    xy, names = xy[kept], names[kept]
    look = category_styles(names, order)
    if ax is None:
        ax = new_axes(5.2 + 1.5 * (1 + (len(look) - 1) // 18), 4.6)
    _scatter(ax, xy, names, look)
    shown = METHOD_NAMES.get(method, plain(method))
    if title is None:
        title = f"{shown} of {plain(rep)}" if rep else shown
    dress(ax, title, f"{shown} 1", f"{shown} 2", subtitle=knn_words(knn, len(xy)), grid=None)
    ax.set_xticks([])
    ax.set_yticks([])
    sizes = pd.Series(names).value_counts()
    legend_beside(
        ax,
        [
            Line2D(
                [],
                [],
                linestyle="none",
                marker=style.marker,
                color=style.colour,
                markersize=6,
                label=f"{plain(name, 26)}  {sizes.get(name, 0):,}",
            )
            for name, style in look.items()
        ],
        f"{plain(label)}, cells",
    )
    return ax


def cluster_maps(
    coordinates: pd.DataFrame,
    *,
    method: str = "umap",
    rep: str = "",
    label: str = "label",
    title: str | None = None,
) -> NDArray[Any]:
    """The same map by cluster and by label side by side, as an array of two Axes.

    ``coordinates`` has columns ``x``, ``y``, ``cluster`` and ``label``, one row per cell.
    """
    kinds = [coordinates[c].astype("string").nunique() for c in ("cluster", "label")]
    wide = sum(5.0 + 1.5 * (1 + max(k - 1, 0) // 18) for k in kinds)
    axes = new_grid(1, 2, wide, 4.6)[0]
    xy = coordinates[["x", "y"]].to_numpy(dtype=np.float64)
    lead = title or f"{METHOD_NAMES.get(method, plain(method))} of {plain(rep)}"
    for ax, column, words in zip(axes, ("cluster", "label"), ("cluster", label), strict=True):
        embedding_map(
            xy,
            coordinates[column],
            method=method,
            rep=rep,
            label=words,
            order=in_order(clean_labels(coordinates[column])),
            title=f"{lead}, by {plain(words)}",
            ax=ax,
        )
    return axes


def knn_words(knn: Mapping[str, float] | None, n: int) -> str:
    """The number beside the picture, in words."""
    cells = f"{n:,} cells"
    value = (knn or {}).get("value")
    if value is None or not math.isfinite(value):
        return cells
    chance = (knn or {}).get("chance")
    beside = "" if chance is None or not math.isfinite(chance) else f" (chance {chance:.3f})"
    return f"{cells}; kNN accuracy in this picture {value:.3f}{beside}"


def clean_labels(
    labels_n: Sequence[Any] | NDArray[Any] | pd.Series, missing_name: str = MISSING
) -> NDArray[np.str_]:
    """Labels as text, missing and empty ones as ``missing_name``."""
    values = pd.Series(np.asarray(labels_n, dtype=object))
    missing = values.isna() | (values.astype(str).str.strip() == "")
    return values.astype(str).mask(missing, missing_name).to_numpy(dtype=np.str_)


def in_order(names_n: NDArray[np.str_]) -> list[str]:
    """The categories sorted, numbers in them by value (cluster 10 after cluster 9)."""
    found = [str(name) for name in np.unique(names_n) if name not in UNNAMED]
    return sorted(found, key=lambda name: [part.zfill(12) for part in re.split(r"(\d+)", name)])


def category_styles(
    names_n: NDArray[np.str_], order: Sequence[str] | None = None
) -> dict[str, Style]:
    """A style per category that occurs; what ``order`` does not name comes after it."""
    present = in_order(names_n)
    full = [*(str(name) for name in order or ()), *present]
    look = {name: style for name, style in styles(full).items() if name in set(present)}
    for name in UNNAMED:
        if (names_n == name).any():
            look[name] = Style(NO_LABEL, "o", "circle", "-")
    return look


def point_size(n: int) -> float:
    """Marker area in square points that keeps the ink about constant."""
    return float(np.clip(14_000 / max(n, 1), 1.5, 26.0))


def _scatter(
    ax: Axes, xy: NDArray[np.float64], names: NDArray[np.str_], look: Mapping[str, Style]
) -> None:
    """All classes slice by slice of one random order: no class lies on top of all others."""
    slice_n = np.random.default_rng(0).integers(SLICES, size=len(xy))
    masks = {name: names == name for name in look}
    size = point_size(len(xy))
    edge: dict[str, Any] = {"linewidths": 0.0}
    if len(xy) < 4000:
        edge = {"edgecolors": "white", "linewidths": 0.3}
    for part in range(SLICES):
        for name, style in look.items():
            chosen = masks[name] & (slice_n == part)
            if not chosen.any():
                continue
            ax.scatter(
                xy[chosen, 0],
                xy[chosen, 1],
                s=size * (0.6 if name in UNNAMED else 1.0),
                marker=style.marker,
                color=style.colour,
                zorder=1 if name in UNNAMED else 2,
                rasterized=len(xy) > 1500,
                **edge,
            )
    if len(xy):
        ax.margins(0.04)
