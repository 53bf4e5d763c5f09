"""What the map shows is where the cells are, in the colours of the legend."""

from __future__ import annotations

import io
import json
import re

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from cellwright.report.atlas_map import PLAIN, AtlasMap, Circled, Group, atlas_map, spaced
from cellwright.report.atlas_map_html import SAMPLE, atlas_page
from cellwright.report.canvas import figure_of, rendered
from cellwright.report.density import grid_over, layers, rgb
from cellwright.report.palette import COLOURS, OTHERS, density_colours

CENTRES = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 8.0], [10.0, 8.0]])


def planted(n: int = 40_000, colours: list[str] | None = None, **more) -> AtlasMap:
    """Four far discs; the last is behind."""
    rng = np.random.default_rng(1)
    code = np.arange(n) % 4
    angle, far = rng.uniform(0, 2 * np.pi, n), np.sqrt(rng.uniform(0, 1, n))
    xy = CENTRES[code] + np.column_stack([far * np.cos(angle), far * np.sin(angle)])
    colours = colours or density_colours(3)
    groups = [Group(f"type {k}", int((code == k).sum()), colours[k]) for k in range(3)]
    groups.append(Group("Others", int((code == 3).sum()), OTHERS, back=True))
    return AtlasMap(
        xy, code.astype(np.int16), groups, more.pop("circled", []), "A map", "4", "type", **more
    )


def pixels(chart: AtlasMap) -> tuple[np.ndarray, object]:
    """The PNG as 8-bit RGB, and a function from data to its rows and columns."""
    ax = atlas_map(chart)
    image = mpl.image.imread(io.BytesIO(rendered(ax, "png", dpi=150)), format="png")
    figure_of(ax).set_dpi(150)

    def at(xy: np.ndarray) -> np.ndarray:
        right, up = ax.transData.transform(xy).round().astype(int).T
        return (image[image.shape[0] - up, right, :3] * 255).round().astype(int)

    return image, at


def test_pixels_hold_every_cell_once():
    chart = planted()
    colours = [group.colour for group in chart.groups]
    drawn = layers(chart.xy_n2, chart.code_n, colours, [False] * 4, long_side=80)
    left, right, bottom, top = drawn.grid.extent
    for k in range(4):
        x, y = chart.xy_n2[chart.code_n == k].T
        expected = np.histogram2d(
            y,
            x,
            bins=(drawn.grid.rows, drawn.grid.columns),
            range=((bottom, top), (left, right)),
        )[0]
        np.testing.assert_array_equal(drawn.counts(k), expected)


@pytest.mark.parametrize(
    ("n", "most"), [(PLAIN, 0.25), (PLAIN + 4, 0.25), (200_000, 0.5), (1_200_000, 0.7)]
)
def test_far_groups_have_exactly_the_colours_of_the_legend(n, most):
    chart = planted(n, ["#E69F00", "#780F78", "#FF6987"])
    _, at = pixels(chart)
    offsets = np.random.default_rng(0).uniform(-0.5, 0.5, (200, 2))
    for k, group in enumerate(chart.groups):
        found = at(CENTRES[k] + offsets)
        close = (np.abs(found - rgb(group.colour) * 255) <= 3).all(axis=1)
        # Few points leave gaps between them.
        assert close.mean() > most, group
        # What is not the colour is the colour thinned by white, never another.
        full, share = rgb(group.colour) * 255, (255.0 - found)
        along = share @ (255 - full) / ((255 - full) @ (255 - full))
        assert np.abs(share - along[:, None] * (255 - full)).max() < 6
    assert (at(np.array([[5.0, 4.0], [5.0, 0.0]])) == 255).all()


