"""Figures of the scores of a reverse run or benchmark: by size of query, F1, strata."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pandas as pd

from cellwright.report.reverse_figure import F1, reverse_f1, reverse_panels, reverse_strata


def score_figures(table: pd.DataFrame, *, k: str, title: str) -> dict[str, Callable[[], Any]]:
    """What draws ``scores`` and, where there is something to draw, ``f1`` and ``strata``.

    Parameters
    ----------
    k
        Cells of the queries that F1 and strata are drawn of.
    """
    figures: dict[str, Callable[[], Any]] = {"scores": partial(reverse_panels, table, title=title)}
    part = table[table.k.astype(str) == k]
    if part.metric.isin(F1).any():
        figures["f1"] = partial(reverse_f1, table, k=k, title=title)
    if len(part[part.metric == "mrr"].stratum.unique()) > 1:
        figures["strata"] = partial(reverse_strata, table, k=k, title=title)
    return figures
