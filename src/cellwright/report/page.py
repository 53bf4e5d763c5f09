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
from cellwright.report.data_section import VERDICTS, data_section, file_name, provenance_section
from cellwright.report.embedding import METHOD_NAMES, clean_labels, embedding_map, knn_words
from cellwright.report.map_data import MapSource, map_sources, payload
from cellwright.report.picture import Picture, picture
from cellwright.report.probe_section import SEVERITIES, probe_section
from cellwright.report.run_section import run_section
from cellwright.report.thinning import thin
from cellwright.report.wording import count, finite, listed, number

HERE = Path(__file__).parent
STATIC_POINTS = 8_000  # of the map that stands in for the interactive one on paper


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
        "title": title or f"cellwright report: {_subject(parts)}",
        "version": cellwright.__version__,
        "data": data_section(inspection, run),
        "run": run_section(run) if run else None,
        "probes": [probe_section(part) for part in probes],
        "clusters": [cluster_section(part) for part in clusters],
        "provenance": provenance_section(parts),
        "sources": [_described(source) for source in sources],
        "static_map": _static_map(sources),
    }
    context["lede"] = _lede(context, run, inspection)
    context["cards"] = _cards(context, run)
    context["alarms"] = _alarms(context)
    scripts: list[Markup] = []
    if sources:
        scripts = [_script(get_plotlyjs()), _data(payload(sources)), _script(_text("map.js"))]
    return _template().render(
        **context, style=Markup(_text("page.css")), scripts=[*scripts, _script(_text("sort.js"))]
    )


def _subject(parts: Sequence[Part]) -> str:
    """What the page is about: the run's name, or its study's where the run has none of its own."""
    if not parts:
        return "the data"
    first = parts[0]
    plain = first.name in ("run", "probe", "cluster")
    return first.folder.resolve().parent.name or first.name if plain else first.name


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


def _described(source: MapSource) -> dict[str, Any]:
    """What stands beside the interactive map: how many cells it shows, and its numbers."""
    methods = list(dict.fromkeys(method for _, method in source.maps))
    reps = list(dict.fromkeys(rep for rep, _ in source.maps))
    chances = [
        finite(_entry(source, rep, method).get("chance")) for rep in reps for method in methods
    ]
    return {
        "title": source.title,
        "label": source.label,
        "shown": count(len(source.table)),
        "cells": count(source.cells),
        "thinned": source.thinned,
        "methods": [METHOD_NAMES.get(method, method) for method in methods],
        "chance": number(next((c for c in chances if c is not None), None)),
        "numbers": [
            {
                "rep": rep,
                "values": [
                    (number(value), value)
                    for value in (
                        finite(_entry(source, rep, method).get("value")) for method in methods
                    )
                ],
            }
            for rep in reps
            if any(_entry(source, rep, method) for method in methods)
        ],
        "notes": [
            f"{METHOD_NAMES.get(method, method)} of {rep}: {_entry(source, rep, method)['note']}"
            for rep in reps
            for method in methods
            if _entry(source, rep, method).get("note")
        ],
    }


def _entry(source: MapSource, rep: str, method: str) -> Mapping[str, Any]:
    found = source.knn.get(rep)
    entry = found.get(method) if isinstance(found, Mapping) else None
    return entry if isinstance(entry, Mapping) else {}


def _static_map(sources: Sequence[MapSource]) -> Picture | None:
    """The map the page opens with as an image, for paper and for browsers without scripts."""
    if not sources or not sources[0].maps:
        return None
    source = sources[0]
    rep = next(iter(source.maps))[0]
    methods = [method for own, method in source.maps if own == rep]
    method = "umap" if "umap" in methods else methods[0]
    labels = clean_labels(source.table["label"])
    kept = thin(labels, STATIC_POINTS)
    xy = source.maps[rep, method][kept]
    knn = _entry(source, rep, method)
    return picture(
        lambda: embedding_map(
            xy,
            labels[kept],
            method=method,
            rep=rep,
            label=source.label,
            knn=knn,
            order=source.order,
        ),
        f"{METHOD_NAMES.get(method, method)} of {rep} coloured by {source.label}: "
        f"{knn_words(knn, len(kept))}.",
        ending="webp",
    )