def test_no_type_hides_another_and_none_is_hidden_by_the_grey():
    rng = np.random.default_rng(0)
    xy = np.tile(rng.normal(size=(30_000, 2)), (2, 1))
    code = np.repeat([0, 1], 30_000)
    one = layers(xy, code, COLOURS[:2], [False, False], long_side=200).image()
    other = layers(xy, 1 - code, COLOURS[1::-1], [False, False], long_side=200).image()
    np.testing.assert_array_equal(one, other)
    mixed = one[100, 100]
    np.testing.assert_allclose(mixed, 255 * (rgb(COLOURS[0]) + rgb(COLOURS[1])) / 2, atol=2)
    behind = layers(xy, code, [COLOURS[0], OTHERS], [False, True], long_side=200).image()
    np.testing.assert_allclose(behind[100, 100], 255 * rgb(COLOURS[0]), atol=2)
    # One hundred cells among 30,000 others on the same spot still tint it.
    xy = np.concatenate([xy[:30_000], np.zeros((20, 2))])
    code = np.repeat([0, 1], [30_000, 20])
    tinted = layers(xy, code, ["#0072B2", "#F0E442"], [False, False], long_side=200).image()
    grid = grid_over(xy, 200)
    row, column = divmod(int(grid.places(np.zeros((1, 2)))[0]), grid.columns)
    assert tinted[row, column, 0] > 40


def test_the_parts_of_the_page_add_up_to_the_image():
    rng = np.random.default_rng(0)
    xy = rng.normal(size=(60_000, 2))
    code = rng.integers(0, 4, 60_000)
    xy[code == 2] *= 0.3
    drawn = layers(xy, code, [*COLOURS[:3], OTHERS], [False, False, False, True], long_side=300)
    total = np.zeros((drawn.grid.rows, drawn.grid.columns, 4))
    for _, part in drawn.shares():
        opacity = part[..., 3:] / 255
        total += np.concatenate([part[..., :3] * opacity, opacity], axis=2)
    assert total[..., 3].max() < 1.01
    on_white = total[..., :3] + 255 * (1 - total[..., 3:])
    assert np.abs(on_white - drawn.image()).max() < 4


def test_circles_are_on_the_cells_and_stay_apart():
    chart = planted(40_000)
    rows = np.flatnonzero(chart.code_n == 2)[:500]
    chart = planted(40_000, circled=[Circled("210 a", rows), Circled("7 b", rows[:3] + 1)])
    ax = atlas_map(chart)
    circles = [line for line in ax.lines if line.get_markeredgecolor() == "black"]
    assert [line.get_markerfacecolor() for line in circles] == ["none", "none"]
    own = {tuple(xy) for xy in chart.xy_n2[rows]}
    drawn = np.column_stack(circles[0].get_data())
    assert {tuple(xy) for xy in drawn} <= own
    assert 20 < len(drawn) < 500
    assert len(circles[1].get_xdata()) == 3
    image = max(artist.get_zorder() for artist in ax.images)
    assert min(line.get_zorder() for line in circles) > image
    # No cell is far from a circle.
    far = np.linalg.norm(chart.xy_n2[rows][:, None] - drawn[None], axis=2).min(axis=1)
    assert far.max() < 0.35
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert words[-2:] == ["1: 210 a  500", "2: 7 b  3"]
    assert words[0] == "type 0  10,000"


def test_circles_are_black_in_the_picture():
    chart = planted(40_000)
    row = np.flatnonzero(chart.code_n == 1)[:1]
    chart = planted(40_000, circled=[Circled("7", row)])
    ax = atlas_map(chart)
    image = mpl.image.imread(io.BytesIO(rendered(ax, "png", dpi=150)), format="png")
    figure_of(ax).set_dpi(150)
    right, up = ax.transData.transform(chart.xy_n2[row[0]])
    radius = 3.0 / 72 * 150
    for turn in np.linspace(0, 2 * np.pi, 12):
        row_at = round(image.shape[0] - up - 0.5 + radius * np.sin(turn))
        column = round(right - 0.5 + radius * np.cos(turn))
        near = image[row_at - 1 : row_at + 2, column - 1 : column + 2, :3]
        assert near.max(axis=2).min() < 0.3
    inside = image[round(image.shape[0] - up - 0.5), round(right - 0.5), :3]
    assert np.abs(inside - rgb(chart.groups[1].colour)).max() < 0.35


def test_one_point_stands_for_a_square():
    xy = np.random.default_rng(0).uniform(0, 10, (5000, 2))
    kept = spaced(xy, 1.0)
    assert len(kept) == 100
    assert len(np.unique(np.floor(xy[kept]), axis=0)) == 100


