"""The head of the page: what was run on what, the numbers to see first, what to be careful about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cellwright.report.checks import gravity
from cellwright.report.collect import Part
from cellwright.report.data_section import VERDICTS, file_name
from cellwright.report.score_table import ScoreTable
from cellwright.report.wording import count, finite, listed


def subject(parts: Sequence[Part]) -> str:
    """What the page is about: the run's name, or its study's where the run has none of its own."""
    if not parts:
        return "the data"
    first = parts[0]
    plain = first.name in ("run", "probe", "cluster")
    return first.folder.resolve().parent.name or first.name if plain else first.name


def lede(context: Mapping[str, Any], run: Part | None, inspection: Mapping[str, Any] | None) -> str:
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
        done.append(f"{_representations(k)} probed for {probe['label']}")
    for cluster in context["clusters"]:
        k = len(cluster["reps"])
        done.append(f"{_representations(k)} clustered and set beside {cluster['label']}")
    if not done:
        return f"What {data} holds." if data else "What was found."
    words = listed(done)
    return f"On {data}, {words}." if data else f"{words[0].upper()}{words[1:]}."


def cards(context: Mapping[str, Any], run: Part | None) -> list[dict[str, str]]:
    """The few numbers to see first, none without what it must beat."""
    found = []
    if run is not None and context["run"]["references"]:
        rows = context["run"]["references"]
        model = next((row for row in rows if row["model"]), None)
        best = next((row for row in rows if row["best"]), None)
        if model is not None:
            beside = f"best without a network: {best['value']}, {best['name']}" if best else ""
            found.append(
                _card(f"Perplexity of masked {context['run']['what']}", model["value"], "", beside)
            )
    for probe in context["probes"]:
        for table in probe["tables"][:1]:
            found += _score_cards(probe["label"], table)
    for cluster in context["clusters"]:
        found += _agreement_cards(cluster)
    return found


def _agreement_cards(cluster: Mapping[str, Any]) -> list[dict[str, str]]:
    """The adjusted Rand index at as many clusters as labels, of the first model beside the best."""
    rows = [row for row in cluster["agreement"] if row["at"] != "as given"]
    if not rows:
        return []
    lead, ari = rows[0], rows[0]["values"][0]
    beside = [f"{lead['clusters']} clusters of {lead['rep']}"]
    simple = [row for row in rows if row["kind_key"] == "simple" and row is not lead]
    known = [row for row in simple if row["values"][0][1] is not None]
    if known:
        best = max(known, key=lambda row: row["values"][0][1])
        beside.append(f"best simple method {best['values'][0][0]} ({best['rep']})")
    beside.append("0 is chance, 1 perfect")
    what = f"Adjusted Rand index with {cluster['label']}"
    return [_card(what, ari[0], ari[2], "; ".join(beside))]


def _representations(k: int) -> str:
    return f"{count(k)} representation{'s were' if k != 1 else ' was'}"


def _score_cards(label: str, table: ScoreTable) -> list[dict[str, str]]:
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


def alarms(context: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Failures and warnings of all parts, the gravest first; of each kind of warning the first."""
    found: dict[str, dict[str, Any]] = {}
    parts = [
        *([context["run"]] if context["run"] else []),
        *context["probes"],
        *context["clusters"],
    ]
    for part in parts:
        for check in part["checks"]:
            if check["severity"] == "note":
                continue
            key = check["sentence"] if check["severity"] == "failure" else check["name"]
            if key in found:
                found[key]["more"] += 1
            else:
                found[key] = {**check, "more": 0}
    return sorted(found.values(), key=gravity)
