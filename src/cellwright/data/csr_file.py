"""A sparse matrix in an .h5ad that grows row by row, so that it never has to fit into memory."""

from __future__ import annotations

import h5py
import numpy as np
from scipy import sparse

_CHUNK = 1 << 18


def empty_csr(file: h5py.Group, name: str, n_columns: int) -> h5py.Group:
    """Make a float32 CSR matrix of no rows, as anndata stores one; ``append_csr`` adds rows."""
    group = file.create_group(name)
    group.attrs["encoding-type"], group.attrs["encoding-version"] = "csr_matrix", "0.1.0"
    group.attrs["shape"] = np.array([0, n_columns], dtype=np.int64)
    for part, kind in (("data", np.float32), ("indices", np.int32)):
        group.create_dataset(
            part,
            shape=(0,),
            dtype=kind,
            maxshape=(None,),
            chunks=(_CHUNK,),
            compression="gzip",
            compression_opts=1,
        )
    group.create_dataset("indptr", data=np.zeros(1, np.int64), maxshape=(None,), chunks=(1 << 14,))
    return group


def append_csr(group: h5py.Group, rows_ng: sparse.csr_matrix) -> None:
    """Add rows below those that are there."""
    values, rows = group["data"].shape[0], group["indptr"].shape[0]
    for part in ("data", "indices"):
        group[part].resize((values + rows_ng.nnz,))
        group[part][values:] = getattr(rows_ng, part)
    group["indptr"].resize((rows + rows_ng.shape[0],))
    group["indptr"][rows:] = rows_ng.indptr[1:].astype(np.int64) + values
    n_columns = int(group.attrs["shape"][1])
    group.attrs["shape"] = np.array([rows - 1 + rows_ng.shape[0], n_columns], dtype=np.int64)
