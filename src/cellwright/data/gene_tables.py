"""Small tables about genes (labels, coordinates, families, scores), and finding genes in them."""

from __future__ import annotations

import gzip
import io
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.data.genes import GeneNames
from cellwright.errors import DataError


def read_gene_table(path: Path | str) -> pd.DataFrame:
    """Read a table as text, every cell a string, "" where empty; commas or tabs, plain or gzip.

    Raises
    ------
    DataError
        If the file is missing, is not text, has no row below its header, or two columns of a name.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"no gene table at {path}") from None
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is not a table of genes (text with commas or tabs): {error}"
        ) from None
    header = text.split("\n", 1)[0]
    separator = "\t" if "\t" in header else ";" if ";" in header and "," not in header else ","
    try:
        frame = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} is not a table of genes: {error}") from None
    if not len(frame):
        raise DataError(f"{path} has no row below its header {header.strip()[:60]!r}")
    frame.columns = pd.Index([str(c).strip() for c in frame.columns])
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"{path} has the column {twice!r} twice; name every column once")
    return frame


def text_of(column: pd.Series) -> NDArray[np.str_]:
    """A column as stripped text, "" for what is missing."""
    values = ["" if pd.isna(v) else str(v).strip() for v in column.tolist()]
    return np.array(["" if v.lower() in ("na", "nan", "none") else v for v in values], dtype=str)


def positions(
    genes: GeneNames, ids: NDArray[np.str_], symbols: NDArray[np.str_]
) -> NDArray[np.int64]:
    """Where each gene stands among others: by id, else by symbol, -1 where it does not.

    Parameters
    ----------
    ids, symbols
        Of the genes searched, in one order; the first of a repeated name has it.

    Returns
    -------
    (g,) int64.
    """
    by_id: dict[str, int] = {}
    by_symbol: dict[str, int] = {}
    for i, (gene, symbol) in enumerate(zip(ids.tolist(), symbols.tolist(), strict=True)):
        by_id.setdefault(gene, i)
        by_symbol.setdefault(symbol, i)
    found = [
        by_id.get(gene, by_symbol.get(symbol, by_symbol.get(gene, -1)))
        for gene, symbol in zip(genes.gene_id.tolist(), genes.gene_symbol.tolist(), strict=True)
    ]
    return np.array(found, dtype=np.int64)
