"""Short HTML of scores and runs, for notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from cellwright.interfaces import Score
from cellwright.report.canvas import new_axes
from cellwright.report.curves import REFERENCE_NAMES, perplexity_curve
from cellwright.report.picture import picture
from cellwright.report.run_section import rule_words, what
from cellwright.report.score_table import ScoreTable, score_tables
from cellwright.report.wording import count, duration, finite, number, percent

# Written on the elements: a notebook keeps no style sheet of ours.
LEFT = "text-align:left;padding:2px 12px 2px 0"
RIGHT = "text-align:right;padding:2px 12px 2px 0;font-variant-numeric:tabular-nums"
SMALL = "font-size:85%;opacity:.75"


def scores_html(scores: Sequence[Score | Mapping[str, Any]]) -> str:
    """A table of scores: value, interval, chance, difference to the best baseline, what was seen.

    One table per design, models above the baselines, names escaped.
    """
    if not scores:
        return f'<div style="{SMALL}">no scores</div>'
    return "".join(_table(table) for table in score_tables(scores))


def run_html(metrics: Mapping[str, Any], history: pd.DataFrame | None = None) -> str:
    """A short card of a pretraining run: perplexity beside its best reference, accuracy, cost.

    ``metrics`` is the run's ``metrics.json``; ``history`` its ``history.csv`` for a small curve.
    """
    lines = [f"<b>{escape(str(metrics.get('name') or 'pretraining run'))}</b>"]
    perplexity = metrics.get("perplexity")
    if isinstance(perplexity, Mapping):
        words = f"perplexity of masked {what(metrics)} <b>{number(perplexity.get('model'), 2)}</b>"
        best = metrics.get("best_reference")
        if finite(perplexity.get(best)) is not None:
            name = REFERENCE_NAMES.get(str(best), str(best))
            words += f"; best without a network {number(perplexity[best], 2)} ({escape(name)})"
        lines.append(words)
    rule = rule_words(metrics.get("rule"))
    if rule:
        lines.append(f'<span style="{SMALL}">{escape(rule)}</span>')
    accuracy = metrics.get("masked_accuracy")
    if isinstance(accuracy, Mapping):
        ranks = what(metrics) == "genes"
        simple = "the likeliest gene not shown" if ranks else "each gene's commonest bin"
        lines.append(
            f"masked {what(metrics)} named right {percent(accuracy.get('model'), 1)}; {simple} "
            f"{percent(accuracy.get('majority'), 1)}"
        )
    cost = [
        f"{count(metrics.get('epochs'))} epochs" if finite(metrics.get("epochs")) else "",
        duration(metrics.get("seconds")) if finite(metrics.get("seconds")) else "",
    ]
    if any(cost):
        lines.append(", ".join(part for part in cost if part))
    curve = ""
    if history is not None and "perplexity" in history and len(history):
        best = metrics.get("best_reference")
        known = best if f"ref_{best}" in history else None
        one = picture(
            lambda: perplexity_curve(history, best=known, ax=new_axes(7.0, 3.0)),
            "Perplexity over epochs beside the references that need no network.",
        )
        if one.source:
            curve = f'<img src="{one.source}" alt="{escape(one.alt)}" style="max-width:640px;width:100%">'
    return f"<div>{'<br>'.join(lines)}</div>{curve}"


def _table(table: ScoreTable) -> str:
    heads = ["", *(name for _, name, _ in table.metrics), "difference to the best baseline", "seen"]
    head = "".join(f'<th style="{LEFT}">{escape(h)}</th>' for h in heads)
    body = []
    for row in table.rows:
        bold = "font-weight:bold;" if row["kind_key"] == "model" else ""
        cells = "".join(
            f'<td style="{RIGHT}">{c["value"]} <span style="{SMALL}">{c["interval"]}</span></td>'
            for c in row["cells"]
        )
        d = row["difference"]
        gap = (
            "–"
            if d is None
            else f"{d['value']} {d['interval']} ({escape(d['to'])}: {d['verdict']})"
        )
        body.append(
            f'<tr><th style="{bold}{LEFT}">{escape(row["rep"])}</th>{cells}'
            f'<td style="{LEFT}">{gap}</td><td style="{LEFT}">{escape(row["seen"]["words"])}</td></tr>'
        )
    chance = "".join(f'<td style="{RIGHT}">{c}</td>' for _, _, c in table.metrics)
    body.append(
        f'<tr style="{SMALL}"><th style="{LEFT}">chance</th>{chance}<td></td><td></td></tr>'
    )
    return (
        f'<table><caption style="text-align:left">{escape(table.title)}; 95 % intervals over '
        f"{escape(table.unit)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table>"
    )
