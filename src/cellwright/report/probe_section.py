"""The part of the page about a probe: scores beside what they must beat, checks, matrices, ROC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cellwright.report.checks import checks
from cellwright.report.collect import Part
from cellwright.report.confusion import confusion_of
from cellwright.report.methods import KIND_ORDER, design_words, kinds, metric_name
from cellwright.report.picture import Picture, picture
from cellwright.report.roc import roc_curves
from cellwright.report.score_table import ScoreTable, judged, long_rows, score_tables
from cellwright.report.scores import score_panels
from cellwright.report.wording import DASH, count, finite, flat, listed, number

LARGE = 8  # classes; more, and a matrix fills the width of the page
VERY_LARGE = 12
LEADING = 4  # sentences told among the findings
STRATA = 12
NOTHING: dict[str, Any] = {"value": DASH, "interval": "", "sort": None}


def probe_section(probe: Part) -> dict[str, Any]:
    """Everything the template prints about a probe."""
    metrics = probe.metrics
    scores = [row for row in metrics.get("scores") or () if isinstance(row, Mapping)]
    baselines = metrics.get("baselines")
    tables = _headline_first(score_tables(scores, baselines) if scores else [], metrics)
    reps = _reps(metrics, scores)
    shown, others = _halves(metrics, reps, tables)
    return {
        "name": probe.name,
        "label": str(metrics.get("label") or "label"),
        "classes": [str(c) for c in metrics.get("classes") or ()],
        "positive": metrics.get("positive"),
        "excluded": _excluded(metrics),
        "design": flat(metrics.get("design") or {}),
        "sentences": [str(s) for s in metrics.get("sentences") or ()],
        "leading": LEADING,
        "checks": checks(metrics),
        "tables": tables,
        "overview": overview(tables),
        "strata": _strata(scores, tables),
        "long": long_rows(scores, baselines),
        "differences": _differences(metrics),
        "score_pictures": _score_pictures(scores, tables, baselines),
        "roc": _roc(metrics, scores, tables),
        "matrices": _matrices(metrics, shown),
        "other_matrices": _matrices(metrics, others),
        "per_class": _per_class(metrics, shown),
        "other_per_class": _per_class(metrics, others),
        "missing": probe.missing,
    }


def overview(tables: list[ScoreTable]) -> dict[str, Any] | None:
    """The first metric of every representation in all designs beside each other; None for one design.

    What falls from one column to the next was owed to cells of the same group on both sides.
    """
    if len(tables) < 2:
        return None
    by = [{row["rep"]: row for row in table.rows} for table in tables]
    return {
        "metric": tables[0].metrics[0][1],
        "designs": [f"{table.title} ({table.unit})" for table in tables],
        "chance": [table.metrics[0][2] for table in tables],
        "rows": [
            {
                "rep": row["rep"],
                "kind": row["kind"],
                "kind_key": row["kind_key"],
                "cells": [
                    {
                        **(rows[row["rep"]]["cells"][0] if row["rep"] in rows else NOTHING),
                        "difference": rows[row["rep"]]["difference"]
                        if row["rep"] in rows
                        else None,
                        "seen": rows[row["rep"]]["seen"] if row["rep"] in rows else None,
                    }
                    for rows in by
                ],
            }
            for row in tables[0].rows
        ],
    }


def _headline_first(tables: list[ScoreTable], metrics: Mapping[str, Any]) -> list[ScoreTable]:
    """The design that confusion matrices and curves are of comes first."""
    design = metrics.get("design")
    headline = design.get("headline") if isinstance(design, Mapping) else None
    return sorted(tables, key=lambda table: table.split != headline)


def _strata(scores: list[Mapping[str, Any]], tables: list[ScoreTable]) -> dict[str, Any] | None:
    """The first metric by stratum (donors too few for an interval over them), first design only."""
    if not tables:
        return None
    metric, name, _ = tables[0].metrics[0]
    rows = [
        row
        for row in scores
        if row.get("split") == tables[0].split
        and row.get("metric") == metric
        and row.get("stratum", "all") != "all"
    ]
    strata = list(dict.fromkeys(str(row["stratum"]) for row in rows))
    if not strata:
        return None
    value = {(str(r.get("rep")), str(r["stratum"])): finite(r.get("value")) for r in rows}
    size = {str(r["stratum"]): count(r.get("n")) for r in rows}
    return {
        "metric": name,
        "strata": [f"{s} ({size[s]})" for s in strata[:STRATA]],
        "more": len(strata) - STRATA,
        "rows": [
            {
                "rep": row["rep"],
                "values": [
                    (number(value.get((row["rep"], s))), value.get((row["rep"], s)))
                    for s in strata[:STRATA]
                ],
            }
            for row in tables[0].rows
        ],
    }


def _excluded(metrics: Mapping[str, Any]) -> str:
    """How many cells took part, and how many did not."""
    cells, without = finite(metrics.get("cells")), finite(metrics.get("excluded"))
    words = "" if cells is None else f"{count(cells)} cells. "
    if without:
        words += f"{count(without)} cells took no part: no label, or a label outside the classes."
    return words.strip()


def _reps(metrics: Mapping[str, Any], scores: list[Mapping[str, Any]]) -> list[str]:
    """All representations, models first."""
    names = [str(row.get("rep")) for row in scores] + [
        str(r) for r in metrics.get("confusion") or {}
    ]
    names = list(dict.fromkeys(names))
    found = kinds([*scores, *({"rep": name} for name in names)], metrics.get("baselines"))
    return sorted(names, key=lambda rep: (KIND_ORDER.index(found[rep]), names.index(rep)))


def _halves(
    metrics: Mapping[str, Any], reps: list[str], tables: list[ScoreTable]
) -> tuple[list[str], list[str]]:
    """What is shown at once (models, the best simple method, the best shortcut), and the rest.

    Of large matrices only two.
    """
    if not tables:
        return reps[:2], reps[2:]
    rows = tables[0].rows
    k = len(metrics.get("classes") or ())
    large = k > LARGE
    shown = [row["rep"] for row in rows if row["kind_key"] == "model"][: 1 if large else 3]
    for kind in () if k > VERY_LARGE else ("simple",) if large else ("simple", "shortcut"):
        shown += [row["rep"] for row in rows if row["kind_key"] == kind][:1]
    shown = shown or reps[:1]
    return shown, [rep for rep in reps if rep not in shown]


def _differences(metrics: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every paired difference between a model and a baseline, in text."""
    return [
        judged(row)
        | {
            "rep": str(row.get("rep")),
            "rival": str(row.get("rival")),
            "metric": metric_name(str(row.get("metric"))),
            "split": design_words(row),
        }
        for row in metrics.get("differences") or ()
        if isinstance(row, Mapping)
    ]


