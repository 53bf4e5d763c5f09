"""What the genes of a table are called: identifiers, symbols, of which kind and organism."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

IdKind = Literal["ensembl", "symbol", "mixed", "unknown"]

_ID_COLUMNS = (
    "gene_id", "gene_ids", "ensembl_id", "ensembl_gene_id", "ensembl", "ensg", "gene_identifier",
    "feature_id", "gene_ensembl", "ensembl_ids", "ensemblid", "accession",
)  # fmt: skip
_SYMBOL_COLUMNS = (
    "gene_symbol", "feature_name", "gene_name", "symbol", "gene_symbols", "gene_names",
    "gene_short_name", "hgnc_symbol", "symbols", "name", "gene",
)  # fmt: skip
_ENSEMBL = re.compile(r"^(ENS[A-Z]{0,6}G)(\d{6,})(\.\d+)?(_PAR_Y)?$")
_SYMBOL = re.compile(r"^[A-Za-z][A-Za-z0-9._@/:-]*$")
_ORGANISMS = {
    "ENSG": "human",
    "ENSMUSG": "mouse",
    "ENSRNOG": "rat",
    "ENSDARG": "zebrafish",
    "ENSMMUG": "rhesus macaque",
    "ENSMFAG": "crab-eating macaque",
    "ENSCJAG": "marmoset",
    "ENSPTRG": "chimpanzee",
    "ENSSSCG": "pig",
    "ENSGALG": "chicken",
}
# One name of another kind in twenty (spike-ins, transgenes) does not make a table mixed.
_MOST = 0.95


@dataclass(frozen=True)
class GeneNames:
    """Names of g genes, in the order of the table.

    ``gene_id``: Ensembl ids without version where there are any, else the symbols; (g,) str.
    ``gene_symbol``: symbols, else the ids; (g,) str. ``kind`` is that of ``gene_id``.
    ``id_from``, ``symbol_from``: the column each was taken from, or ``index``.
    """

    gene_id: NDArray[np.str_]
    gene_symbol: NDArray[np.str_]
    kind: IdKind
    organism: str | None
    id_from: str
    symbol_from: str

    @property
    def surest_g(self) -> NDArray[np.str_]:
        """What tables of genes are asked with, (g,): Ensembl ids, else symbols."""
        return self.gene_id if self.kind == "ensembl" else self.gene_symbol


def gene_names(var: pd.DataFrame) -> GeneNames:
    """Find the identifiers and symbols of genes in a ``var`` table, which stays as it is.

    Ids come from the index if it holds Ensembl ids, else from the first well-named column that
    does, else they are the index. Symbols come from the first of ``gene_symbol``,
    ``feature_name``, ``gene_name``, ``symbol`` and their like, else they are the index. A gene
    without a symbol keeps its id in that place.

    The organism is that of the Ensembl prefix; for symbols, capitals (ACTB) mean human and a
    capital followed by small letters (Actb) mouse; None if neither is clear.
    """
    index = _text(var.index)
    id_from, ids = "index", index
    if ensembl_share(index) < _MOST:
        candidates = _columns(var, _ID_COLUMNS)
        shares = [(ensembl_share(_text(var[c])), c) for c in candidates]
        better = [c for share, c in shares if share >= 0.5 and share > ensembl_share(index)]
        if better:
            id_from, ids = better[0], _text(var[better[0]])
    symbol_from, symbols = "index", index
    for column in _columns(var, _SYMBOL_COLUMNS):
        names = _text(var[column])
        if column != id_from and (names != "").any() and ensembl_share(names) < 0.5:
            symbol_from, symbols = column, names
            break
    ids = np.where(ids == "", index, ids)
    gene_id = strip_versions(ids)
    return GeneNames(
        gene_id=gene_id,
        gene_symbol=np.where(symbols == "", gene_id, strip_versions(symbols)),
        kind=id_kind(gene_id),
        organism=organism_of(gene_id, symbols),
        id_from=id_from,
        symbol_from=symbol_from,
    )


def strip_versions(ids: NDArray[np.str_]) -> NDArray[np.str_]:
    """Ensembl ids without their version (ENSG00000141510.17 becomes ENSG00000141510)."""
    stripped = [m[1] + m[2] + (m[4] or "") if (m := _ENSEMBL.match(i)) else i for i in ids.tolist()]
    return np.array(stripped, dtype=np.str_)


def ensembl_share(names: NDArray[np.str_]) -> float:
    """The share of names that are Ensembl gene ids, 0 to 1."""
    return float(np.mean([bool(_ENSEMBL.match(n)) for n in names.tolist()])) if names.size else 0.0


def id_kind(names: NDArray[np.str_]) -> IdKind:
    """Whether names are Ensembl ids, symbols, both (mixed), or nothing known (numbers, blanks)."""
    ensembl = ensembl_share(names)
    if ensembl >= _MOST:
        return "ensembl"
    symbols = float(np.mean([bool(_SYMBOL.match(n)) for n in names.tolist()])) - ensembl
    if ensembl > 1 - _MOST and ensembl + symbols >= 0.5:
        return "mixed"
    return "symbol" if symbols >= 0.5 else "unknown"


def organism_of(ids: NDArray[np.str_], symbols: NDArray[np.str_]) -> str | None:
    """The organism by Ensembl prefix, else by the case of the symbols; None if unclear."""
    prefixes = [m[1] for i in ids.tolist() if (m := _ENSEMBL.match(i))]
    if len(prefixes) >= 0.5 * ids.size and prefixes:
        shares = pd.Series(prefixes).value_counts(normalize=True)
        named = [_ORGANISMS.get(str(p), str(p)) for p in shares.index[shares > 0.05]]
        return " and ".join(named)
    letters = [re.sub(r"[^A-Za-z]", "", s) for s in symbols.tolist() if _SYMBOL.match(s)]
    letters = [s for s in letters if len(s) > 1]
    if not letters:
        return None
    # C1orf21 and the like are human and not all capitals; Rik and Gm genes are mouse.
    capitals = np.mean([s.isupper() for s in letters])
    titled = np.mean([s[0].isupper() and s[1:].islower() for s in letters])
    if capitals > 0.7:
        return "human"
    return "mouse" if titled > 0.6 else None


def _columns(var: pd.DataFrame, known: tuple[str, ...]) -> list[str]:
    by_lower = {
        str(c).lower().replace("-", "_").replace(" ", "_"): str(c) for c in reversed(var.columns)
    }
    return [by_lower[k] for k in known if k in by_lower]


def _text(values: pd.Series | pd.Index) -> NDArray[np.str_]:
    series = pd.Series(np.asarray(values, dtype=object))
    return np.array(["" if pd.isna(v) else _decode(v) for v in series], dtype=np.str_)


def _decode(value: object) -> str:
    return (value.decode(errors="replace") if isinstance(value, bytes) else str(value)).strip()
