"""The page in a real browser: no error, no network, a map that answers, names as text."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.support.ui import WebDriverWait

from cellwright.report.page import build_report

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --disable-dev-shm-usage "
    "--window-size=1280,1000"
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None,
        reason=f"needs Chromium and its driver on the PATH (found {CHROMIUM}, {DRIVER})",
    ),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


def opened(browser: Any, page: Path) -> Any:
    """Load a page with empty logs and wait for its map."""
    browser.get("about:blank")
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(page.as_uri())
    browser.execute_async_script(
        "const done = arguments[0]; (function wait() {"
        "document.querySelector('#map-plot.js-plotly-plot .legend') ? done() : setTimeout(wait, 50)"
        "})();"
    )
    return browser


def errors(browser: Any) -> list[str]:
    """What the console calls severe; drivers of graphics cards talk at lower levels."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def requests(browser: Any) -> list[str]:
    """Every address asked for over a network, by either of two records."""
    seen = browser.execute_script(
        "return performance.getEntriesByType('resource').map(e => e.name)"
    )
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            seen.append(message["params"]["request"]["url"])
        elif message["method"] == "Network.webSocketCreated":
            seen.append(message["params"]["url"])
    return [url for url in seen if url.split(":")[0] in ("http", "https", "ws", "wss", "ftp")]


def hover_text(browser: Any) -> str:
    """What the label over a point says, if there is one."""
    return browser.execute_script(
        "return Array.from(document.querySelectorAll('#map-plot .hovertext text.nums'))"
        ".map(e => e.textContent).join('|')"
    )


def hovered(browser: Any, curve: int, point: int) -> str:
    """The label that appears over a point."""
    browser.execute_script(
        "Plotly.Fx.hover('map-plot', [{curveNumber: arguments[0], pointNumber: arguments[1]}])",
        curve,
        point,
    )
    return hover_text(browser)


def chosen(browser: Any, name: str, value: str) -> None:
    browser.execute_script(
        "const s = document.getElementById('map-' + arguments[0]); s.value = arguments[1];"
        "s.dispatchEvent(new Event('change'))",
        name,
        value,
    )


def test_no_error_and_no_request(browser: Any, page: Path) -> None:
    opened(browser, page)
    assert errors(browser) == []
    assert requests(browser) == []
    sizes = browser.execute_script(
        "return Array.from(document.images).filter(i => i.offsetParent).map(i => i.naturalWidth)"
    )
    assert len(sizes) > 10
    assert min(sizes) > 100


def test_the_map_answers_with_cell_label_and_prediction(
    browser: Any, page: Path, study: Path
) -> None:
    opened(browser, page)
    drawn = browser.execute_script(
        "return document.getElementById('map-plot').data.map(t => [t.type, t.name, t.x.length])"
    )
    assert drawn == [["scatter", "excitatory  150", 150], ["scatter", "inhibitory  150", 150]]
    text = hovered(browser, 1, 3)
    # The fourth inhibitory cell is the eighth of the file.
    assert "10X194_0:CELL000007" in text
    assert "cell_type: inhibitory" in text
    assert "predicted: inhibitory" in text


def test_representation_method_and_colour_can_be_chosen(browser: Any, page: Path) -> None:
    opened(browser, page)
    words = "return document.getElementById('map-words').textContent"
    assert browser.execute_script(words).startswith("UMAP of neurons: 300 cells; kNN accuracy")
    before = browser.execute_script("return document.getElementById('map-plot').data[0].x[0]")
    chosen(browser, "rep", "depth")
    chosen(browser, "method", "tsne")
    assert browser.execute_script(words).startswith("t-SNE of depth: 300 cells; kNN accuracy")
    assert (
        browser.execute_script("return document.getElementById('map-plot').data[0].x[0]") != before
    )
    chosen(browser, "source", "1")
    chosen(browser, "colour", "cluster")
    assert browser.execute_script("return document.getElementById('map-plot').data.length") == 4
    assert errors(browser) == []


def test_tables_sort_by_value(browser: Any, page: Path) -> None:
    opened(browser, page)
    script = (
        "const t = document.querySelector('table.scores'); t.tHead.rows[0].cells[2]"
        ".querySelector('button').click();"
        "return Array.from(t.tBodies[0].rows).map(r => Number(r.cells[2].dataset.sort))"
    )
    falling = browser.execute_script(script)
    assert falling == sorted(falling, reverse=True)
    rising = browser.execute_script(script)
    assert rising == sorted(rising)
    assert rising[0] < rising[-1]


def test_hostile_names_are_text(browser: Any, tricky_page: Path) -> None:
    opened(browser, tricky_page)
    assert browser.execute_script("return window.hurt === undefined")
    assert browser.execute_script("return document.title") == "</title><b>"
    legend = browser.execute_script(
        "return Array.from(document.querySelectorAll('#map-plot .legendtext')).map(e => e.textContent)"
    )
    assert '<b>L5 IT</b> & "x"  30' in legend
    text = hovered(browser, 0, 0)
    assert 'cell & <type>: <b>L5 IT</b> & "x"' in text
    assert errors(browser) == []
    assert requests(browser) == []


def test_many_cells_are_drawn_by_the_graphics_card(
    browser: Any, make_probe: Callable[..., Path], tmp_path: Path
) -> None:
    probe = make_probe(n=3_300, reps=("neurons",))
    opened(browser, build_report(probes=[probe], out=tmp_path / "page.html"))
    kinds = browser.execute_script(
        "return document.getElementById('map-plot').data.map(t => t.type)"
    )
    assert kinds == ["scattergl", "scattergl"]
    # The rightmost cell of all lies alone; a real mouse, because the card is asked what is there.
    at, name = browser.execute_script(
        "const plot = document.getElementById('map-plot'); plot.scrollIntoView({block: 'center'});"
        "const ends = plot.data.map(t => Math.max(...t.x)); const t = plot.data[ends.indexOf(Math.max(...ends))];"
        "const i = t.x.indexOf(Math.max(...t.x)); const box = plot.querySelector('.nsewdrag').getBoundingClientRect();"
        "const at = [box.left + plot._fullLayout.xaxis.d2p(t.x[i]), box.top + plot._fullLayout.yaxis.d2p(t.y[i])];"
        "return [at.map(Math.round), t.text[i].split('<br>')[0]]"
    )
    pointer = ActionBuilder(browser)
    pointer.pointer_action.move_to_location(*at)
    pointer.perform()
    WebDriverWait(browser, 20).until(lambda _: hover_text(browser))
    assert name in hover_text(browser)
    assert errors(browser) == []


def test_paper_gets_an_image_in_place_of_the_map(browser: Any, page: Path) -> None:
    opened(browser, page)
    shown = (
        "return ['#map-plot', '.only-print img', '.controls']"
        ".map(s => document.querySelector(s).getBoundingClientRect().height > 0)"
    )
    assert browser.execute_script(shown) == [True, False, True]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert browser.execute_script(shown) == [False, True, False]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_nothing_runs_over_the_edge_of_a_narrow_screen(browser: Any, page: Path) -> None:
    narrow = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    opened(browser, page)
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide <= 390
