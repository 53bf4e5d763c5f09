"""The matrix of an AnnData, whatever it is stored as, as checked count rows in CSR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from anndata.abc import CSCDataset, CSRDataset
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.scale import Verdict, verdict
from cellwright.data.stored import StoredMatrix, open_matrix
from cellwright.errors import DataError

_JUDGED_ROWS = 512
_FLOAT32_WHOLE = 1 << 24


def layer_in_use(cells: AnnData, layer: str | None) -> str:
    """The name of the matrix that holds the counts: the layer asked for, else ``layers["counts"]``, else X.

    Raises
    ------
    DataError
        If the layer does not exist; the nearest name is given.
    """
    if layer is None:
        return "layers/counts" if "counts" in cells.layers else "X"
    name = layer.removeprefix("layers/")
    if name in cells.layers:
        return f"layers/{name}"
    if name == "X":
        return "X"
    if name.removesuffix("/X") == "raw" and cells.raw is not None:
        return "raw"
    close = nearest(name, [*cells.layers, "X"])
    hint = f"did you mean {close!r}" if close else f"there are: {', '.join(['X', *cells.layers])}"
    raise DataError(f"there is no layer {name!r}: {hint}")


def matrix_of(cells: AnnData, name: str) -> Any:
    """The matrix called ``name`` by :func:`layer_in_use`, as it is stored; genes as in ``var``.

    Raises
    ------
    DataError
        If there is none, or ``raw`` does not hold all genes of ``var``.
    """
    if name == "X":
        # Asking backed cells for an X that their file lacks is a KeyError.
        if (cells.isbacked and "X" not in cells.file) or cells.X is None:
            layers = ", ".join(cells.layers) or "none"
            raise DataError(f"there is no X; name the counts with --layer (layers: {layers})")
        return cells.X
    if name != "raw":
        return cells.layers[name.removeprefix("layers/")]
    columns = cells.raw.var_names.get_indexer_for(cells.var_names)
    if (columns < 0).any() or len(columns) != cells.n_vars:
        lost = cells.var_names[columns[: cells.n_vars] < 0]
        example = f", e.g. {lost[0]!r}" if len(lost) else " once each"
        raise DataError(f"raw does not hold the genes of X{example}; use the layer of the counts")
    return to_csr(cells.raw.X, name)[:, columns]


def stored(matrix: Any, name: str) -> StoredMatrix | None:
    """The on-disk view of a backed matrix, None for one in memory."""
    if isinstance(matrix, StoredMatrix):
        return matrix
    if isinstance(matrix, h5py.Dataset):
        return open_matrix(matrix, name)
    if isinstance(matrix, CSRDataset | CSCDataset):
        group = getattr(matrix, "group", None)
        return open_matrix(group, name) if isinstance(group, h5py.Group) else None
    return None


def to_csr(matrix: Any, name: str = "X", *, copy: bool = True) -> sp.csr_matrix:
    """A copy as CSR with sorted indices, each entry once and no explicit zeros; type unchanged.

    Without ``copy`` the matrix given may be changed and used up.

    Raises
    ------
    DataError
        If the matrix does not hold numbers.
    """
    if on_disk := stored(matrix, name):
        matrix, copy = on_disk.take_rows(np.arange(on_disk.shape[0])), False
    elif hasattr(matrix, "compute"):
        matrix = matrix.compute()
    if not sp.issparse(matrix):
        matrix = np.asarray(matrix)
    if matrix.dtype.kind not in "biuf":
        raise DataError(f"{name} holds {matrix.dtype} values, expected numbers")
    csr = sp.csr_matrix(matrix, copy=copy)
    csr.sum_duplicates()
    csr.eliminate_zeros()
    return csr


def checked(
    csr: sp.csr_matrix,
    *,
    name: str,
    assume_counts: bool,
    elsewhere: Callable[[], str] = str,
) -> sp.csr_matrix:
    """Counts in the smallest floating type that holds them exactly; ``csr`` itself is changed.

    Raises
    ------
    DataError
        If the values are not counts, as :func:`refuse` says.
    """
    found = verdict(csr)
    refuse(found, name=name, assume_counts=assume_counts, elsewhere=elsewhere)
    small = found.n_fractional == 0 and (found.largest or 0) < _FLOAT32_WHOLE
    csr.data = csr.data.astype(np.float32 if small else np.float64, copy=False)
    return csr


def refuse(
    found: Verdict,
    *,
    name: str,
    assume_counts: bool,
    elsewhere: Callable[[], str] = str,
) -> None:
    """Raise DataError unless the matrix ``name`` holds counts.

    ``assume_counts`` lets fractions pass, but neither NaN nor infinite nor negative values.
    ``elsewhere`` says where counts are, if it knows better than to look at the layers.
    """
    if found.are_counts or found.n_values == 0:
        return
    if found.n_nan or found.n_inf:
        raise DataError(f"{name} cannot be used as counts: {found.evidence}; repair or remove them")
    if found.n_negative:
        what = "scaled" if found.kind == "scaled" else "not counts"
        remedy = elsewhere() or "counts are never negative; name the raw counts with --layer"
        raise DataError(f"{name} is {what}: {found.evidence}; {remedy}")
    if assume_counts:
        return
    what = "log-normalized" if found.kind == "lognorm" else "not raw counts"
    remedy = elsewhere() or (
        "name the raw counts with --layer, or pass --assume-counts to take it as it is"
    )
    raise DataError(f"{name} is {what}: {found.evidence}; {remedy}")


def where_else(cells: AnnData, name: str) -> str:
    """A hint that names another matrix of the same cells that does hold counts, or ""."""
    others = [f"layers/{key}" for key in cells.layers] + ["X"]
    if cells.raw is not None:
        others.append("raw")
    for other in others:
        if other == name or (other == "X" and cells.X is None):
            continue
        try:
            judged = verdict(some_rows(cells, matrix_of(cells, other), other))
        except DataError:
            continue
        if judged.are_counts:
            short = other.removeprefix("layers/")
            return f"{other} holds counts: use it with --layer {short}"
    return ""


def some_rows(cells: AnnData, matrix: Any, name: str) -> sp.csr_matrix:
    """Rows spread over the matrix, few enough to judge its scale quickly."""
    rows = np.unique(np.linspace(0, cells.n_obs - 1, _JUDGED_ROWS).astype(np.int64))
    return take_rows(matrix, name, rows)


def take_rows(matrix: Any, name: str, rows_n: NDArray[np.int64]) -> sp.csr_matrix:
    """The rows asked for, in order, of a matrix in memory or on disk, as a clean CSR copy."""
    on_disk = stored(matrix, name)
    taken = on_disk.take_rows(rows_n) if on_disk else matrix[rows_n]
    return to_csr(taken, name, copy=False)
