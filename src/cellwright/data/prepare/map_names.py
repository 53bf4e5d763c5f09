"""What a cluster is called: its alias, label, description and base type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cellwright.config import nearest
from cellwright.data.prepare.csv_table import open_csv
from cellwright.data.prepare.map_table import read_columns
from cellwright.errors import DataError, SettingsError

ALIAS = "cluster_alias"


def base_type(description: str) -> str:
    """``MGE interneuron (subcluster 5)`` -> ``MGE interneuron``."""
    return re.sub(r"\s*\(subcluster\s+[^()]*\)\s*$", "", description, flags=re.IGNORECASE)


def cluster_names(
    aliases: Sequence[str],
    clusters: Path | str | None = None,
    terms: Path | str | None = None,
    *,
    key: str = ALIAS,
) -> pd.DataFrame:
    """Names of the clusters that occur, one row per alias in the order given.

    Parameters
    ----------
    aliases
        The values of the table of cells.
    clusters
        Table with ``cluster_alias`` (or ``key``) and ``label``. Without it the aliases are taken
        for the labels.
    terms
        Table with ``label`` and ``description``. Without it the type is the label.

    Returns
    -------
    ``alias``, ``label``, ``description`` and ``type``; None where a table does not have it. Without
    either table the type is the alias.

    Raises
    ------
    DataError
        If a table cannot be read, lacks a column, gives two names to one cluster, or has none of
        the clusters.
    """
    table = pd.DataFrame({"alias": list(aliases)}, dtype=object)
    table["label"] = table["alias"] if clusters is None else None
    table["description"] = None
    if clusters is not None:
        own = key if key in open_csv(clusters).columns else ALIAS
        table["label"] = _looked_up(table["alias"], clusters, own, "label")
    if terms is not None:
        table["description"] = _looked_up(table["label"], terms, "label", "description")
        table["type"] = table["description"].map(base_type, na_action="ignore")
    else:
        table["type"] = table["label"]
    return table.astype(object).where(table.notna(), None)


def find_cluster(given: str, names: pd.DataFrame) -> int:
    """Row of ``names`` that ``given`` means: an alias, or in its place a label or description.

    Raises
    ------
    SettingsError
        If none or several are meant; the nearest, or some of the several, are named.
    """
    given = given.strip()
    for column in ("alias", "label", "description"):
        rows = [i for i, name in enumerate(names[column]) if name == given]
        if len(rows) == 1:
            return rows[0]
        if rows:
            raise SettingsError(f"cannot circle {given!r}: {_several(names, rows, 'clusters')}")
    rows = [i for i, name in enumerate(names["type"]) if name == given]
    if rows:
        raise SettingsError(
            f"cannot circle {given!r}: it is a whole type, of {_several(names, rows, 'subclusters')}"
        )
    aliases = list(names["alias"])
    ending = given.rsplit("_", 1)[-1]
    if ending in aliases:
        raise SettingsError(
            f"cannot circle {given!r}: no cell has this cluster; did you mean the alias {ending!r}?"
        )
    known = {
        name: alias
        for column in ("description", "label", "alias")
        for name, alias in zip(names[column], aliases, strict=True)
        if name is not None
    }
    close = nearest(given, known)
    hint = f"there are {', '.join(aliases[:8])}{', …' if len(aliases) > 8 else ''}"
    if close is not None:
        also = "" if known[close] == close else f" ({close})"
        hint = f"did you mean {known[close]!r}{also}?"
    raise SettingsError(f"cannot circle {given!r}: no cell has this cluster; {hint}")


def _several(names: pd.DataFrame, rows: list[int], what: str) -> str:
    shown = ", ".join(names["alias"].iloc[rows[:5]])
    return f"{len(rows)} {what} ({shown}{', …' if len(rows) > 5 else ''}); name those to circle"


def _looked_up(values: pd.Series, path: Path | str, key: str, name: str) -> pd.Series:
    """The ``name`` that a table gives to each value of ``key``."""
    table = read_columns(path, [key, name]).dropna(subset=[key]).drop_duplicates()
    twice = table[key][table[key].duplicated()]
    if len(twice):
        both = table.loc[table[key] == twice.iloc[0], name].tolist()[:2]
        raise DataError(
            f"{path} gives two names to {key} {twice.iloc[0]!r}: {both[0]!r} and {both[1]!r}; keep "
            "one row of each"
        )
    found = values.map(dict(zip(table[key], table[name], strict=True)), na_action="ignore")
    if values.notna().any() and found.isna().all():
        raise DataError(
            f"{path} has none of the {values.nunique():,} clusters of the cells "
            f"({_examples(values)}): its {key} holds {_examples(table[key]) or 'nothing'}"
        )
    return found


def _examples(values: pd.Series) -> str:
    return ", ".join(str(v) for v in values.dropna().unique()[:3])
