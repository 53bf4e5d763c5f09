"""The map's page in a real browser: its colours, its legend, what appears close up, no network."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from cellwright.report.atlas_map import AtlasMap, Circled, Group
from cellwright.report.atlas_map_html import atlas_page
from cellwright.report.density import rgb
from cellwright.report.palette import OTHERS

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --disable-dev-shm-usage "
    "--window-size=1280,1000"
)
CENTRES = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 8.0]])

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason=f"needs Chromium and its driver on the PATH (found {CHROMIUM}, {DRIVER})",
    ),
]


@pytest.fixture(scope="module")
def chart() -> AtlasMap:
    """Two types and the others far apart, on two sites of a third type that mixes evenly."""
    rng = np.random.default_rng(0)
    n = 240_000
    code = np.arange(n) % 3
    xy = CENTRES[code] + rng.uniform(-1, 1, (n, 2))
    groups = [Group("<i>one</i>", n // 3, "#E69F00"), Group("two", n // 3, "#780F78")]
    groups.append(Group("Others", n // 3, OTHERS, back=True))
    rows = np.flatnonzero(code == 1)[:1000]
    return AtlasMap(xy, code.astype(np.int16), groups, [Circled("7", rows)], "A map", "s", "type")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, chart: AtlasMap) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("page")
    names = pd.DataFrame(
        {"alias": ["1", "2", "3"], "label": ["<b>L1</b>", "L2", "L3"], "description": [None] * 3}
    )
    page = folder / "map.html"
    page.write_text(atlas_page(chart, chart.code_n.astype(np.int32), names), encoding="utf-8")
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS.split(), f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    driver.set_script_timeout(60)
    driver.get(page.as_uri())
    waited(driver, "document.querySelectorAll('.layer-subplot .imagelayer image').length === 3")
    yield driver
    driver.quit()


def waited(browser: Any, condition: str) -> None:
    browser.execute_async_script(
        "const done = arguments[0]; (function wait() {"
        f"({condition}) ? done() : setTimeout(wait, 30) }})();"
    )


def colour_at(browser: Any, xy: np.ndarray) -> np.ndarray:
    """Median colour of the screen around a point of the map."""
    x, y = browser.execute_script(
        "const p = document.getElementById('map'), l = p._fullLayout, b = p.getBoundingClientRect();"
        "return [b.left + l.xaxis._offset + l.xaxis.d2p(arguments[0]),"
        " b.top + l.yaxis._offset + l.yaxis.d2p(arguments[1])]",
        *xy.tolist(),
    )
    screen = mpl.image.imread(io.BytesIO(browser.get_screenshot_as_png()), format="png")
    scale = browser.execute_script("return window.devicePixelRatio")
    part = screen[round((y - 8) * scale) : round((y + 9) * scale)]
    part = part[:, round((x - 8) * scale) : round((x + 9) * scale), :3]
    return np.median(part.reshape(-1, 3), axis=0) * 255


def test_colours_of_the_screen_are_those_of_the_legend(browser: Any, chart: AtlasMap) -> None:
    for centre, group in zip(CENTRES, chart.groups, strict=True):
        if group.name != "two":  # circled
            found = colour_at(browser, centre + 0.3)
            np.testing.assert_allclose(found, rgb(group.colour) * 255, atol=8)
    np.testing.assert_allclose(colour_at(browser, np.array([5.0, 4.0])), 255, atol=1)


def test_names_are_text_and_nothing_is_asked_for_or_wrong(browser: Any) -> None:
    legend = browser.execute_script(
        "return Array.from(document.querySelectorAll('.legendtext')).map(e => e.textContent)"
    )
    assert legend == ["<i>one</i>  80,000", "two  80,000", "Others  80,000", "7  1,000"]
    asked = browser.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    assert not [url for url in asked if url.startswith("http")]
    assert not [e for e in browser.get_log("browser") if e["level"] == "SEVERE"]


def test_a_cell_says_what_it_is(browser: Any) -> None:
    said = browser.execute_script(
        "const p = document.getElementById('map');"
        "const i = p.data[0].marker.color.indexOf('#E69F00');"
        "Plotly.Fx.hover('map', [{curveNumber: 0, pointNumber: i}]);"
        "return document.querySelector('.hovertext text.nums').textContent"
    )
    browser.execute_script("Plotly.Fx.unhover('map')")
    assert "<i>one</i>" in said and "<b>L1</b>" in said


def test_a_hidden_type_leaves_the_picture_and_comes_back(browser: Any) -> None:
    hide = "Plotly.restyle('map', {visible: arguments[0]}, [1])"
    points = "return document.getElementById('map').data[0].x.length"
    count = "document.querySelectorAll('.layer-subplot .imagelayer image').length"
    assert browser.execute_script(points) == 12_000
    np.testing.assert_allclose(colour_at(browser, CENTRES[0]), [230, 159, 0], atol=8)
    browser.execute_script(hide, "legendonly")
    waited(browser, f"{count} === 2")
    np.testing.assert_allclose(colour_at(browser, CENTRES[0]), 255, atol=1)
    assert browser.execute_script(points) == 8_000
    browser.execute_script(hide, True)
    waited(browser, f"{count} === 3")
    np.testing.assert_allclose(colour_at(browser, CENTRES[0]), [230, 159, 0], atol=8)


def test_close_up_the_cells_and_all_circles_appear(browser: Any) -> None:
    seen = (
        "const d = document.getElementById('map').data;"
        "return [d[0].marker.opacity, d[d.length - 1].x.length]"
    )
    opacity, circles = browser.execute_script(seen)
    assert opacity == 0 and circles < 200
    browser.execute_script("Plotly.relayout('map', {'xaxis.range': [9.5, 10.5]})")
    waited(browser, "document.getElementById('map').data.at(-1).x.length === 1000")
    assert browser.execute_script(seen) == [0.9, 1000]
    browser.execute_script("Plotly.relayout('map', {'xaxis.range': [-2, 12]})")
    waited(browser, "document.getElementById('map').data.at(-1).x.length < 1000")