def test_few_cells_are_points_in_random_order():
    chart = planted(400)
    ax = atlas_map(chart)
    behind, front = ax.collections
    assert len(behind.get_offsets()) == 100
    shown = [to_hex(c) for c in front.get_facecolors()]
    assert {c: shown.count(c) for c in set(shown)} == {c.lower(): 100 for c in density_colours(3)}
    assert len({tuple(shown[i : i + 3]) for i in range(0, 30, 3)}) > 3


@pytest.mark.parametrize(
    "xy",
    [[[1.0, 1.0]], [[0.0, 0.0], [0.0, 5.0]], [[0.0, 1e9], [1e-3, 1e9]], [[3.0, 2.0]] * 5],
)
@pytest.mark.parametrize("often", [1, 21_000])
def test_one_point_or_a_line_can_be_drawn(xy, often):
    xy = np.tile(np.array(xy), (often, 1))
    chart = AtlasMap(
        xy,
        np.zeros(len(xy), dtype=np.int16),
        [Group("a", len(xy), COLOURS[0])],
        [Circled("a", np.arange(len(xy)))],
        "A $title$",
        "",
        "type",
    )
    assert len(rendered(atlas_map(chart), "png", dpi=60)) > 1000
    names = pd.DataFrame({"alias": ["a"], "label": [None], "description": [None]})
    assert "chart" in atlas_page(chart, np.zeros(len(xy), dtype=np.int32), names)


def test_letters_stay_text_and_the_cells_one_image_in_pdf_and_svg():
    chart = planted(40_000)
    svg = rendered(atlas_map(chart), "svg", outlines=False).decode()
    assert svg.count("<image") == 1
    assert "type 2  10,000" in svg.replace("\n", " ")
    assert len(svg) < 3_000_000
    assert rendered(atlas_map(chart), "pdf") == rendered(atlas_map(chart), "pdf")


def test_forty_long_names_stand_beside_the_map():
    n = 30_000
    rng = np.random.default_rng(0)
    groups = [
        Group(f"A very long name of a type that hardly ends, number {k}", n // 40, colour)
        for k, colour in enumerate(density_colours(40))
    ]
    chart = AtlasMap(
        rng.normal(size=(n, 2)), (np.arange(n) % 40).astype(np.int16), groups, [], "t", "s", "type"
    )
    ax = atlas_map(chart)
    figure = figure_of(ax)
    figure.draw_without_rendering()
    legend = ax.get_legend().get_window_extent()
    assert legend.x0 > ax.get_window_extent().x1
    assert legend.x1 < figure.bbox.x1 and legend.y0 > 0
    box = ax.get_window_extent()
    left, right, bottom, top = grid_over(chart.xy_n2).extent
    assert box.width / box.height == pytest.approx((right - left) / (top - bottom), rel=1e-3)


def page_data(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="chart">(.*?)</script>', page, re.S)
    assert found is not None
    return json.loads(found[1])


NAMES = pd.DataFrame(
    {
        "alias": ["1", "2", "3", "4"],
        "label": ["CS_1", "CS_2", "CS_3", "4"],
        "description": ["a </script><b>", None, "c", "d"],
    }
)


@pytest.mark.parametrize("n", [400, 60_000])
def test_the_page_holds_points_or_pictures(n):
    chart = planted(n)
    page = atlas_page(chart, chart.code_n.astype(np.int32), NAMES)
    data = page_data(page)
    assert len(page) < 8_000_000
    assert "<b>" not in page.split("</style>")[1].split("<script>")[0]
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=", page)
    assert data["clusters"] == [
        ["1", "CS_1", "a </script><b>"],
        ["2", "CS_2"],
        ["3", "CS_3", "c"],
        ["4", "d"],
    ]
    assert [g["n"] for g in data["groups"]] == [n // 4] * 4
    cells = data["cells"]
    assert len(cells["x"]) == (n if n <= PLAIN else SAMPLE)
    assert np.bincount(cells["group"]).tolist() == [len(cells["x"]) // 4] * 4
    # Those behind come first; every cell is where its group is.
    assert set(cells["group"][: len(cells["x"]) // 4]) == {3}
    far = np.column_stack([cells["x"], cells["y"]]) - CENTRES[cells["group"]]
    assert np.linalg.norm(far, axis=1).max() < 1.01
    assert sorted(i["group"] for i in data["images"]) == ([] if n <= PLAIN else [0, 1, 2, 3])
