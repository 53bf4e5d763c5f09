"""Figures are written whole or not at all, alike each time, and change nothing outside."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest

from cellwright.errors import DataError, SettingsError
from cellwright.report.canvas import figure_of, new_axes, new_grid, plain, rendered, save_figure
from cellwright.report.confusion import confusion_matrix


@pytest.mark.parametrize(
    ("ending", "first"),
    [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml"), ("PNG", b"\x89PNG")],
)
def test_the_ending_chooses_the_format(tmp_path: Path, ending: str, first: bytes) -> None:
    path = save_figure(new_axes(), tmp_path / f"a.{ending}")
    assert path.read_bytes().startswith(first)
    assert [file.name for file in tmp_path.iterdir()] == [f"a.{ending}"]


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_the_same_figure_has_the_same_bytes(ending: str) -> None:
    once, twice = (rendered(confusion_matrix(np.eye(2), ["a", "b"]), ending) for _ in range(2))
    assert once == twice


def test_another_ending_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"'\.gif'"):
        save_figure(new_axes(), tmp_path / "a.gif")
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        save_figure(new_axes(), tmp_path / "nowhere" / "a.png")


def test_axes_arrays_and_figures_can_be_saved(tmp_path: Path) -> None:
    grid = new_grid(2, 2, 4, 4)
    assert grid.shape == (2, 2)
    assert figure_of(grid) is figure_of(grid[1, 1]) is figure_of(figure_of(grid))
    save_figure(grid, tmp_path / "a.png", dpi=30)


def test_drawing_changes_no_global_setting() -> None:
    before = dict(mpl.rcParams)
    rendered(confusion_matrix(np.eye(2), ["a", "b"]), "svg", outlines=False)
    assert dict(mpl.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or not pyplot.get_fignums()


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a\nb", "a b"),
        ("$x$", r"\$x\$"),
        ("_hidden", " _hidden"),
        ("a" * 50, "a" * 23 + "…" + "a" * 12),
        (7, "7"),
    ],
)
def test_a_name_is_only_text_in_a_figure(given: object, shown: str) -> None:
    assert plain(given) == shown


def test_dollars_are_drawn_and_not_read_as_mathematics() -> None:
    ax = confusion_matrix(np.eye(2), ["$\\frac{", "b$"])
    svg = rendered(ax, "svg", outlines=False).decode()
    assert ">$\\frac{<" in svg
    assert ">b$<" in svg
