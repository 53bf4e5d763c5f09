"""The report: one HTML file that needs nothing but a browser."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

import cellwright
from cellwright.data.atomic import atomic_file
from cellwright.errors import DataError
from cellwright.report.cluster_section import cluster_section
from cellwright.report.collect import Part, read_cluster, read_inspection, read_probe, read_run
from cellwright.report.data_section import data_section, provenance_section
from cellwright.report.findings import alarms, cards, lede, subject
from cellwright.report.map_data import map_sources, payload
from cellwright.report.map_section import described, static_map
from cellwright.report.probe_section import probe_section
from cellwright.report.run_section import run_section

HERE = Path(__file__).parent


def build_report(
    run: Path | str | None = None,
    probes: Sequence[Path | str] = (),
    clusters: Sequence[Path | str] = (),
    inspection: Path | str | None = None,
    title: str | None = None,
    out: Path | str = "report.html",
) -> Path:
    """Write one self-contained page about a run, its probes and its clusters.

    A part that is missing is left out with a sentence that says so. An existing ``out`` is
    replaced (atomically).

    Parameters
    ----------
    run
        Run folder of a pretraining.
    probes, clusters
        Folders written by ``cellwright probe`` and ``cellwright cluster``.
    inspection
        JSON file as ``cellwright inspect --json`` prints it.
    title
        Heading of the page; default from the run's name.
    out
        Where to write.

    Returns
    -------
    The path written.

    Raises
    ------
    RunError
        If a folder does not exist, is of another kind, or its ``metrics.json`` cannot be read.
    DataError
        If ``out`` cannot be written, or nothing at all was given to report on.
    """
    if run is None and not probes and not clusters and inspection is None:
        raise DataError(
            "nothing to report on: no run, no probe, no cluster folder and no inspection was given"
        )
    trained = None if run is None else read_run(run)
    probed = [read_probe(folder) for folder in probes]
    clustered = [read_cluster(folder) for folder in clusters]
    seen = None if inspection is None else read_inspection(inspection)
    html = render(trained, probed, clustered, seen, title)
    out = Path(out)
    with atomic_file(out) as temporary:
        temporary.write_text(html, encoding="utf-8", newline="\n")
    return out


def render(
    run: Part | None,
    probes: Sequence[Part],
    clusters: Sequence[Part],
    inspection: Mapping[str, Any] | None,
    title: str | None = None,
) -> str:
    """The page as text."""
    parts = [*([run] if run else []), *probes, *clusters]
    sources = map_sources([*probes, *clusters])
    context = {
        "title": title or f"cellwright report: {subject(parts)}",
        "version": cellwright.__version__,
        "data": data_section(inspection, run),
        "run": run_section(run) if run else None,
        "probes": [probe_section(part) for part in probes],
        "clusters": [cluster_section(part) for part in clusters],
        "provenance": provenance_section(parts),
        "sources": [described(source) for source in sources],
        "static_map": static_map(sources),
    }
    context["lede"] = lede(context, run, inspection)
    context["cards"] = cards(context, run)
    context["alarms"] = alarms(context)
    scripts: list[Markup] = []
    if sources:
        scripts = [_script(get_plotlyjs()), _data(payload(sources)), _script(_text("map.js"))]
    return _template().render(
        **context, style=Markup(_text("page.css")), scripts=[*scripts, _script(_text("sort.js"))]
    )


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _script(code: str) -> Markup:
    """Code of ours or of Plotly as an inline script; nothing in it may end the element."""
    safe = code.replace("</script", "<\\/script").replace("<!--", "<\\!--")
    return Markup("<script>") + Markup(safe) + Markup("</script>")


def _data(values: Mapping[str, Any]) -> Markup:
    """Values as inline JSON; no letter of theirs can be read as HTML."""
    text = json.dumps(values, allow_nan=False, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return Markup(f'<script type="application/json" id="map-data">{text}</script>')
