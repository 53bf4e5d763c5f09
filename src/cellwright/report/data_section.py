"""The parts of the page about the data and about where the numbers come from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cellwright.report.collect import Part
from cellwright.report.wording import DASH, count, duration, finite, flat, number, size

VERDICTS = {
    "counts": "raw counts",
    "float-counts": "raw counts (stored as floating-point numbers)",
    "lognorm": "log-normalized values",
    "scaled": "scaled values",
    "unknown": "values on an unknown scale",
}


def data_section(inspection: Mapping[str, Any] | None, run: Part | None) -> dict[str, Any] | None:
    """What the file holds, and the verdict on its matrix; None if nothing is known.

    An inspection says most; without one, what the run recorded about its data.
    """
    recorded = (run.extra.get("provenance") or {}).get("data") if run is not None else None
    found = inspection or (recorded if isinstance(recorded, Mapping) else None)
    if not found:
        return None
    duplicates = found.get("duplicates")
    facts = [
        ("File", file_name(found)),
        ("Cells", count(found.get("n_obs"))),
        ("Genes", count(found.get("n_vars"))),
        ("Stored as", str(found.get("format") or DASH)),
        ("Size on disk", size(found.get("bytes"))),
        ("Density", number(found.get("density"))),
        ("Counts in", str(found.get("counts_in") or DASH)),
        ("Counts per cell", _middle(found.get("counts_per_cell"))),
        ("Genes detected per cell", _middle(found.get("genes_per_cell"))),
        ("Gene ids", str(found.get("gene_id_kind") or DASH)),
        ("Organism", str(found.get("organism") or DASH)),
        ("Names that occur twice", _duplicates(duplicates)),
        ("Split by", str(found.get("split_by") or DASH)),
        ("Fingerprint", str(found.get("fingerprint") or DASH)),
    ]
    problems = found.get("problems")
    return {
        "verdict": verdict_sentence(found),
        "evidence": str(found.get("evidence") or ""),
        "facts": [(name, value) for name, value in facts if value != DASH],
        "problems": [str(p) for p in problems] if isinstance(problems, list) else None,
        "inspected": inspection is not None,
    }


def verdict_sentence(found: Mapping[str, Any]) -> str:
    """The verdict on the matrix as a sentence."""
    verdict = str(found.get("verdict") or "unknown")
    words = VERDICTS.get(verdict, verdict)
    where = found.get("verdict_of") or found.get("counts_in")
    return f"{where or 'The matrix'} holds {words}."


def file_name(found: Mapping[str, Any]) -> str:
    """The name of the data file without its folders: they are nobody else's business."""
    given = str(found.get("file") or found.get("name") or "")
    return re.split(r"[/\\]", given)[-1] or DASH


def provenance_section(parts: list[Part]) -> list[dict[str, Any]]:
    """Versions, seed, hardware and settings of every part that recorded them."""
    out = []
    for part in parts:
        recorded = part.extra.get("provenance")
        rows = _recorded(recorded) if isinstance(recorded, Mapping) else []
        settings = flat(part.extra.get("settings") or {})
        if rows or settings:
            out.append({"name": part.name, "rows": rows, "settings": settings})
    return out


def _recorded(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A row per fact at the top, and one per group of facts below it."""
    rows: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = f"{prefix}{key}".replace("_", " ")
        if not isinstance(value, Mapping):
            rows.append((name, _fact(str(key), value)))
            continue
        single = [
            f"{str(k).removesuffix('_bytes').replace('_', ' ')} {_fact(str(k), v)}"
            for k, v in value.items()
            if not isinstance(v, Mapping)
        ]
        if single:
            rows.append((name, ", ".join(single)))
        rows += _recorded({k: v for k, v in value.items() if isinstance(v, Mapping)}, f"{name}: ")
    return rows


def _fact(key: str, value: Any) -> str:
    if key.endswith("bytes"):
        return size(value)
    if key == "seconds":
        return duration(value)
    return flat(value)[0][1] if value != [] else "none"


def _duplicates(found: Any) -> str:
    if not isinstance(found, Mapping):
        return DASH
    return f"{count(found.get('obs'))} of cells, {count(found.get('var'))} of genes"


def _middle(quantiles: Any) -> str:
    """Median and the range of nine cells in ten."""
    if not isinstance(quantiles, Mapping) or finite(quantiles.get("median")) is None:
        return DASH
    words = f"median {count(quantiles['median'])}"
    low, high = quantiles.get("q05"), quantiles.get("q95")
    if finite(low) is None or finite(high) is None:
        return words
    return f"{words}; nine cells in ten have {count(low)} to {count(high)}"
