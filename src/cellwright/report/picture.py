"""Figures inside a page: encoded into it, with words for those who do not see them."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from dataclasses import dataclass

from cellwright.errors import CellwrightError
from cellwright.report.canvas import Drawn, figure_of, rendered

log = logging.getLogger("cellwright.report")

TYPES = {"svg": "image/svg+xml", "png": "image/png"}


@dataclass(frozen=True)
class Picture:
    """A figure as a data address; ``width`` and ``height`` in CSS pixels, ``alt`` says what it shows."""

    source: str
    alt: str
    caption: str
    width: int
    height: int


def picture(
    draw: Callable[[], Drawn], alt: str, caption: str = "", ending: str = "svg"
) -> Picture | None:
    """Draw and encode; None (and a warning in the log) if the numbers cannot be drawn.

    A page with one figure less is worth more than no page, so whatever is wrong with the numbers
    of one figure ends here.
    """
    try:
        drawn = draw()
        content = rendered(drawn, ending, dpi=140, outlines=False)
    except (CellwrightError, KeyError, IndexError, TypeError, ValueError) as error:
        log.warning("a figure is left out (%s): %s", alt.split(":")[0].rstrip("."), error)
        return None
    inches = figure_of(drawn).get_size_inches()
    encoded = base64.b64encode(content).decode("ascii")
    return Picture(
        source=f"data:{TYPES[ending]};base64,{encoded}",
        alt=alt,
        caption=caption,
        width=round(inches[0] * 84),
        height=round(inches[1] * 84),
    )
