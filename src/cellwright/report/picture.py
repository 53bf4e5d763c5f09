"""Figures inside a page: encoded into it, with words for those who do not see them."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from dataclasses import dataclass

from cellwright.errors import CellwrightError
from cellwright.report.canvas import Drawn, figure_of, rendered

log = logging.getLogger("cellwright.report")

TYPES = {"svg": "image/svg+xml", "webp": "image/webp"}


@dataclass(frozen=True)
class Picture:
    """A figure as a data address; ``width`` and ``height`` in CSS pixels, ``alt`` says what it shows.

    Without a ``source`` the caption says why there is nothing to see.
    """

    source: str
    alt: str
    caption: str
    width: int
    height: int


def picture(draw: Callable[[], Drawn], alt: str, caption: str = "", ending: str = "svg") -> Picture:
    """Draw and encode; a sentence in place of the figure if the numbers cannot be drawn.

    A page with one figure less is worth more than no page, so whatever is wrong with the numbers
    of one figure ends here, in the page and in the log.
    """
    try:
        drawn = draw()
        content = rendered(drawn, ending, dpi=130, outlines=False)
    except (CellwrightError, KeyError, IndexError, TypeError, ValueError) as error:
        said = f"A figure is left out ({alt.split(':')[0].rstrip('.')}): {error}"
        log.warning("%s", said)
        return Picture("", alt, said, 0, 0)
    inches = figure_of(drawn).get_size_inches()
    encoded = base64.b64encode(content).decode("ascii")
    return Picture(
        source=f"data:{TYPES[ending]};base64,{encoded}",
        alt=alt,
        caption=caption,
        width=round(inches[0] * 96),
        height=round(inches[1] * 96),
    )
