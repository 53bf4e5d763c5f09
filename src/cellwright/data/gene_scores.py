"""Scores of genes from a table, or membership of a list: constraint scores and the like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cellwright.data.gene_tables import positions, read_gene_table, text_of
from cellwright.data.genes import GeneNames, ensembl_share, gene_names
from cellwright.errors import DataError


def scores_of_table(genes: GeneNames, path: Path | str) -> NDArray[np.float64]:
    """The score of every gene from the first column of numbers, NaN where the table has none; of a
    table without one, 1 for a gene that it lists and 0 for another.

    Raises
    ------
    DataError
        If not one gene is found.
    """
    frame = read_gene_table(path)
    ids = next((c for c in frame.columns if ensembl_share(text_of(frame[c])) >= 0.5), None)
    frame.index = text_of(frame[ids if ids is not None else frame.columns[0]])
    names = gene_names(frame)
    place_g = positions(genes, names.gene_id, names.gene_symbol)
    if not (place_g >= 0).any():
        raise DataError(
            f"none of the {len(place_g)} labelled genes ({', '.join(genes.gene_id[:3].tolist())} …) "
            f"is in {path} ({', '.join(map(str, frame.index[:3]))} …)"
        )
    for column in frame.columns:
        values = _numbers(text_of(frame[column]))
        if values is not None:
            return np.where(place_g >= 0, values[place_g], np.nan)
    return (place_g >= 0).astype(np.float64)


def _numbers(text: NDArray[np.str_]) -> NDArray[np.float64] | None:
    """The column as numbers, NaN where blank; None if a value is no number."""
    try:
        return np.array([float(v) if v else np.nan for v in text.tolist()])
    except ValueError:
        return None
