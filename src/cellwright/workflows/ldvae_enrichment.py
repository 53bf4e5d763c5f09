"""Which gene sets the ends of a latent axis hold more of than chance: hypergeometric, corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from cellwright.errors import DataError

COLUMNS = ("axis", "end", "set", "hits", "set_size", "top", "genes", "expected", "p", "q", "found")


def top_genes(loadings: pd.DataFrame, symbols: Sequence[str], top: int) -> pd.DataFrame:
    """The ``top`` genes at either end of every axis, strongest first.

    Returns
    -------
    Columns axis, end (``+`` or ``-``), rank (from 1), gene_id, gene_symbol, loading.
    """
    rows = []
    names = np.asarray(symbols)
    ids = loadings.index.to_numpy()
    for axis in loadings.columns:
        values_g = loadings[axis].to_numpy()
        order = np.argsort(-values_g, kind="stable")
        for end, chosen in (("+", order[:top]), ("-", order[::-1][:top])):
            for rank, gene in enumerate(chosen, start=1):
                rows.append((axis, end, rank, ids[gene], names[gene], float(values_g[gene])))
    columns = ["axis", "end", "rank", "gene_id", "gene_symbol", "loading"]
    return pd.DataFrame(rows, columns=columns)


def enrichment(
    top: pd.DataFrame,
    sets: Mapping[str, Sequence[str]],
    background: Sequence[str],
    *,
    least: int = 5,
    most: int = 500,
) -> pd.DataFrame:
    """Over-representation of gene sets among the top genes of each end of each axis.

    Parameters
    ----------
    top
        As :func:`top_genes` gives.
    sets
        Gene symbols by set name, as ``data.gene_sets.read_gmt`` reads them.
    background
        Symbols of all genes of the model: what could have been drawn. Letters' case is ignored.
    least, most
        Sets with fewer or more genes in the background are left out.

    Returns
    -------
    One row per end of an axis and set with a hit: p of at least so many hits (hypergeometric), q after
    Benjamini and Hochberg over every axis, end and set that was tried; smallest first.

    Raises
    ------
    DataError
        If no set has ``least`` genes in the background.
    """
    known = {symbol.upper() for symbol in background}
    within = {name: {gene.upper() for gene in genes} & known for name, genes in sets.items()}
    within = {name: genes for name, genes in within.items() if least <= len(genes) <= most}
    if not within:
        raise DataError(
            f"none of the {len(sets):,} gene sets has {least} to {most} genes among the "
            f"{len(known):,} of the model; do both name genes by symbol?"
        )
    rows = []
    for (axis, end), part in top.groupby(["axis", "end"], sort=False):
        drawn = list(dict.fromkeys(part["gene_symbol"].str.upper()))
        for name, genes in within.items():
            hits = [gene for gene in drawn if gene in genes]
            p = float(stats.hypergeom.sf(len(hits) - 1, len(known), len(genes), len(drawn)))
            expected = len(genes) * len(drawn) / len(known)
            sizes = (len(hits), len(genes), len(drawn), len(known))
            rows.append((axis, end, name, *sizes, expected, p, np.nan, ", ".join(hits)))
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["q"] = stats.false_discovery_control(table["p"].to_numpy())
    return table[table["hits"] > 0].sort_values(["p", "axis"], ignore_index=True)
