"""Families of genes, by the stem of their symbol or from a table.

The rule: the stem is the letters before the first digit, hyphen or point, in capitals (GATA1 and
GATA4 are GATA). Stems of one family under several names are one: zinc fingers (ZNF, ZFP, ZSCAN,
ZKSCAN, ZIM, ZNFX) and homeobox clusters (HOXA to HOXD). A symbol without a digit, an unnamed gene
(C1orf21, LOC…, KIAA…, clone names) and an Ensembl id are families of their own. It is a rule of
names: paralogues with unlike names stay apart, which a table of the user's can mend.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellwright.data.gene_tables import positions, read_gene_table, text_of
from cellwright.data.genes import GeneNames, ensembl_share, gene_names
from cellwright.errors import DataError

ZINC_FINGERS = "ZNF"
_ONE_FAMILY = {
    **dict.fromkeys(("ZNF", "ZFP", "ZSCAN", "ZKSCAN", "ZIM", "ZNFX"), ZINC_FINGERS),
    **dict.fromkeys(("HOXA", "HOXB", "HOXC", "HOXD"), "HOX"),
}
_STEM = re.compile(r"^([A-Za-z]{2,})[-.]?\d")
_UNNAMED = re.compile(
    r"^(C\d+orf|LOC\d|KIAA\d|ENS[A-Z]{0,6}G\d|[A-Z]{2}\d{6}|RP\d+-|FAM\d|Gm\d)", re.I
)


def family_of(symbol: str) -> str:
    """The family of a gene by its symbol (see the rule at the top of this file)."""
    stem = _STEM.match(symbol)
    if stem is None or _UNNAMED.match(symbol):
        return symbol.upper()
    return _ONE_FAMILY.get(stem[1].upper(), stem[1].upper())


def families_of(symbols: NDArray[np.str_]) -> NDArray[np.str_]:
    """The family of every gene, (g,)."""
    return np.array([family_of(s) for s in symbols.tolist()], dtype=np.str_)


def families_from_table(
    genes: GeneNames, path: Path | str
) -> tuple[NDArray[np.str_], NDArray[np.bool_]]:
    """The family of every gene from a table of genes (first column of names) and families.

    Parameters
    ----------
    path
        With the column ``family`` (or ``gene_family``, ``group``), or of two columns.

    Returns
    -------
    (g,) families, and True where the table named it; other genes follow the rule of stems.

    Raises
    ------
    DataError
        If there is no such column, or not one gene is found.
    """
    frame = read_gene_table(path)
    known = [c for c in frame.columns if c.lower() in ("family", "gene_family", "group")]
    column = known[0] if known else frame.columns[-1] if frame.shape[1] == 2 else None
    if column is None:
        raise DataError(
            f"{path} has no column 'family'; its columns are {', '.join(frame.columns)}"
        )
    rest = frame.drop(columns=[column])
    index = next(
        (c for c in rest.columns if ensembl_share(text_of(rest[c])) >= 0.5), rest.columns[0]
    )
    rest.index = text_of(rest[index])
    names = gene_names(rest)
    place = positions(genes, names.gene_id, names.gene_symbol)
    family_r = text_of(frame[column])
    named = (place >= 0) & (family_r[place] != "")
    if not named.any():
        raise DataError(
            f"none of the {len(place)} labelled genes ({', '.join(genes.gene_id[:3].tolist())} …) "
            f"is in the family table {path} ({', '.join(names.gene_id[:3].tolist())} …)"
        )
    return np.where(named, family_r[place], families_of(genes.gene_symbol)), named
