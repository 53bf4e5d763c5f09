"""Cells in: read an .h5ad, find its counts; and the writing and hashing that go with them."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import h5py
import scipy.sparse as sp
from anndata import AnnData, read_h5ad
from anndata.io import read_elem, sparse_dataset

from cellwright.data.hashes import cell_hashes, fingerprint
from cellwright.data.matrix import checked, layer_in_use, matrix_of, to_csr, where_else
from cellwright.data.opening import open_h5ad, translated
from cellwright.data.stored import is_sparse, open_matrix
from cellwright.data.tables import check_table
from cellwright.data.writing import record, write_cells
from cellwright.errors import DataError

__all__ = ["cell_hashes", "counts_of", "fingerprint", "read_cells", "record", "write_cells"]

log = logging.getLogger("cellwright.data")


def read_cells(source: Path | str | AnnData, *, backed: bool = False) -> AnnData:
    """Read an .h5ad file; an AnnData passes through unchanged.

    Parameters
    ----------
    source
        A path, or cells already in memory.
    backed
        Leave X and the layers on disk; they are read by rows when asked for (tables, ``obsm``
        and ``uns`` are read). The file stays open as long as the cells are in use.

    Raises
    ------
    DataError
        If the file is missing, unreadable, not an .h5ad, truncated or damaged, or has no cells or
        no genes. Duplicated names are allowed here; ``inspect`` reports them.
    """
    if isinstance(source, AnnData):
        return _not_empty(source, "these cells")
    path = Path(source)
    with open_h5ad(path) as file, translated(path):
        for name in ("obs", "var"):
            check_table(file[name], name)
        for name, node in _matrices(file):
            if name == "X" or is_sparse(node):
                # Checked here: scipy would crash on damaged offsets later.
                open_matrix(node, name).check()
    with translated(path), warnings.catch_warnings():
        # Duplicated names and old formats are the verdict of inspect, not a line per reading.
        warnings.simplefilter("ignore")
        cells = _backed(path) if backed else read_h5ad(path)
        if not backed:
            _check_indices(cells)
    return _not_empty(cells, str(path))


def counts_of(
    cells: AnnData, *, layer: str | None = None, assume_counts: bool = False
) -> sp.csr_matrix:
    """The raw counts of cells, as a new CSR matrix; ``cells`` stays as it is.

    Taken from ``layer`` if given (a layer, ``X``, or ``raw`` matched to the genes of ``var``), else
    from ``layers["counts"]``, else from X. The matrix must hold counts: whole numbers of any type,
    none negative.

    Parameters
    ----------
    assume_counts
        Take fractions as they are (estimated counts); NaN, infinite and negative values are still
        refused.

    Returns
    -------
    (n, g) CSR with sorted indices, each entry once, no explicit zeros; float32 if the values are
    whole and below 2**24, so held exactly, else float64. Rows of zeros are kept.

    Raises
    ------
    DataError
        If there is no such layer, or it does not hold counts; the sentence has the verdict with
        its evidence, and where counts are.
    """
    _not_empty(cells, "these cells")
    name = layer_in_use(cells, layer)
    csr = to_csr(matrix_of(cells, name), name)
    if csr.nnz == 0:
        raise DataError(
            f"{name} holds no counts: all {cells.n_obs:,} × {cells.n_vars:,} values are zero"
        )
    return checked(
        csr,
        name=name,
        assume_counts=assume_counts,
        elsewhere=lambda: where_else(cells, name),
    )


def _backed(path: Path) -> AnnData:
    """Like ``read_h5ad(path, backed="r")``, which would read the layers and graphs whole."""
    file = h5py.File(path, "r")
    if isinstance(file["obs"], h5py.Dataset) or "encoding-type" not in file.attrs:
        return read_h5ad(path, backed="r")
    parts: dict[str, Any] = {
        key: read_elem(file[key]) for key in ("obs", "var", "obsm", "varm", "uns") if key in file
    }
    for key in ("layers", "obsp", "varp"):
        if key in file:
            parts[key] = {name: _lazy(node) for name, node in file[key].items()}
    if "raw" in file:
        parts["raw"] = {k: read_elem(file["raw"][k]) for k in ("var", "varm") if k in file["raw"]}
    return AnnData(filename=path, filemode="r", **parts)


def _lazy(node: Any) -> Any:
    if isinstance(node, h5py.Dataset):
        return node
    return sparse_dataset(node) if is_sparse(node) else read_elem(node)


def _matrices(file: h5py.File) -> list[tuple[str, Any]]:
    found = [("X", file["X"])] if "X" in file else []
    if "layers" in file:
        found += [(f"layers/{key}", node) for key, node in file["layers"].items()]
    return found


def _check_indices(cells: AnnData) -> None:
    for name, matrix in [("X", cells.X), *((f"layers/{k}", v) for k, v in cells.layers.items())]:
        if sp.issparse(matrix) and matrix.nnz:
            size = matrix.shape[1 if matrix.format == "csr" else 0]
            low, high = int(matrix.indices.min()), int(matrix.indices.max())
            if low < 0 or high >= size:
                wrong, unit = (
                    low if low < 0 else high,
                    "genes" if matrix.format == "csr" else "cells",
                )
                raise DataError(
                    f"{name} is damaged: it holds the index {wrong}, but there are {size} {unit}; "
                    "write the file again"
                )


def _not_empty(cells: AnnData, what: str) -> AnnData:
    if cells.n_obs == 0 or cells.n_vars == 0:
        lacks = "cells" if cells.n_obs == 0 else "genes"
        raise DataError(
            f"{what}: there are no {lacks} (shape {cells.n_obs} × {cells.n_vars}); at least one cell "
            "and one gene are needed"
        )
    return cells
