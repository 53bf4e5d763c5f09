"""Axes without pyplot: no global figure list, no global settings, and files written in one step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

Drawn = Axes | Figure | Sequence[Axes] | NDArray[Any]


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
    raise NotImplementedError