def _score_pictures(
    scores: list[Mapping[str, Any]], tables: list[ScoreTable], baselines: Any
) -> list[Picture]:
    """One figure per design, in the order of the tables."""
    drawn = []
    for table in tables:
        keys = [key for key, _, _ in table.metrics]
        chosen = [m for m in ("accuracy", "macro_f1", "roc_auc") if m in keys] or keys[:3]
        best = listed([f"{r['rep']} {r['cells'][0]['value']}" for r in table.rows])
        one = picture(
            lambda s=table.split, m=chosen: score_panels(  # type: ignore[misc]
                scores, metrics=m, split=s, baselines=baselines
            ),
            f"Scores with 95 % intervals, {table.title}. {table.metrics[0][1]}: {best}.",
            f"{table.title.capitalize()}; intervals over {table.unit}.",
        )
        drawn.append(one)
    return drawn


def _roc(
    metrics: Mapping[str, Any], scores: list[Mapping[str, Any]], tables: list[ScoreTable]
) -> Picture | None:
    curves = metrics.get("roc")
    if not isinstance(curves, Mapping) or not any((c or {}).get("fpr") for c in curves.values()):
        return None
    positive = metrics.get("positive")
    split = tables[0].split if tables else None
    # Of more than two classes score and curve are means over the classes.
    auc = {
        str(row.get("rep")): row["value"]
        for row in scores
        if row.get("metric") == "roc_auc"
        and row.get("split") == split
        and row.get("stratum", "all") == "all"
        and finite(row.get("value")) is not None
    }
    found = kinds([*scores, *({"rep": rep} for rep in curves)], metrics.get("baselines"))
    ordered = sorted(curves, key=lambda rep: KIND_ORDER.index(found[rep]))
    held = tables[0].title if tables else "held-out cells"
    areas = listed([f"{rep} {number(auc[rep])}" for rep in ordered if rep in auc])
    return picture(
        lambda: roc_curves(
            {rep: curves[rep] for rep in ordered},
            auc=auc,
            baselines=[rep for rep in curves if found[rep] != "model"],
            positive=None if positive is None else str(positive),
            subtitle=held if positive else f"{held}, mean over the classes against the rest",
        ),
        f"ROC curves, {held}" + (f". Area under the curve: {areas}." if areas else "."),
    )


def _matrices(metrics: Mapping[str, Any], reps: list[str]) -> list[Picture]:
    entries = metrics.get("confusion") or {}
    drawn = []
    for rep in reps:
        if rep in entries:
            one = picture(
                lambda r=rep: confusion_of(entries[r], title=r),  # type: ignore[misc]
                f"Confusion matrix of {rep}: {_in_words(entries[rep])}",
            )
            drawn.append(one)
    return drawn


def _in_words(entry: Any) -> str:
    """A small confusion matrix as a sentence; a large one by its diagonal."""
    if not isinstance(entry, Mapping):
        return "no counts."
    classes, counts = entry.get("classes") or [], entry.get("counts") or []
    cells = [
        (true, other, count)
        for true, row in zip(classes, counts, strict=False)
        for other, count in zip(classes, row, strict=False)
    ]
    if len(classes) <= 4:
        return "; ".join(f"{t} called {o} {count(n)}" for t, o, n in cells) + "."
    right = sum(finite(n) or 0 for t, o, n in cells if t == o)
    total = sum(finite(n) or 0 for _, _, n in cells)
    return f"{count(right)} of {count(total)} cells of {len(classes)} classes on the diagonal."


def _per_class(metrics: Mapping[str, Any], reps: list[str]) -> list[dict[str, Any]]:
    entries = metrics.get("per_class") or {}
    out = []
    for rep in reps:
        rows = [row for row in entries.get(rep) or () if isinstance(row, Mapping)]
        if rows:
            out.append(
                {
                    "rep": rep,
                    "rows": [
                        {
                            "class": str(row.get("class")),
                            "precision": number(row.get("precision")),
                            "recall": number(row.get("recall")),
                            "f1": number(row.get("f1")),
                            "support": count(row.get("support")),
                            "sort": [
                                finite(row.get(key))
                                for key in ("precision", "recall", "f1", "support")
                            ],
                        }
                        for row in rows
                    ],
                }
            )
    return out
