"""Figures of the scores of a reverse run or benchmark: by size of query, F1, strata."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cellwright.report.canvas import save_figure
from cellwright.report.reverse_figure import F1, reverse_f1, reverse_panels, reverse_strata


def save_score_figures(
    table: pd.DataFrame, folder: Path, *, k: str, title: str, endings: Sequence[str] = ("png",)
) -> None:
    """Write ``scores`` and, where there is something to draw, ``f1`` and ``strata``.

    Parameters
    ----------
    k
        Cells of the queries that F1 and strata are drawn of.
    """
    part = table[table.k.astype(str) == k]
    for ending in endings:
        save_figure(reverse_panels(table, title=title), folder / f"scores.{ending}")
        if part.metric.isin(F1).any():
            save_figure(reverse_f1(table, k=k, title=title), folder / f"f1.{ending}")
        if len(part[part.metric == "mrr"].stratum.unique()) > 1:
            save_figure(reverse_strata(table, k=k, title=title), folder / f"strata.{ending}")
