"""The palette holds for colour-blind eyes and for greyscale, by an independent simulation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from cellwright.report.palette import COLOURS, NO_LABEL, OTHERS, colours, density_colours, styles

# Machado, Oliveira & Fernandes 2009, severity 1, on linear RGB.
SIGHT = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}


def lab(hexes: list[str], sight: np.ndarray) -> np.ndarray:
    """CIELAB (D65) of sRGB colours as an eye of that kind sees them, (k, 3)."""
    rgb = np.array([[int(h[i : i + 2], 16) / 255 for i in (1, 3, 5)] for h in hexes])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ sight.T, 0, 1)
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )


# A difference of 2.3 is just noticeable (Mahy et al. 1994); these are far above it.
@pytest.mark.parametrize("sight", sorted(SIGHT))
@pytest.mark.parametrize(("k", "least"), [(8, 16.0), (20, 14.0), (40, 10.9)])
def test_colours_differ_for_every_kind_of_eye(sight: str, k: int, least: float) -> None:
    seen = lab(colours(k), SIGHT[sight])
    apart = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert min(apart) > least


def test_every_colour_differs_from_white() -> None:
    seen = lab([*COLOURS, "#FFFFFF"], np.eye(3))
    assert np.linalg.norm(seen[:-1] - seen[-1], axis=1).min() > 20


@pytest.mark.parametrize(("k", "least"), [(20, 10), (40, 7)])
def test_categories_of_equal_grey_differ_in_their_marker(k: int, least: float) -> None:
    look = list(styles([str(i) for i in range(k)]).values())
    grey = lab([style.colour for style in look], np.eye(3))[:, 0]
    for i, j in itertools.combinations(range(k), 2):
        if abs(grey[i] - grey[j]) < least:
            assert look[i].marker != look[j].marker


def test_280_categories_differ_in_colour_or_marker() -> None:
    look = styles([str(i) for i in range(280)]).values()
    assert len({(style.colour, style.marker) for style in look}) == 280
    assert all(len({s.marker, s.symbol}) == 2 for s in look)


def test_the_same_names_look_the_same() -> None:
    assert styles(["a", "b"]) == styles(["a", "b", "a"])
    assert styles(["b", "a"])["b"] == styles(["a", "b"])["a"]


def test_crowds_of_points_take_forty_colours_and_black_last() -> None:
    assert sorted(density_colours(40)) == sorted(COLOURS)
    assert density_colours(40)[-1] == "#000000"
    assert density_colours(6) == colours(6)
    # The greys behind them are none of them.
    seen = lab([*density_colours(39), NO_LABEL, OTHERS], np.eye(3))
    for grey in seen[39:]:
        assert np.linalg.norm(seen[:39] - grey, axis=1).min() > 14