def _lede(
    context: Mapping[str, Any], run: Part | None, inspection: Mapping[str, Any] | None
) -> str:
    """What was run on what, in one sentence."""
    recorded = (run.extra.get("provenance") or {}).get("data") if run is not None else None
    known = inspection or (recorded if isinstance(recorded, Mapping) else None) or {}
    data = file_name(known) if known and file_name(known) != "–" else ""
    if finite(known.get("n_obs")) is not None and finite(known.get("n_vars")) is not None:
        shape = f"{count(known['n_obs'])} cells × {count(known['n_vars'])} genes"
        scale = VERDICTS.get(str(known.get("verdict")), "").split(" (")[0]
        inside = f"{shape}, {scale}" if scale else shape
        data = f"{data} ({inside})" if data else inside
    done = []
    if run is not None:
        done.append(f"the masked-bin encoder {run.name} was pretrained")
    for probe in context["probes"]:
        k = len(probe["tables"][0].rows) if probe["tables"] else 0
        done.append(f"{count(k)} representations were probed for {probe['label']}")
    for cluster in context["clusters"]:
        k = len(cluster["reps"])
        done.append(
            f"{count(k)} representation{'s were' if k != 1 else ' was'} clustered "
            f"and set beside {cluster['label']}"
        )
    if not done:
        return f"What {data} holds." if data else "What was found."
    words = listed(done)
    return f"On {data}, {words}." if data else f"{words[0].upper()}{words[1:]}."


def _cards(context: Mapping[str, Any], run: Part | None) -> list[dict[str, str]]:
    """The few numbers to see first, none without what it must beat."""
    cards = []
    if run is not None and context["run"]["references"]:
        rows = context["run"]["references"]
        model = next((row for row in rows if row["model"]), None)
        best = next((row for row in rows if row["best"]), None)
        if model is not None:
            beside = f"best without a network: {best['value']}, {best['name']}" if best else ""
            cards.append(_card("Perplexity of masked bins", model["value"], "", beside))
    for probe in context["probes"]:
        for table in probe["tables"][:1]:
            cards += _score_cards(probe["label"], table)
    for cluster in context["clusters"]:
        for row in [r for r in cluster["agreement"] if r["at"] != "as given"][:1]:
            cards.append(
                _card(
                    f"Adjusted Rand index with {cluster['label']}",
                    row["values"][0][0],
                    "",
                    f"{row['clusters']} clusters of {row['rep']}; 0 is chance, 1 perfect",
                )
            )
    return cards


def _score_cards(label: str, table: Any) -> list[dict[str, str]]:
    rows = table.rows
    lead = next((row for row in rows if row["kind_key"] == "model"), None)
    if lead is None:
        return []
    beside = []
    for kind, words in (("simple", "best simple method"), ("shortcut", "best shortcut")):
        best = next((row for row in rows if row["kind_key"] == kind), None)
        if best is not None:
            beside.append(f"{words} {best['cells'][0]['value']} ({best['rep']})")
    beside.append(f"chance {table.metrics[0][2]}")
    what = f"{table.metrics[0][1]} for {label} from {lead['rep']}, {table.title}"
    cell = lead["cells"][0]
    return [_card(what, cell["value"], cell["interval"], "; ".join(beside))]


def _card(what: str, value: str, interval: str, beside: str) -> dict[str, str]:
    return {"what": what, "value": value, "interval": interval, "beside": beside}


def _alarms(context: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Failures and warnings of all parts, the gravest first; of each kind of warning the first."""
    found: dict[str, dict[str, Any]] = {}
    for part in [*context["probes"], *context["clusters"]]:
        for check in part["checks"]:
            if check["severity"] == "note":
                continue
            key = check["sentence"] if check["severity"] == "failure" else check["name"]
            if key in found:
                found[key]["more"] += 1
            else:
                found[key] = {**check, "more": 0}
    return sorted(
        found.values(),
        key=lambda c: SEVERITIES.index(c["severity"]) if c["severity"] in SEVERITIES else 1,
    )
