"""All cells of an atlas at their published coordinates, coloured by the largest types."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cellwright.report.canvas import dress, figure_of, legend_beside, new_axes, plain
from cellwright.report.density import grid_over, layers, rgb
from cellwright.report.embedding import point_size
from cellwright.report.palette import INK

PLAIN = 20_000
"""Up to here every cell is a point of its own; beyond, cells are counted per pixel."""
LONG = 6.0  # inches of the longer side of the map
COLUMN = 3.0  # inches of a column of the legend, about
EDGE = 0.15  # inches of white around
NAME, NAME_OF_MANY = 44, 28  # characters of a name in a legend of one column, of several
CIRCLE = 6.0  # points across


@dataclass(frozen=True)
class Group:
    """Cells of one colour: their name, their number, and whether they lie behind the others."""

    name: str
    n: int
    colour: str
    back: bool = False


@dataclass(frozen=True)
class Circled:
    """Cells to mark with hollow circles.

    Where they crowd, one circle stands for its neighbours: rings upon rings would be a black blot.
    """

    name: str
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class AtlasMap:
    """What is drawn. ``code_n`` points into ``groups``; coordinates are finite.

    ``axes`` names the two coordinates, ``legend`` says what the colours are.
    """

    xy_n2: NDArray[np.float64]
    code_n: NDArray[np.int16]
    groups: Sequence[Group]
    circled: Sequence[Circled]
    title: str
    subtitle: str
    legend: str
    axes: tuple[str, str] = ("x", "y")


def atlas_map(chart: AtlasMap) -> Axes:
    """Draw the map; circled cells on top, a number beside each circled group if there are several."""
    left, right, bottom, top = grid_over(chart.xy_n2).extent
    scale = LONG / max(right - left, top - bottom)
    columns = 1 + (len(chart.groups) + len(chart.circled) - 1) // 18
    ax = new_axes((right - left) * scale + COLUMN * columns, LONG + 1.0)
    if len(chart.xy_n2) > PLAIN:
        _image(ax, chart)
    else:
        _points(ax, chart)
    ax.set_aspect("auto")
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    for number, circled in enumerate(chart.circled, 1):
        apart = 1.3 * CIRCLE / 72 / scale
        xy = chart.xy_n2[circled.rows]
        _circles(ax, xy[spaced(xy, apart)], number if len(chart.circled) > 1 else None)
    dress(ax, chart.title, *map(plain, chart.axes), subtitle=chart.subtitle, grid=None)
    ax.set_xticks([])
    ax.set_yticks([])
    legend_beside(ax, _handles(chart), plain(chart.legend))
    _fit(ax, (right - left) * scale, (top - bottom) * scale)
    return ax


def spaced(xy_m2: NDArray[np.float64], apart: float) -> NDArray[np.int64]:
    """One point of each square of side ``apart`` that has any: circles that stay hollow."""
    square = np.floor(xy_m2 / apart)
    _, first = np.unique(square, axis=0, return_index=True)
    return np.sort(first)


def _fit(ax: Axes, width: float, height: float) -> None:
    """Axes of exactly that size, inches, in a figure as large as it, its legend and words need.

    Equal aspect in a figure of a size chosen beforehand leaves white bands.
    """
    figure = figure_of(ax)
    figure.set_layout_engine("none")
    wide, high = figure.get_size_inches()
    ax.set_position((0.0, 0.0, width / wide, height / high))
    taken: Any = ax.get_tightbbox()  # None only of an Axes that is not shown
    taken = taken.transformed(figure.dpi_scale_trans.inverted())
    wide, high = taken.width + 2 * EDGE, taken.height + 2 * EDGE
    figure.set_size_inches(wide, high)
    ax.set_position(
        ((EDGE - taken.x0) / wide, (EDGE - taken.y0) / high, width / wide, height / high)
    )


def _image(ax: Axes, chart: AtlasMap) -> None:
    drawn = layers(
        chart.xy_n2,
        chart.code_n,
        [group.colour for group in chart.groups],
        [group.back for group in chart.groups],
    )
    # Drawn finer than it is shown, so that smoothing it loses nothing.
    ax.imshow(drawn.image(), extent=drawn.grid.extent, origin="lower", interpolation="auto")


def _points(ax: Axes, chart: AtlasMap) -> None:
    """Every cell, in one random order within what is behind and what is not."""
    colour_k3 = np.array([rgb(group.colour) for group in chart.groups])
    back_n = np.array([group.back for group in chart.groups])[chart.code_n]
    order = np.random.default_rng(0).permutation(len(chart.xy_n2))
    few: dict[str, Any] = {"linewidths": 0.0}
    if len(order) < 2000:
        few = {"edgecolors": "white", "linewidths": 0.3}
    for behind in (True, False):
        rows = order[back_n[order] == behind]
        ax.scatter(
            chart.xy_n2[rows, 0],
            chart.xy_n2[rows, 1],
            s=2.0 * point_size(len(order)),
            c=colour_k3[chart.code_n[rows]],
            rasterized=len(order) > 1500,
            zorder=1 if behind else 2,
            **few,
        )


def _circles(ax: Axes, xy_m2: NDArray[np.float64], number: int | None) -> None:
    """Hollow black circles on a white edge, seen on black and on white alike."""
    for colour, width in (("white", 2.2), ("black", 1.0)):
        ax.plot(
            *xy_m2.T,
            linestyle="none",
            marker="o",
            markersize=CIRCLE,
            markerfacecolor="none",
            markeredgecolor=colour,
            markeredgewidth=width,
            zorder=4 if colour == "black" else 3,
        )
    if number is None or not len(xy_m2):
        return
    middle = np.median(xy_m2, axis=0)
    nearest = xy_m2[np.argmin(((xy_m2 - middle) ** 2).sum(axis=1))]
    words = ax.annotate(
        f"{number}",
        nearest,
        xytext=(9, 9),
        textcoords="offset points",
        fontsize=12,
        fontweight="bold",
        color=INK,
        zorder=5,
    )
    words.set_path_effects([patheffects.withStroke(linewidth=3, foreground="white")])


def _handles(chart: AtlasMap) -> list[Line2D]:
    several = len(chart.circled) > 1
    width = NAME if len(chart.groups) + len(chart.circled) <= 18 else NAME_OF_MANY
    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            markersize=6.5,
            color=group.colour,
            label=f"{plain(group.name, width)}  {group.n:,}",
        )
        for group in chart.groups
    ]
    for number, circled in enumerate(chart.circled, 1):
        before = f"{number}: " if several else ""
        handles.append(
            Line2D(
                [],
                [],
                linestyle="none",
                marker="o",
                markersize=6.5,
                markerfacecolor="none",
                markeredgecolor="black",
                label=f"{before}{plain(circled.name, width + 12)}  {len(circled.rows):,}",
            )
        )
    return handles
