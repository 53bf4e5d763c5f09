"""Carry tables and annotations of an AnnData on disk over to a new file, the selected rows of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata.io import read_elem, write_elem
from numpy.typing import NDArray

from cellwright.data.disk.nodes import file_of, is_array, is_group
from cellwright.data.opening import translated
from cellwright.data.stored import is_sparse
from cellwright.data.writing import writable
from cellwright.errors import DataError

_PIECE_BYTES = 16 << 20


def carry_table(
    node: Any,
    into: Any,
    name: str,
    rows: NDArray[np.int64] | None,
    *,
    names: pd.Index | None = None,
    add: pd.DataFrame | None = None,
) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Write a table column by column, the selected rows of each.

    Categories that no selected row has are left out, as anndata does for a subset; all else stays:
    kinds, order of categories, name of the index.

    Parameters
    ----------
    names, add
        New names of the rows, new columns, for every row of ``node``.

    Returns
    -------
    For each categorical column that lost categories, those before and those after.
    """
    added = None if add is None else writable(add, name)
    if not (is_group(node) and "_index" in node.attrs) or "__categories" in node:
        return _carry_old_table(_read(node), into, name, rows, names, added)
    index_name = str(node.attrs["_index"])
    order = [str(c) for c in node.attrs.get("column-order", [])]
    fresh = {} if added is None else {str(c): added[c]._values for c in added.columns}
    group = into.create_group(name)
    _as_table(group, index_name, [*order, *(c for c in fresh if c not in order)])
    old_names = _read(node, index_name) if names is None else names.to_numpy()
    write_elem(group, index_name, _taken(old_names, rows))
    lost = {}
    for column in [*order, *(c for c in fresh if c not in order)]:
        values = fresh[column] if column in fresh else _read(node, column)
        lost.update(_write_column(group, column, values, rows))
    return lost


def trim_colors(uns: dict[str, Any], lost: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]) -> None:
    """Drop the colours of categories that were left out from ``uns``, as anndata does."""
    for column, (before, after) in lost.items():
        key = f"{column}_colors"
        if key not in uns:
            continue
        colors = np.atleast_1d(np.asarray(uns[key]))
        if len(colors) == len(before):
            uns[key] = colors[np.isin(before, after)]
        else:
            del uns[key]


def carry_array(
    node: Any,
    into: Any,
    name: str,
    rows: NDArray[np.int64] | None,
    n: int,
    *,
    names: pd.Index | None = None,
) -> None:
    """Write the selected rows of what stands in obsm or varm: an array, a table, anything else.

    A dense array is read and written in pieces. ``n``: how many rows there must be; ``names``: new
    names of the rows, for a table.

    Raises
    ------
    DataError
        If it is damaged or has another number of rows.
    """
    _check_rows(node, n)
    if is_group(node) and "_index" in node.attrs:
        carry_table(node, into, name, rows, names=names)
        return
    if not is_array(node) or not node.shape or node.dtype.kind not in "iufb":
        value = _read(node)
        write_elem(into, name, value if rows is None else value[rows])
        return
    step = max(1, _PIECE_BYTES // max(1, int(np.prod(node.shape[1:])) * node.dtype.itemsize))
    write_elem(into, name, np.zeros((0, *node.shape[1:]), node.dtype))
    attrs = dict(into[name].attrs)
    del into[name]
    shape = (n if rows is None else int(rows.size), *node.shape[1:])
    new = into.create_dataset if hasattr(into, "create_dataset") else into.create_array
    target = new(name, shape=shape, dtype=node.dtype)
    target.attrs.update(attrs)
    for low in range(0, n, step):
        high = min(low + step, n)
        if rows is None:
            target[low:high] = _piece(node, low, high)
            continue
        start, stop = np.searchsorted(rows, [low, high])
        part = rows[start:stop]
        # To read through gaps costs less than to ask for single rows, unless these are few.
        if 64 * part.size > high - low:
            target[start:stop] = _piece(node, low, high)[part - low]
        elif part.size:
            target[start:stop] = np.concatenate([_piece(node, int(i), int(i) + 1) for i in part])


def is_sparse_square(node: Any) -> bool:
    """True for a sparse or dense matrix, as obsp and varp hold them."""
    return is_sparse(node) or (is_array(node) and len(node.shape) == 2)


def _carry_old_table(
    frame: pd.DataFrame,
    into: Any,
    name: str,
    rows: NDArray[np.int64] | None,
    names: pd.Index | None,
    added: pd.DataFrame | None,
) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """A table in the form of anndata 0.7 and before, read whole."""
    if names is not None:
        frame.index = names.rename(frame.index.name)
    for column in () if added is None else added.columns:
        frame[column] = added[column]._values if added is not None else None
    group = into.create_group(name)
    index_name = str(frame.index.name or "_index")
    _as_table(group, index_name, [str(c) for c in frame.columns])
    write_elem(group, index_name, _taken(frame.index.to_numpy(), rows))
    lost = {}
    for column in frame.columns:
        lost.update(_write_column(group, str(column), frame[column]._values, rows))
    return lost


def _as_table(group: Any, index_name: str, columns: list[str]) -> None:
    group.attrs["encoding-type"], group.attrs["encoding-version"] = "dataframe", "0.2.0"
    group.attrs["_index"] = index_name
    # HDF5 cannot tell the type of an empty list; zarr takes nothing but lists.
    empty: Any = np.array([], dtype=float) if isinstance(group, h5py.Group) else []
    group.attrs["column-order"] = columns if columns else empty


def _write_column(
    group: Any, column: str, values: Any, rows: NDArray[np.int64] | None
) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    taken = _taken(values, rows)
    lost = {}
    if isinstance(taken, pd.Categorical) and rows is not None:
        before = taken.categories
        taken = taken.remove_unused_categories()
        if len(taken.categories) < len(before):
            lost[column] = (before.to_numpy(), taken.categories.to_numpy())
    write_elem(group, column, taken)
    return lost


def _taken(values: Any, rows: NDArray[np.int64] | None) -> Any:
    if rows is None:
        return values
    return sp.csr_matrix(values)[rows] if sp.issparse(values) else values[rows]


def _read(node: Any, part: str | None = None) -> Any:
    with translated(file_of(node)):
        return read_elem(node if part is None else node[part])


def _piece(node: Any, low: int, high: int) -> NDArray[Any]:
    with translated(file_of(node)):
        return node[low:high]


def _check_rows(node: Any, n: int) -> None:
    with translated(file_of(node)):
        if is_group(node) and "_index" in node.attrs:
            there = node[str(node.attrs["_index"])].shape[0]
        elif is_sparse(node):
            there = int(node.attrs["shape"][0])
        else:
            there = node.shape[0] if is_array(node) and node.shape else n
        if there != n:
            raise DataError(
                f"{str(node.name).strip('/')} has {there} rows, but the table has {n}; write the "
                "file again"
            )
