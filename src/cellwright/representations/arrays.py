"""Vectors that somebody else has made: a matrix in the AnnData, or a file beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.errors import DataError


def from_obsm(cells: AnnData, key: str) -> NDArray[np.float32]:
    """The vectors (n, d) kept in ``cells.obsm[key]``.

    Raises
    ------
    DataError
        If the key is missing (the nearest is named) or its values are not finite numbers.
    """
    if key not in cells.obsm:
        known = [str(k) for k in cells.obsm]
        close = nearest(key, known)
        hint = f"did you mean {close!r}?" if close else f"keys: {', '.join(known) or 'none'}"
        raise DataError(f"no {key!r} in obsm: {hint}")
    return _checked(cells.obsm[key], f"obsm[{key!r}]", cells.n_obs)


def from_file(path: Path | str, n_cells: int) -> NDArray[np.float32]:
    """The vectors (n, d) in a ``.npy`` file whose rows are the cells, in their order.

    Raises
    ------
    DataError
        If the file is missing, no plain array, or has another number of rows than there are cells.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"no file {path}") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is not a .npy file of numbers: {error}") from None
    if not isinstance(values, np.ndarray):
        values.close()
        raise DataError(f"{path} holds several arrays (.npz); expected one .npy array")
    return _checked(values, str(path), n_cells)


def _checked(values: object, where: str, n_cells: int) -> NDArray[np.float32]:
    try:
        dense = values.toarray() if sp.issparse(values) else np.asarray(values)  # type: ignore[attr-defined]
        vectors_nd = dense.astype(np.float32)
    except (TypeError, ValueError):
        raise DataError(f"{where} does not hold numbers") from None
    if vectors_nd.ndim == 1:
        vectors_nd = vectors_nd[:, None]
    if vectors_nd.ndim != 2 or vectors_nd.shape[1] == 0:
        raise DataError(f"{where} has shape {vectors_nd.shape}, expected cells × dims")
    if len(vectors_nd) != n_cells:
        raise DataError(
            f"{where} has {len(vectors_nd)} rows for {n_cells} cells; "
            "expected one row per cell, in the order of the cells"
        )
    bad = np.flatnonzero(~np.isfinite(vectors_nd).all(axis=1))
    if len(bad):
        raise DataError(f"{where} holds NaN or infinity in {len(bad)} rows (first: row {bad[0]})")
    return vectors_nd
