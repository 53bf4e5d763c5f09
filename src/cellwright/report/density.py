"""Millions of points as one image: counted per pixel and category, mixed by density.

A category has its full colour at the density usual for it, so a spread-out type is not paler than a
dense one. In a mixture a category weighs by the logarithm of its cells there: the rule is the same
for all, and a few cells among many still tint their pixel.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONG_SIDE = 1200
"""Pixels of the longer side."""
MARGIN = 0.02
FAINTEST = 0.7
"""Opacity of a lone cell; a pixel at the usual density of its category has 1."""
WIDEST, NARROWEST = 4.0, 2.0
"""Diameter of a point in pixels, for the fewest and the most points."""
WIDEST_AT = 20_000

Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Grid:
    """Square pixels over all points; row 0 is at the bottom."""

    left: float
    bottom: float
    pixel: float
    rows: int
    columns: int

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Left, right, bottom, top in the units of the points."""
        right = self.left + self.columns * self.pixel
        return self.left, right, self.bottom, self.bottom + self.rows * self.pixel

    def places(self, xy_n2: NDArray[np.float64]) -> NDArray[np.int32]:
        """Pixel of every point, row by row."""
        column_n = ((xy_n2[:, 0] - self.left) / self.pixel).astype(np.int32)
        row_n = ((xy_n2[:, 1] - self.bottom) / self.pixel).astype(np.int32)
        np.clip(column_n, 0, self.columns - 1, out=column_n)
        np.clip(row_n, 0, self.rows - 1, out=row_n)
        return row_n * np.int32(self.columns) + column_n


def grid_over(xy_n2: NDArray[np.float64], long_side: int = LONG_SIDE) -> Grid:
    """Pixels that cover all points with a margin, ``long_side`` of them on the longer side."""
    low, high = xy_n2.min(axis=0), xy_n2.max(axis=0)
    wide = float((high - low).max()) or 1.0
    # A narrow strip still gets some height, so that it can be seen and clicked.
    span = np.maximum(high - low, 0.05 * wide) + 2 * MARGIN * wide
    pixel = float(span.max()) / long_side
    columns, rows = (max(1, int(np.ceil(s / pixel - 1e-9))) for s in span)
    left, bottom = (low + high - span) / 2
    return Grid(float(left), float(bottom), pixel, rows, columns)


@dataclass(frozen=True)
class Layers:
    """Points counted per pixel, category by category.

    ``place_n`` holds the pixels sorted by category, ``start_k`` where each begins; ``back`` tells
    which categories lie behind all others.
    """

    grid: Grid
    place_n: NDArray[np.int32]
    start_k: NDArray[np.int64]
    colours: Sequence[str]
    back: Sequence[bool]

    def counts(self, k: int) -> NDArray[np.float32]:
        """Cells of category ``k`` per pixel, rows × columns."""
        shape = self.grid.rows, self.grid.columns
        part = self.place_n[self.start_k[k] : self.start_k[k + 1]]
        return np.bincount(part, minlength=shape[0] * shape[1]).reshape(shape).astype(np.float32)

    def image(self) -> Image:
        """All categories mixed, on white; rows × columns × 3."""
        sheet = np.ones((self.grid.rows, self.grid.columns, 3), dtype=np.float32)
        for behind in (True, False):
            weight, clear = self._totals(behind)
            mixed = np.zeros_like(sheet)
            for k in self._chosen(behind):
                mixed += self._ink(k)[0][..., None] * rgb(self.colours[k])
            mixed /= np.maximum(weight, 1e-9)[..., None]
            sheet += (1.0 - clear)[..., None] * (mixed - sheet)
        return np.round(sheet * 255).astype(np.uint8)

    def shares(self) -> Iterator[tuple[int, Image]]:
        """Category and its part of every pixel, as colour and opacity, rows × columns × 4.

        The parts added up, colour times opacity, give ``image`` without its white.
        """
        _, uncovered = self._totals(False)
        for behind in (True, False):
            weight, clear = self._totals(behind)
            visible = (1.0 - clear) * (uncovered if behind else 1.0) / np.maximum(weight, 1e-9)
            for k in self._chosen(behind):
                part = np.empty((*weight.shape, 4), dtype=np.uint8)
                part[..., :3] = np.round(rgb(self.colours[k]) * 255)
                part[..., 3] = np.round(self._ink(k)[0] * visible * 255)
                yield k, part

    def _chosen(self, behind: bool) -> list[int]:
        return [k for k, back in enumerate(self.back) if back == behind]

    def _totals(self, behind: bool) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Sum of the weights, and how much of what lies behind still shows."""
        shape = self.grid.rows, self.grid.columns
        weight, clear = np.zeros(shape, np.float32), np.ones(shape, np.float32)
        for k in self._chosen(behind):
            own, opacity = self._ink(k)
            weight += own
            clear *= 1.0 - opacity
        return weight, clear

    def _ink(self, k: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weight in the mixture and opacity of category ``k`` in every pixel."""
        counts = self.counts(k)
        points = _spread(counts, _diameter(len(self.place_n)))
        usual = _usual(points, counts)
        dense = np.minimum(np.log1p(points) / np.log1p(usual), 1.0)
        opacity = np.minimum(points, 1.0) * (FAINTEST + (1.0 - FAINTEST) * dense)
        return np.log1p(points), opacity


def layers(
    xy_n2: NDArray[np.float64],
    code_n: NDArray[Any],
    colours: Sequence[str],
    back: Sequence[bool],
    *,
    long_side: int = LONG_SIDE,
) -> Layers:
    """Sort points into pixels and categories.

    Parameters
    ----------
    xy_n2
        Finite coordinates.
    code_n
        Category of every point, an index into ``colours`` (``#rrggbb``) and ``back``.
    """
    grid = grid_over(xy_n2, long_side)
    place_n = grid.places(xy_n2)[np.argsort(code_n.astype(np.int16), kind="stable")]
    size_k = np.bincount(code_n, minlength=len(colours))
    start_k = np.concatenate([[0], np.cumsum(size_k)])
    return Layers(grid, place_n, start_k, list(colours), list(back))


def rgb(colour: str) -> NDArray[np.float32]:
    """``#rrggbb`` as three numbers from 0 to 1."""
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)], dtype=np.float32)


def _diameter(n: int) -> float:
    """Of a point in pixels: smaller the more points there are."""
    return float(np.clip(WIDEST * np.sqrt(WIDEST_AT / max(n, 1)), NARROWEST, WIDEST))


def _spread(counts: NDArray[np.float32], diameter: float) -> NDArray[np.float32]:
    """Every cell drawn as a disc with a soft edge instead of one pixel."""
    reach = int(np.ceil(diameter / 2 + 0.5)) - 1
    rows, columns = counts.shape
    padded = np.pad(counts, reach)
    out = np.zeros_like(counts)
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            part = np.clip(diameter / 2 + 0.5 - np.hypot(down, right), 0.0, 1.0)
            if part > 0:
                top, left = reach + down, reach + right
                out += np.float32(part) * padded[top : top + rows, left : left + columns]
    return out


def _usual(points: NDArray[np.float32], counts: NDArray[np.float32]) -> float:
    """The density that three quarters of the cells of a category have around them, at least one."""
    there = counts > 0
    if not there.any():
        return 1.0
    order = np.argsort(points[there])
    below = np.cumsum(counts[there][order], dtype=np.float64)
    at = int(np.searchsorted(below, below[-1] / 4))
    return max(float(points[there][order[at]]), 1.0)
