"""Colours that colour-blind readers can tell apart, each with a marker and a line style of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

# The first eight: Okabe & Ito 2008, the two that are hardest to read on white last. The others
# were found one by one as the colour farthest from all before it (CIELAB, the least of normal
# sight, protanopia and deuteranopia after Machado 2009), dull and dark extremes left out, and put
# in an order in which colours of the same marker (every seventh) differ in grey. For the second
# twenty 1.2 times CIEDE2000 under normal sight counted too: CIELAB alone takes blues for more
# different than they look.
COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#000000",
    "#F0E442",
    "#693C0F",
    "#B4C378",
    "#3C5AD2",
    "#A5E15A",
    "#780F78",
    "#C34B4B",
    "#4B96FF",
    "#FFB4B4",
    "#1E5A5A",
    "#2DE1F0",
    "#87003C",
    "#785A87",
    "#2DB44B",
    "#00C396",
    "#E1E187",
    "#0000C3",
    "#0F3C2D",
    "#5A78FF",
    "#A569D2",
    "#B40069",
    "#003CA5",
    "#FF6987",
    "#D21EB4",
    "#2DD21E",
    "#FF694B",
    "#B487C3",
    "#69961E",
    "#5A5A2D",
    "#965A1E",
    "#FFD2A5",
    "#3C0FFF",
    "#872DFF",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x")
"""The same markers as Plotly names them."""
LINES: tuple[Any, ...] = (
    "-",
    (0, (5.0, 1.5)),
    (0, (1.0, 1.2)),
    (0, (6.0, 1.5, 1.0, 1.5)),
    (0, (3.0, 1.0, 1.0, 1.0, 1.0, 1.0)),
)

INK = "#1a1a1a"
MUTED = "#5c6370"
RULE = "#d4d8de"
NO_LABEL = "#b8bdc6"
OTHERS = "#dcdfe5"


@dataclass(frozen=True)
class Style:
    """How one category is drawn: differs in colour, marker and line, so that it survives greyscale."""

    colour: str
    marker: str
    symbol: str
    line: Any


def colours(k: int) -> list[str]:
    """``k`` colours as ``#rrggbb``: Okabe-Ito for up to eight, a longer distinguishable list beyond.

    After forty the list starts again; there the marker tells the categories apart.
    """
    return [COLOURS[i % len(COLOURS)] for i in range(k)]


def density_colours(k: int) -> list[str]:
    """``k`` colours, at most forty, for crowds of points without a marker.

    Black comes last: thinned out on white it would be one of the greys.
    """
    black = "#000000"
    return [*(c for c in COLOURS if c != black), black][:k]


def styles(names: Sequence[str]) -> dict[str, Style]:
    """A style per name, in the order given; the same names in the same order get the same styles.

    The seven markers and forty colours have no common factor: 280 categories differ in one or
    the other.
    """
    return {
        name: Style(
            colour=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            symbol=SYMBOLS[i % len(SYMBOLS)],
            line=LINES[i % len(LINES)],
        )
        for i, name in enumerate(dict.fromkeys(names))
    }
