"""The vectors of a representation, checked before any number is made from them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError


def checked_vectors(
    vectors_nd: NDArray[Any],
    *,
    name: str,
    n_cells: int | None = None,
    rows: NDArray[np.int64] | None = None,
) -> NDArray[np.floating]:
    """The vectors as a floating array (n, d), all finite in ``rows`` (default: all).

    Raises
    ------
    DataError
        If the array has another shape, no dimension, or NaN or infinite values; the sentence
        holds the representation's name.
    """
    vectors = np.asarray(vectors_nd)
    if vectors.ndim != 2 or vectors.shape[1] == 0:
        raise DataError(
            f"the vectors of {name} have shape {vectors.shape}; expected cells × dimensions"
        )
    if n_cells is not None and len(vectors) != n_cells:
        raise DataError(
            f"{name} has vectors for {len(vectors)} cells and the data have {n_cells}; "
            "give the vectors of these very cells, in their order"
        )
    if not np.issubdtype(vectors.dtype, np.floating):
        if not np.issubdtype(vectors.dtype, np.number) and vectors.dtype != np.bool_:
            raise DataError(f"the vectors of {name} are of type {vectors.dtype}; expected numbers")
        vectors = vectors.astype(np.float64)
    used = vectors if rows is None else vectors[rows]
    bad = ~np.isfinite(used).all(axis=1)
    if bad.any():
        first = int(np.flatnonzero(bad)[0]) if rows is None else int(rows[np.flatnonzero(bad)[0]])
        raise DataError(
            f"the vectors of {name} have NaN or infinite values in {int(bad.sum())} of {len(used)} "
            f"cells (the first is row {first}); leave these cells out or compute the vectors anew"
        )
    return vectors
