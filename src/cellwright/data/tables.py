"""The tables of cells and genes in an .h5ad: what columns there are, read one at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from anndata.io import read_elem

from cellwright.config import nearest
from cellwright.data.disk.nodes import is_group
from cellwright.errors import DataError

ColumnKind = Literal["categorical", "string", "numeric", "bool"]


@dataclass(frozen=True)
class Table:
    """One table of ``n`` rows; columns are read when asked for.

    ``kinds`` maps each column to its kind, in order; ``n_categories`` those that are categorical
    to the number of their categories, used or not.
    """

    name: str
    n: int
    kinds: dict[str, ColumnKind]
    n_categories: dict[str, int]
    index: Callable[[], pd.Index]
    read: Callable[[str], pd.Series]

    def column(self, name: str) -> pd.Series:
        """Read a column.

        Raises
        ------
        DataError
            If there is none of this name; the nearest is named.
        """
        if name in self.kinds:
            return self.read(name)
        close = nearest(name, self.kinds)
        there = ", ".join(self.kinds) or "none"
        hint = f"did you mean {close!r}? There are" if close else "there are"
        raise DataError(f"{self.name} has no column {name!r}: {hint}: {there}")

    def frame(self) -> pd.DataFrame:
        """All of it."""
        return pd.DataFrame({c: self.column(c).to_numpy() for c in self.kinds}, index=self.index())


def table_of_frame(frame: pd.DataFrame, name: str) -> Table:
    """A table that is in memory already."""
    kinds = {str(c): _kind_of_values(frame[c]) for c in frame.columns}
    categories = {
        str(c): len(frame[c].cat.categories) for c, k in kinds.items() if k == "categorical"
    }
    return Table(name, len(frame), kinds, categories, lambda: frame.index, lambda c: frame[c])


def open_table(node: Any, name: str) -> Table:
    """Look at a table of an open HDF5 file; only column names and types are read.

    A table in the form of anndata 0.7 is read whole.

    Raises
    ------
    DataError
        If the node is not a table.
    """
    if not _is_modern(node):
        frame = read_elem(node)
        if not isinstance(frame, pd.DataFrame):
            raise DataError(
                f"{name} is not a table as anndata 0.7 and later write it; read the file with "
                "anndata.read_h5ad and write it again with AnnData.write_h5ad"
            )
        return table_of_frame(frame, name)
    index_name, n, columns = _parts(node, name)
    kinds = {c: _kind_of_node(node[c]) for c in columns}
    categories = {c: _length(node[c]["categories"]) for c, k in kinds.items() if k == "categorical"}
    return Table(
        name,
        n,
        kinds,
        categories,
        lambda: pd.Index(_text(read_elem(node[index_name]))),
        lambda c: pd.Series(read_elem(node[c])),
    )


def check_table(node: Any, name: str) -> None:
    """Raise DataError if an index or column of a table in an open HDF5 file is missing or short."""
    if _is_modern(node):
        _parts(node, name)


def _is_modern(node: Any) -> bool:
    grouped = is_group(node) and "_index" in node.attrs
    return grouped and "__categories" not in node


def _parts(node: Any, name: str) -> tuple[str, int, list[str]]:
    """Name of the index, number of rows and names of the columns, all there and of one length."""
    index_name = str(node.attrs["_index"])
    if index_name not in node:
        raise DataError(f"{name} is damaged: its index {index_name!r} is missing")
    n = _length(node[index_name])
    order = [str(c) for c in node.attrs.get("column-order", [])]
    for column in order:
        if column not in node:
            raise DataError(f"{name} is damaged: its column {column!r} is missing")
        if _length(node[column]) != n:
            raise DataError(
                f"{name} is damaged: its column {column!r} has {_length(node[column])} entries for "
                f"{n} rows; write the file again"
            )
    return index_name, n, order


def _length(node: Any) -> int:
    for part in ("codes", "values"):
        if is_group(node) and part in node:
            node = node[part]
    return int(node.shape[0])


def n_duplicates(index: pd.Index) -> tuple[int, str | None]:
    """How many names repeat an earlier one, and the first that does."""
    repeated = index.duplicated()
    count = int(repeated.sum())
    return count, str(index[repeated][0]) if count else None


def _kind_of_node(node: Any) -> ColumnKind:
    encoding = str(node.attrs.get("encoding-type", ""))
    if encoding == "categorical":
        return "categorical"
    if encoding == "nullable-boolean":
        return "bool"
    if encoding == "nullable-integer":
        return "numeric"
    dtype = getattr(node, "dtype", None)
    if dtype is None or dtype.kind in "OSUT":
        return "string"
    return "bool" if dtype.kind == "b" else "numeric"


def _kind_of_values(values: pd.Series) -> ColumnKind:
    if isinstance(values.dtype, pd.CategoricalDtype):
        return "categorical"
    if pd.api.types.is_bool_dtype(values.dtype):
        return "bool"
    return "numeric" if pd.api.types.is_numeric_dtype(values.dtype) else "string"


def _text(values: Any) -> Any:
    array = np.asarray(values)
    if array.dtype.kind == "T":
        return array.astype(object)
    if array.dtype.kind in "SO":
        return np.array([v.decode() if isinstance(v, bytes) else v for v in array], dtype=object)
    return values
