"""Scores as rows that a page or a notebook can print: what was reached, and beside what."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cellwright.interfaces import Score
from cellwright.report.methods import (
    KIND_NAMES,
    KIND_ORDER,
    SEEN_NAMES,
    as_dicts,
    design_words,
    kinds,
    metric_name,
)
from cellwright.report.wording import DASH, count, finite, number, signed

HEADLINES = ("accuracy", "balanced_accuracy", "macro_f1", "f1_positive", "roc_auc")


@dataclass(frozen=True)
class ScoreTable:
    """One design: a row per representation, a column per metric.

    ``metrics`` are the columns as (key, name, chance); ``rows`` hold ``rep``, ``kind``, ``seen``,
    ``cells`` (by metric: value, interval, sort key) and ``difference`` of the first metric.
    """

    split: str
    title: str
    unit: str
    metrics: list[tuple[str, str, str]]
    rows: list[dict[str, Any]]


def score_tables(
    scores: Sequence[Score | Mapping[str, Any]],
    baselines: Collection[str] | None = None,
    metrics: Sequence[str] = HEADLINES,
) -> list[ScoreTable]:
    """One table per design, in the order in which the designs occur."""
    rows = [row for row in as_dicts(scores) if row.get("stratum", "all") == "all"]
    kind = kinds(rows, baselines)
    designs = dict.fromkeys(str(row.get("split")) for row in rows)
    return [_table([r for r in rows if str(r.get("split")) == d], kind, metrics) for d in designs]


def long_rows(
    scores: Sequence[Score | Mapping[str, Any]], baselines: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """Every score, one row each, as text with the numbers to sort by."""
    rows = as_dicts(scores)
    kind = kinds(rows, baselines)
    return [
        {
            "rep": str(row.get("rep")),
            "kind": KIND_NAMES[kind[str(row.get("rep"))]],
            "metric": metric_name(str(row.get("metric"))),
            "split": design_words(row),
            "stratum": str(row.get("stratum", "all")),
            "value": number(row.get("value")),
            "sort": finite(row.get("value")),
            "interval": bracket(row.get("low"), row.get("high")),
            "method": str(row.get("interval") or DASH),
            "over": f"{count(row.get('n'))} {row.get('unit') or ''}".strip(),
            "chance": number(row.get("chance")),
            "baseline": str(row.get("baseline") or DASH),
            "difference": difference_of(row),
            "seen": seen_of(row),
        }
        for row in rows
    ]


def difference_of(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The paired difference to the best baseline in text, with what its interval allows to say."""
    given = row.get("difference")
    if not isinstance(given, Mapping):
        return None
    return judged(given, higher_is_better=bool(row.get("higher_is_better", True))) | {
        "to": str(row.get("baseline") or "")
    }


def judged(difference: Mapping[str, Any], *, higher_is_better: bool = True) -> dict[str, Any]:
    """A difference with its verdict: ``better`` or ``worse`` only if the interval excludes 0."""
    low, high = finite(difference.get("low")), finite(difference.get("high"))
    if not higher_is_better and low is not None and high is not None:
        low, high = -high, -low
    if low is not None and low > 0:
        verdict = "better"
    elif high is not None and high < 0:
        verdict = "worse"
    else:
        verdict = "not shown to differ"
    return {
        "value": signed(difference.get("value")),
        "sort": finite(difference.get("value")),
        "interval": bracket(difference.get("low"), difference.get("high"), signs=True),
        "verdict": verdict,
    }


def bracket(low: Any, high: Any, *, signs: bool = False) -> str:
    """``[0.986, 0.996]``, or nothing if either end is missing."""
    if finite(low) is None or finite(high) is None:
        return ""
    write = signed if signs else number
    return f"[{write(low)}, {write(high)}]"


def seen_of(row: Mapping[str, Any]) -> dict[str, str]:
    """What the representation has seen of the scored cells: key and words."""
    key = str(row.get("seen") or "unknown")
    return {"key": key, "words": SEEN_NAMES.get(key, key)}


def _table(
    rows: list[dict[str, Any]], kind: Mapping[str, Any], metrics: Sequence[str]
) -> ScoreTable:
    there = {str(row.get("metric")) for row in rows}
    shown = [m for m in metrics if m in there] or sorted(there)[:5]
    by: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        by.setdefault(str(row.get("rep")), {})[str(row.get("metric"))] = row
    lead = shown[0]

    def rank(rep: str) -> tuple[int, float]:
        return KIND_ORDER.index(kind[rep]), -(finite(by[rep].get(lead, {}).get("value")) or 0.0)

    first = rows[0]
    columns = []
    for metric in shown:
        chances = [finite(r.get("chance")) for r in rows if r.get("metric") == metric]
        columns.append((metric, metric_name(metric), number(next(iter(chances), None))))
    return ScoreTable(
        split=str(first.get("split")),
        title=design_words(first),
        unit=f"{count(first.get('n'))} {first.get('unit') or 'units'}",
        metrics=columns,
        rows=[
            {
                "rep": rep,
                "kind": KIND_NAMES[kind[rep]],
                "kind_key": kind[rep],
                "seen": seen_of(next(iter(by[rep].values()))),
                "cells": [_cell(by[rep].get(metric)) for metric in shown],
                "difference": difference_of(by[rep].get(lead, {})),
            }
            for rep in sorted(by, key=rank)
        ],
    )


def _cell(row: Mapping[str, Any] | None) -> dict[str, Any]:
    if row is None:
        return {"value": DASH, "interval": "", "sort": None}
    return {
        "value": number(row.get("value")),
        "interval": bracket(row.get("low"), row.get("high")),
        "sort": finite(row.get("value")),
    }
