"""A list of genes in a text file, matched to the names, ids and symbols of a table of genes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.genes import gene_names, strip_versions
from cellwright.errors import DataError

_HEADERS = {
    "gene", "genes", "gene_id", "gene_ids", "gene_name", "gene_names", "gene_symbol",
    "gene_symbols", "symbol", "symbols", "name", "id", "ensembl", "ensembl_id", "ensembl_gene_id",
    "feature", "feature_id", "feature_name", "gene_identifier", "hgnc_symbol", "var_names",
}  # fmt: skip
_SHOWN = 5


@dataclass(frozen=True)
class GeneMatch:
    """What a list found: ``columns``, sorted positions of genes, by how many names and which not.

    ``n_several``: names that stand for more than one gene; all of those are taken.
    """

    columns: NDArray[np.int64]
    n_listed: int
    n_repeated: int
    n_several: int
    missing: list[str]

    def to_dict(self) -> dict[str, Any]:
        return {
            "listed": self.n_listed,
            "repeated": self.n_repeated,
            "genes": len(self.columns),
            "names_of_several": self.n_several,
            "missing": self.missing,
        }

    def text(self) -> str:
        """One sentence for people."""
        said = f"{len(self.columns):,} genes by {self.n_listed:,} names of the list"
        if self.n_repeated:
            said += f" ({self.n_repeated:,} more lines repeat one)"
        if self.n_several:
            said += f"; {self.n_several:,} names stand for several genes, all taken"
        if self.missing:
            more = ", …" if len(self.missing) > _SHOWN else ""
            shown = ", ".join(self.missing[:_SHOWN])
            said += f"; {len(self.missing):,} not found: {shown}{more}"
        return said


def read_gene_list(path: Path | str) -> list[str]:
    """The names in a text file: one a line, or the first column of a CSV or TSV; # begins a comment.

    Raises
    ------
    DataError
        If there is no such file, it is no text, or names nothing.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"there is no list of genes at {path}; check the path") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text; expected one gene a line") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    lines = [line.split("#", 1)[0].strip() for line in text.splitlines()]
    rows = [[f.strip().strip("\"'") for f in re.split(r"[,;\t]", line)] for line in lines if line]
    # A single line is a list from left to right.
    fields = rows[0] if len(rows) == 1 else [row[0] for row in rows]
    names = [field for field in fields if field]
    if not names:
        raise DataError(f"{path} names no gene; expected one a line")
    return names


def match_genes(names: Sequence[str], var: pd.DataFrame) -> GeneMatch:
    """Find genes by their name in the table, else by Ensembl id without version, else by symbol.

    Parameters
    ----------
    names
        As listed; a first one such as ``gene_id`` that is no gene is taken for a header.
    var
        The table of g genes.

    Raises
    ------
    DataError
        If none is found; the sentence shows names of both sides.
    """
    known = gene_names(var)
    index = np.array([str(name).strip() for name in var.index], dtype=object)
    tables = [_positions(index), _positions(known.gene_id), _positions(known.gene_symbol)]
    listed = list(dict.fromkeys(names))
    if listed[0].lower().replace(" ", "_") in _HEADERS and not _look(listed[0], tables):
        listed = listed[1:]
        names = names[1:]
    found = {name: _look(name, tables) for name in listed}
    missing = [name for name in listed if not found[name]]
    if len(missing) == len(listed):
        raise DataError(
            f"none of the {len(listed):,} genes of the list is there: it says "
            f"{', '.join(listed[:3]) or 'nothing'}, the genes of the file are called "
            f"{', '.join(map(str, index[:3]))} (symbols {', '.join(known.gene_symbol[:3])}); "
            + _hint(listed, {**tables[0], **tables[1], **tables[2]})
        )
    columns = np.unique([position for positions in found.values() for position in positions])
    return GeneMatch(
        columns.astype(np.int64),
        n_listed=len(listed),
        n_repeated=len(names) - len(listed),
        n_several=sum(len(positions) > 1 for positions in found.values()),
        missing=missing,
    )


def _hint(listed: Sequence[str], known: Mapping[str, Any]) -> str:
    lower = {name.lower(): name for name in known}
    for name in listed:
        if name.lower() in lower:
            return f"capitals matter: {name!r} is {lower[name.lower()]!r} there"
    close = nearest(listed[0], known) if listed else None
    return f"did you mean {close!r} by {listed[0]!r}?" if close else "is it another organism?"


def _positions(names: NDArray[Any]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for position, name in enumerate(names.tolist()):
        found.setdefault(str(name), []).append(position)
    return found


def _look(name: str, tables: Sequence[dict[str, list[int]]]) -> list[int]:
    bare = str(strip_versions(np.array([name]))[0])
    for table, text in zip(tables, (name, bare, bare), strict=True):
        if text in table:
            return table[text]
    return []
