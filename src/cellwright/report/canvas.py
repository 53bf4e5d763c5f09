"""Axes without pyplot: no global figure list, no global settings, and files written in one step."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cellwright.data.atomic import atomic_file
from cellwright.errors import SettingsError
from cellwright.report.palette import INK, MUTED, RULE

Drawn = Axes | Figure | Sequence[Axes] | NDArray[Any]

ENDINGS = ("png", "pdf", "svg")
SMALL = 5.0  # inches
# Same input, same bytes; fonts in a PDF that can be edited; letters in an SVG as outlines, so that
# it looks the same where the font is missing.
WRITING: Any = {
    "svg.hashsalt": "cellwright",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
}
AS_TEXT: Any = {"svg.fonttype": "none", "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"]}
NO_DATE: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def new_axes(width: float = 6.4, height: float = 4.2) -> Axes:
    """One Axes in a new figure, inches."""
    return _figure(width, height).add_subplot()


def new_grid(rows: int, columns: int, width: float, height: float, **how: Any) -> NDArray[Any]:
    """An array of Axes, always of shape (rows, columns), in a new figure, inches."""
    return np.asarray(_figure(width, height).subplots(rows, columns, squeeze=False, **how))


def dress(
    ax: Axes,
    title: str,
    x: str,
    y: str,
    *,
    subtitle: str | None = None,
    grid: Any = "y",
    lift: float = 0.0,
) -> None:
    """Title (and a line of small print under it), axis labels, quiet frame and grid.

    ``lift`` keeps points free above the Axes, for an axis along the upper edge.
    """
    lines = textwrap.wrap(plain(subtitle, 400), _characters(ax)) if subtitle else []
    ax.set_title(
        "\n".join(textwrap.wrap(plain(title, 160), max(24, int(_characters(ax) * 0.72)))),
        loc="left",
        fontsize=11,
        fontweight="bold",
        color=INK,
        pad=8 + lift + 11.5 * len(lines),
    )
    if lines:
        ax.annotate(
            "\n".join(lines),
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 7 + lift),
            textcoords="offset points",
            fontsize=8.5,
            color=MUTED,
            va="bottom",
            linespacing=1.15,
            annotation_clip=False,
        )
    ax.set_xlabel(x, fontsize=9.5, color=INK)
    ax.set_ylabel(y, fontsize=9.5, color=INK)
    ax.tick_params(labelsize=9, colors=MUTED, labelcolor=INK)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(MUTED)
    ax.set_axisbelow(True)
    if grid is not None:
        ax.grid(visible=True, axis=grid, color=RULE, linewidth=0.7)


def legend_beside(ax: Axes, handles: Sequence[Any], title: str | None = None) -> None:
    """Legend to the right of the Axes, where it can hide nothing; many entries in columns.

    A small figure has no room there and takes it inside, where it covers least.
    """
    if not handles:
        return
    if figure_of(ax).get_figwidth() < SMALL:
        ax.legend(
            handles=list(handles), loc="best", fontsize=8.5, framealpha=0.85, edgecolor="none"
        )
        return
    columns = 1 + (len(handles) - 1) // 18
    legend = ax.legend(
        handles=list(handles),
        title=plain(title) if title else None,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        borderaxespad=0.0,
        frameon=False,
        fontsize=8.5,
        title_fontsize=8.5,
        ncols=columns,
        handlelength=2.4,
        labelspacing=0.5,
        alignment="left",
    )
    legend.get_title().set_color(MUTED)


def plain(text: object, width: int = 36) -> str:
    """A user's text made safe for a figure: one line, no math mode, cut in the middle if long."""
    words = " ".join(str(text).split())
    if len(words) > width:
        tail = width // 3
        words = f"{words[: width - tail - 1]}…{words[-tail:]}"
    words = words.replace("$", r"\$")
    # A leading underscore hides a name from legends.
    return f" {words}" if words.startswith("_") else words


def save_figure(drawn: Drawn, path: Path | str, *, dpi: int = 200) -> Path:
    """Write the figure behind one Axes, an array of Axes or a Figure to ``path``, atomically.

    Parameters
    ----------
    drawn
        What any function of this package returned.
    path
        Ends in ``.png``, ``.pdf`` or ``.svg``; the folder must exist. An existing file is replaced.
    dpi
        Pixels per inch of a PNG (and of crowded scatters inside PDF and SVG).

    Returns
    -------
    The path written.

    Raises
    ------
    SettingsError
        For another ending.
    DataError
        If the place cannot be written.
    """
    path = Path(path)
    ending = path.suffix.lower().lstrip(".")
    if ending not in ENDINGS:
        raise SettingsError(
            f"cannot draw to {path}: the ending is {path.suffix!r}, expected .png, .pdf or .svg"
        )
    content = rendered(drawn, ending, dpi=dpi)
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)
    return path


def rendered(drawn: Drawn, ending: str, *, dpi: int = 200, outlines: bool = True) -> bytes:
    """The figure as the bytes of a ``png``, ``webp`` (lossless), ``pdf`` or ``svg`` file.

    Without ``outlines`` the letters of an SVG stay text: a third of the size. The font drawn with
    is one of the widest, so that another in its place fits too.
    """
    how: Any = WRITING if outlines else WRITING | AS_TEXT
    more: Any = {"pil_kwargs": {"lossless": True}} if ending == "webp" else {}
    with mpl.rc_context(how), io.BytesIO() as out:
        figure_of(drawn).savefig(
            out,
            format=ending,
            dpi=dpi,
            facecolor="white",
            metadata=NO_DATE.get(ending),
            **more,
        )
        return out.getvalue()


def figure_of(drawn: Drawn) -> Figure:
    """The figure that ``drawn`` belongs to."""
    if isinstance(drawn, Figure):
        return drawn
    ax: Any = drawn if isinstance(drawn, Axes) else np.ravel(np.asarray(drawn, dtype=object))[0]
    figure = ax.figure
    # An Axes inside a subfigure: go up to what can be written.
    return figure if isinstance(figure, Figure) else figure.figure


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    layout: Any = figure.get_layout_engine()
    layout.set(w_pad=0.12, h_pad=0.1)
    return figure


def _characters(ax: Axes) -> int:
    """About how many small letters fit over the Axes."""
    figure = figure_of(ax)
    columns = ax.get_subplotspec()
    share = 1 if columns is None else columns.get_gridspec().ncols
    return max(32, int(figure.get_figwidth() / share * 13.5))
