"""What is known of a gene without any model: length, expression level, detection, biotype, family."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.data.gene_tables import positions, read_gene_table, text_of
from cellwright.data.genes import GeneNames, ensembl_share, gene_names
from cellwright.errors import DataError

LENGTH, MEDIAN, DETECTION, BIOTYPE = "length", "nonzero median", "detection", "biotype"
_STARTS = ("start", "gene_start", "start_position", "txstart")
_ENDS = ("end", "gene_end", "end_position", "txend")
_LENGTHS = ("length", "gene_length", "feature_length")
_BIOTYPES = ("biotype", "gene_biotype", "gene_type", "feature_type")


@dataclass(frozen=True)
class GeneFacts:
    """What a gene table says of some genes.

    length_g: base pairs from start to end, NaN where unknown, or None without such columns.
    biotype_g: "" where unknown, or None. symbol_g: "" where unknown. found_g: genes in the table.
    """

    length_g: NDArray[np.float64] | None
    biotype_g: NDArray[np.str_] | None
    symbol_g: NDArray[np.str_]
    found_g: NDArray[np.bool_]


@dataclass(frozen=True)
class GeneProperties:
    """Properties as numbers, one row per gene.

    values_gp: (g, p) float64, NaN where unknown; columns: what each is; lacks: properties that are
    not among them, with the reason.
    """

    values_gp: NDArray[np.float64]
    columns: tuple[str, ...]
    lacks: Mapping[str, str]

    def only(self, *wanted: str) -> NDArray[np.float64]:
        """The columns of these properties, (g, ≤ p)."""
        keep = [i for i, c in enumerate(self.columns) if c.split(":")[0] in wanted]
        return self.values_gp[:, keep]


def facts_of_table(genes: GeneNames, path: Path | str) -> GeneFacts:
    """Look genes up in a table with ids or symbols, and length (or start and end) or biotype.

    Raises
    ------
    DataError
        If not one gene is found, it has none of these columns, or a length is no number above 0.
    """
    frame = read_gene_table(path)
    ids = next((c for c in frame.columns if ensembl_share(text_of(frame[c])) >= 0.5), None)
    frame.index = text_of(frame[ids if ids is not None else frame.columns[0]])
    facts = facts_of_var(genes, frame, str(path))
    if not facts.found_g.any():
        shown = ", ".join(genes.gene_id[:3].tolist())
        raise DataError(
            f"none of the {len(genes.gene_id)} labelled genes ({shown} …) is in the gene table "
            f"{path} ({', '.join(map(str, frame.index[:3]))} …); give one of the same organism "
            "with Ensembl ids or symbols"
        )
    if facts.length_g is None and facts.biotype_g is None:
        raise DataError(
            f"the gene table {path} has neither length (or start and end) nor biotype; its columns "
            f"are {', '.join(map(str, frame.columns))}"
        )
    return facts


def facts_of_var(genes: GeneNames, var: pd.DataFrame, where: str = "var") -> GeneFacts:
    """The same from a ``var`` table of cells; properties it has no column for are None."""
    names = gene_names(var)
    place = positions(genes, names.gene_id, names.gene_symbol)
    found = place >= 0
    length, start, end = (_column(var, k) for k in (_LENGTHS, _STARTS, _ENDS))
    length_g = None
    if length is not None:
        length_g = _numbers(var[length], place, where)
    elif start is not None and end is not None:
        length_g = _numbers(var[end], place, where) - _numbers(var[start], place, where) + 1
    if length_g is not None and (length_g <= 0).any():
        gene = genes.gene_id[np.flatnonzero(length_g <= 0)[0]]
        raise DataError(
            f"{where} gives {gene} the length {length_g[length_g <= 0][0]:g}, expected base pairs "
            "above 0"
        )
    biotype = _column(var, _BIOTYPES)
    symbols = np.where(
        found & (names.gene_symbol != names.gene_id)[place], names.gene_symbol[place], ""
    )
    return GeneFacts(
        length_g=length_g,
        biotype_g=None if biotype is None else np.where(found, text_of(var[biotype])[place], ""),
        symbol_g=symbols,
        found_g=found,
    )


def gene_properties(
    families: NDArray[np.str_],
    *,
    facts: GeneFacts | None = None,
    median_g: NDArray[np.float64] | None = None,
    detection_g: NDArray[np.float64] | None = None,
    min_family: int = 5,
    missing: Mapping[str, str] | None = None,
) -> GeneProperties:
    """Properties of genes as columns of numbers.

    Log length, log nonzero median, detection, a bit per biotype, and a bit per family of at least
    ``min_family`` of these genes (the labels are not looked at).

    Parameters
    ----------
    families
        (g,) family of each gene.
    facts
        From a gene table, or the ``var`` table of cells.
    median_g
        (g,) nonzero medians of a vocabulary, or of cells.
    detection_g
        (g,) share of cells with the gene, 0 to 1.
    missing
        Property -> why it is not there, for the sentence.
    """
    why = {
        LENGTH: "no gene table with length, or start and end, was given",
        MEDIAN: "there is neither a vocabulary nor a file of cells",
        DETECTION: "no file of cells was given",
        BIOTYPE: "no gene table with a biotype was given",
    } | dict(missing or {})
    columns: dict[str, NDArray[np.float64]] = {}
    lacks: dict[str, str] = {}
    logged = {LENGTH: None if facts is None else facts.length_g, MEDIAN: median_g}
    for name, values in logged.items():
        if values is None or not np.isfinite(values).any():
            lacks[name] = why[name]
        else:
            columns[f"{name}:log"] = np.log(values)
    if detection_g is None:
        lacks[DETECTION] = why[DETECTION]
    else:
        columns[f"{DETECTION}:share"] = detection_g
    types = None if facts is None else facts.biotype_g
    if types is None:
        lacks[BIOTYPE] = why[BIOTYPE]
    else:
        columns |= _bits(BIOTYPE, types, 1)
    columns |= _bits("family", families, min_family)
    return GeneProperties(
        values_gp=np.column_stack([*columns.values()]) if columns else np.zeros((len(families), 0)),
        columns=tuple(columns),
        lacks=lacks,
    )


def _bits(name: str, values_g: NDArray[np.str_], least: int) -> dict[str, NDArray[np.float64]]:
    """A 0/1 column for every value that at least ``least`` genes have and not all."""
    found, counts = np.unique(values_g[values_g != ""], return_counts=True)
    keep = found[(counts >= least) & (counts < len(values_g))]
    return {f"{name}:{v}": (values_g == v).astype(np.float64) for v in keep.tolist()}


def _column(var: pd.DataFrame, known: tuple[str, ...]) -> str | None:
    by_lower = {str(c).lower(): str(c) for c in reversed(var.columns)}
    return next((by_lower[k] for k in known if k in by_lower), None)


def _numbers(column: pd.Series, place: NDArray[np.int64], where: str) -> NDArray[np.float64]:
    """Values at the places, NaN where blank or not found."""
    text = text_of(column)
    out = np.full(len(place), math.nan)
    for i in np.flatnonzero(place >= 0):
        value = str(text[place[i]])
        if value == "":
            continue
        try:
            out[i] = float(value)
        except ValueError:
            raise DataError(
                f"the column {column.name!r} of {where} holds {value!r}, expected numbers"
            ) from None
    return out
