"""Which gene sets the loadings of a latent axis favour: decoupler's univariate linear model."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy import stats

from cellwright.errors import DataError, MissingExtra

LEAST, MOST = 5, 500
"""Sets with fewer or more genes in the model are left out."""


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


def check_decoupler() -> None:
    """Refuse before the training what could not be done behind it.

    Raises
    ------
    MissingExtra
        If decoupler is not installed.
    """
    if importlib.util.find_spec("decoupler") is None:
        raise MissingExtra("decoupler", "enrichment", "--gene-sets")


def sets_within(
    sets: Mapping[str, Sequence[str]], symbols: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """The sets that can be tested, in upper case, with their genes among ``symbols`` (case ignored).

    Raises
    ------
    DataError
        If no set has ``LEAST`` to ``MOST`` genes there.
    """
    known = {symbol.upper() for symbol in symbols}
    held = {
        name: tuple(dict.fromkeys(gene.upper() for gene in genes if gene.upper() in known))
        for name, genes in sets.items()
    }
    held = {name: genes for name, genes in held.items() if LEAST <= len(genes) <= MOST}
    if not held:
        raise DataError(
            f"none of the {len(sets):,} gene sets has {LEAST} to {MOST} genes among the "
            f"{len(known):,} of the model; do both name genes by symbol?"
        )
    return held


def enrichment(
    loadings: pd.DataFrame,
    symbols: Sequence[str],
    sets: Mapping[str, Sequence[str]],
    top: pd.DataFrame,
) -> pd.DataFrame:
    """Whether the genes of a set have larger or smaller loadings than the other genes, axis by axis.

    decoupler's ``ulm`` regresses the loadings of an axis on membership in a set: the t value of the
    slope says by its sign at which end of the axis the set lies. Genes count as independent, which
    genes of one program are not: p is a guide for reading an axis, no proof.

    Parameters
    ----------
    loadings
        Genes × axes: those genes that could stand in a set, the background. Genes with the same
        symbol count once, with their mean.
    symbols
        Symbols of these genes; letters' case is ignored.
    sets
        Gene symbols by set name, as ``data.gene_sets.read_gmt`` reads them.
    top
        As :func:`top_genes` gives: which genes of a set to name.

    Returns
    -------
    Columns axis, end, set, genes_in_set (in the background), t, p (two-sided), q after Benjamini and
    Hochberg over every axis and set, found (genes of the set among the top ones of that end);
    smallest p first.

    Raises
    ------
    DataError
        If no set has ``LEAST`` to ``MOST`` genes in the background.
    """
    import decoupler

    held = sets_within(sets, symbols)
    pairs = [(name, gene) for name, genes in held.items() for gene in genes]
    upper_g = np.char.upper(np.asarray(symbols, dtype=np.str_))
    by_gene = loadings.astype(np.float64).groupby(upper_g).mean()
    t, _ = decoupler.mt.ulm(
        by_gene.T, pd.DataFrame(pairs, columns=["source", "target"]), tmin=LEAST
    )
    table = t.rename_axis("axis").melt(ignore_index=False, var_name="set", value_name="t")
    table = table.dropna().reset_index()
    # decoupler corrects within an axis; here all axes are looked at together.
    table["p"] = 2 * stats.t.sf(table["t"].abs(), len(by_gene) - 2)
    table["q"] = stats.false_discovery_control(table["p"]) if len(table) else []
    table["end"] = np.where(table["t"] > 0, "+", "-")
    table["genes_in_set"] = table["set"].map({name: len(genes) for name, genes in held.items()})
    table = table.sort_values(["p", "axis", "set"], ignore_index=True)
    heads = {
        at: list(dict.fromkeys(part.str.upper()))
        for at, part in top.groupby(["axis", "end"])["gene_symbol"]
    }
    among = {name: frozenset(genes) for name, genes in held.items()}
    table["found"] = [
        ", ".join(gene for gene in heads.get((axis, end), ()) if gene in among[name])
        for axis, end, name in zip(table["axis"], table["end"], table["set"], strict=True)
    ]
    return table[["axis", "end", "set", "genes_in_set", "t", "p", "q", "found"]]
