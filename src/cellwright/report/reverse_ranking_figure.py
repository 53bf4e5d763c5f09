"""Genes that may be behind a state: the first of the ranking, and what speaks for the very first."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.report.canvas import dress, figure_of, new_grid, plain
from cellwright.report.palette import COLOURS, INK, MUTED

LETTERS = 10  # of the heading, to an inch
SHOWN = 15
PROOFS = 10


def ranking_figure(
    table: pd.DataFrame, evidence: pd.DataFrame, *, title: str, flag: str | None = None
) -> NDArray[Any]:
    """Probabilities of the first genes, and for the first two the genes on which their score rests.

    Parameters
    ----------
    table
        ``gene``, ``probability``, ``firm``, the best first.
    evidence
        ``gene``, ``measured_gene``, ``shift``, ``log_odds_lost``.
    flag
        Why the ranking should not be believed, written above it.

    Raises
    ------
    DataError
        If no gene is ranked.
    """
    if table.empty:
        raise DataError(f"no gene is ranked for {title!r}: there is nothing to draw")
    shown = table.head(SHOWN)
    first = [g for g in shown["gene"].head(2) if (evidence["gene"] == g).any()]
    high = 1.6 + 0.24 * max(len(shown), PROOFS)
    axes = new_grid(1, 1 + len(first), 4.4 + 3.9 * len(first), high)
    y = np.arange(len(shown))[::-1]
    ax = axes[0, 0]
    ax.barh(y, shown["probability"], color=COLOURS[0], height=0.7)
    for at, row in zip(y, shown.to_dict("records"), strict=True):
        ax.text(
            row["probability"] + 0.015, at, f"{100 * row['firm']:.0f} %",
            va="center", fontsize=8, color=MUTED,
        )  # fmt: skip
    ax.set_yticks(y, [plain(g, 18) for g in shown["gene"]])
    ax.set_xlim(0, max(1.0, float(shown["probability"].max())) + 0.12)
    ax.set_ylim(-0.6, len(shown) - 0.4)
    dress(
        ax, "Perturbed gene", "Probability", "", subtitle="%: smaller groups that agree", grid="x"
    )
    for ax, gene in zip(axes[0, 1:], first, strict=True):
        rows = evidence[evidence["gene"] == gene].head(PROOFS)
        at = np.arange(len(rows))[::-1]
        colours = [COLOURS[0] if v > 0 else COLOURS[1] for v in rows["log_odds_lost"]]
        ax.barh(at, rows["log_odds_lost"], color=colours, height=0.7)
        ax.axvline(0, color=INK, lw=0.8)
        words = [
            f"{plain(r.measured_gene, 14)} {'up' if r.shift > 0 else 'down'}"
            for r in rows.itertuples()
        ]
        ax.set_yticks(at, words)
        ax.set_ylim(-0.6, max(len(rows), 1) - 0.4)
        dress(
            ax,
            f"For and against {plain(gene, 14)}",
            "Log-odds lost without it",
            "",
            subtitle="measured genes set back to controls one by one",
            grid="x",
        )
    figure = figure_of(axes[0, 0])
    lines = wrap(plain(flag or "", 400), int(LETTERS * figure.get_figwidth()))
    figure.suptitle(
        "\n".join([plain(title, 80), *lines]),
        x=0.01,
        ha="left",
        fontsize=11,
        fontweight="bold",
        color=COLOURS[1] if flag else INK,
    )
    return axes
