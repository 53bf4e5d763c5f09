"""Colours that colour-blind readers can tell apart, each with a marker and a line style of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Style:
    """How one category is drawn: differs in colour, marker and line, so that it survives greyscale."""

    colour: str
    marker: str
    line: str | tuple[int, tuple[float, ...]]


def colours(k: int) -> list[str]:
    """``k`` colours as ``#rrggbb``: Okabe-Ito for up to eight, a longer distinguishable list beyond."""
    raise NotImplementedError


def styles(names: Sequence[str]) -> dict[str, Style]:
    """A style per name, in the order given; the same names in the same order get the same styles."""
    raise NotImplementedError
