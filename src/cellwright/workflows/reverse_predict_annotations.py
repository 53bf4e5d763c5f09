"""What a user knows of genes, carried along with a ranking of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cellwright.config import nearest
from cellwright.data.gene_tables import read_gene_table, text_of
from cellwright.errors import DataError, SettingsError

OURS = ("case", "rank", "gene", "probability", "log_odds", "firm", "in_training", "own_shift")
"""Columns of a ranking; one of the user's that has such a name is called otherwise."""


def candidate_annotations(
    candidates: Sequence[str], var: pd.DataFrame, table: Path | str | None, chosen: Sequence[str]
) -> pd.DataFrame:
    """Columns about the candidates, from a table of the user's or from ``var``, by gene.

    Raises
    ------
    DataError
        If the table cannot be read, has one column, or knows no candidate.
    SettingsError
        If a chosen column is nowhere.
    """
    known: dict[str, pd.Series] = {}
    if table is not None:
        frame = read_gene_table(table)
        if len(frame.columns) < 2:
            raise DataError(f"{table} has one column, expected genes and what is known of them")
        genes = text_of(frame.iloc[:, 0])
        kept = ~pd.Series(genes).duplicated().to_numpy() & (genes != "")
        frame = frame[kept].set_index(genes[kept])
        if not frame.index.isin(list(candidates)).any():
            raise DataError(
                f"none of the {len(candidates)} candidates ({', '.join(list(candidates)[:3])} …) is "
                f"in the first column of {table} ({', '.join(genes[:3])} …)"
            )
        known = {str(c): frame[c] for c in frame.columns[1:]}
    wanted = list(chosen) or list(known)
    out = pd.DataFrame(index=pd.Index(list(candidates)))
    for name in wanted:
        column = known.get(name)
        if column is None and name in var.columns:
            column = var[name][~var.index.duplicated()]
        if column is None:
            near = nearest(name, [*known, *map(str, var.columns)])
            raise SettingsError(
                f"no annotation {name!r} in "
                + (f"{table} or in var" if table is not None else "var")
                + (f": did you mean {near!r}?" if near else "")
            )
        title = name if name not in OURS else f"{name} (yours)"
        out[title] = column.reindex(out.index)
    return out
