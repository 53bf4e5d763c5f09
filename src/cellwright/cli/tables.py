"""Scores as a table for the terminal: what was asked for first, then what it must beat."""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

_SHORT = {
    "balanced_accuracy": "balanced",
    "macro_f1": "macro F1",
    "f1_positive": "F1 positive",
    "roc_auc": "AUC",
    "ari": "ARI",
    "nmi": "NMI",
    "majority_accuracy": "majority vote",
}

if TYPE_CHECKING:
    from rich.table import Table

    from cellwright.interfaces import Score


def score_table(
    scores: Sequence[Score],
    *,
    title: str,
    caption: str = "",
    headline: str = "accuracy",
    asked: Sequence[str] = (),
    baselines: Sequence[str] = (),
) -> Table:
    """One row per representation, best first; models in bold, every row with what it has seen.

    The headline metric and the AUC stand with their intervals; the difference is that of the
    headline to the best simple method.
    """
    from rich.table import Table

    from cellwright.evaluation.sentences import score_phrase
    from cellwright.report.methods import SEEN_NAMES, SIMPLE, kinds

    whole = [s for s in scores if s.stratum == "all"]
    metrics = list(dict.fromkeys(s.metric for s in whole))
    by_rep = {rep: {s.metric: s for s in whole if s.rep == rep} for rep in {s.rep for s in whole}}
    order = sorted(by_rep, key=lambda rep: (-by_rep[rep][headline].value, rep))
    # A simple method that was asked for is judged like a model and is none.
    kind = kinds(whole, [*baselines, *(rep for rep in by_rep if rep in SIMPLE)])
    table = Table(
        title=title, caption=caption or None, title_justify="left", caption_justify="left"
    )
    table.add_column("representation", no_wrap=True)
    table.add_column("kind")
    for metric in metrics:
        table.add_column(_short(metric), justify="right")
    table.add_column("difference to best simple", justify="right")
    table.add_column("these cells")
    for rep in order:
        row = by_rep[rep]
        cells = [
            (score_phrase(row[m]) if m in (headline, "roc_auc") else f"{row[m].value:.3f}")
            if m in row
            else "–"
            for m in metrics
        ]
        gap = row[headline].difference
        against = row[headline].baseline
        told = (
            f"{gap['value']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}] {against}" if gap else ""
        )
        table.add_row(
            rep,
            kind[rep],
            *cells,
            told,
            SEEN_NAMES[row[headline].seen],
            style="bold" if rep in asked else None,
        )
    chance = [_range([s.chance for s in whole if s.metric == m]) for m in metrics]
    if any(chance):
        table.add_section()
        table.add_row("chance", "", *(told or "–" for told in chance), "", "", style="dim")
    return table


def _short(metric: str) -> str:
    name = metric.removesuffix("_matched")
    return _SHORT.get(name, name.replace("_", " "))


def _range(values: Sequence[float | None]) -> str:
    """One number, or the least and the most where the representations differ."""
    known = sorted({round(value, 3) + 0.0 for value in values if value is not None})
    shown = known if len(known) < 3 else [known[0], known[-1]]
    return " to ".join(f"{value:.3f}" for value in shown)


def rendered(*parts: Any) -> str:
    """Tables and lines as text; coloured only on a terminal that takes colours."""
    from rich.console import Console

    terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if terminal else 160
    out = io.StringIO()
    page = Console(
        file=out,
        width=width,
        force_terminal=terminal and "NO_COLOR" not in os.environ,
        highlight=False,
        markup=False,
    )
    for part in parts:
        page.print(part, soft_wrap=isinstance(part, str))
    return out.getvalue().rstrip("\n")
