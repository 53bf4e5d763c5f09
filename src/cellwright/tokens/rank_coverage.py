"""How much of the cells a rank vocabulary sees: warned when little, refused when next to nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.data.genes import GeneNames, ensembl_share, gene_names, organism_of
from cellwright.errors import DataError
from cellwright.interfaces import Check

WARN_BELOW = 0.5
REFUSE_BELOW = 0.1


def judge_coverage(
    share: float,
    gene_ids: NDArray[np.str_],
    symbols: NDArray[np.str_],
    var: pd.DataFrame,
    inside_m: NDArray[np.bool_],
    counts_m: NDArray[np.float64],
) -> Check | None:
    """A warning if the vocabulary holds less than half of the cells' counts, None if more.

    Parameters
    ----------
    share
        Counts of genes in the vocabulary / all counts of the cells, 0 to 1 (higher is better).
    gene_ids, symbols
        Names of the vocabulary.
    var
        Genes of the data.
    inside_m
        (m,) whether a gene of the data is in the vocabulary.
    counts_m
        (m,) counts of each gene over the cells.

    Raises
    ------
    DataError
        Below 10 %: ranks of what is left would not describe the cells.
    """
    if share >= WARN_BELOW:
        return None
    sentence = (
        f"{share:.1%} of the cells' counts are of genes in the vocabulary"
        f"{_largest_outside(var, inside_m, counts_m)}"
    )
    reason = likely_reason(gene_ids, symbols, gene_names(var))
    if share < REFUSE_BELOW:
        raise DataError(f"{sentence}; at least {REFUSE_BELOW:.0%} are needed. {reason or _GENERAL}")
    return Check("vocabulary-coverage", "warning", sentence, reason or _GENERAL)


_GENERAL = "Give all genes of the cells under Ensembl ids or symbols of the vocabulary's organism."


def likely_reason(gene_ids: NDArray[np.str_], symbols: NDArray[np.str_], names: GeneNames) -> str:
    """Why the genes of some data may be strange to a vocabulary, "" if nothing speaks for it."""
    ours = organism_of(gene_ids, symbols)
    if names.organism and ours and names.organism != ours:
        return (
            f"The data look like {names.organism} ({_some(names.gene_id)}), the vocabulary like "
            f"{ours} ({_some(gene_ids)}): map the genes to their {ours} orthologs first."
        )
    has_ids, has_symbols = ensembl_share(gene_ids) > 0.5, ensembl_share(symbols) < 0.5
    if names.kind == "symbol" and not has_symbols:
        return (
            f"The data name genes by symbols ({_some(names.gene_id)}), the vocabulary by Ensembl "
            f"ids alone ({_some(gene_ids)}): add Ensembl ids as var['gene_id'], or name the "
            "published dictionary of symbols with --symbols where the vocabulary is a .pkl."
        )
    if names.kind == "ensembl" and not has_ids and ensembl_share(names.gene_symbol) > 0.5:
        return (
            f"The data name genes by Ensembl ids ({_some(names.gene_id)}), the vocabulary by "
            f"symbols ({_some(gene_ids)}): add symbols as var['gene_symbol']."
        )
    if names.kind == "unknown":
        return (
            f"The data name genes in a way that is not known ({_some(names.gene_id)}): add Ensembl "
            "ids as var['gene_id'] or symbols as var['gene_symbol']."
        )
    return ""


def _some(names: Sequence[str] | NDArray[np.str_]) -> str:
    return ", ".join(str(name) for name in names[:2])


def _largest_outside(
    var: pd.DataFrame, inside_m: NDArray[np.bool_], counts_m: NDArray[np.float64]
) -> str:
    """The three columns outside the vocabulary with most counts: often they tell what is wrong."""
    total = counts_m.sum()
    outside = np.where(inside_m, 0.0, counts_m)
    most = [i for i in np.argsort(-outside, kind="stable")[:3].tolist() if outside[i] > 0]
    if not most:
        return ""
    shown = ", ".join(f"{var.index[i]} ({outside[i] / total:.1%})" for i in most)
    return f"; the largest outside it are {shown}"
