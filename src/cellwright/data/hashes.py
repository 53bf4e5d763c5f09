"""Hashes that identify a cell by its counts and a data set by its cells and genes."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

_BLOCK_VALUES = 1 << 22


def cell_hashes(counts_ng: Any) -> NDArray[np.uint64]:
    """One 64-bit hash per cell of its (gene position, count) pairs.

    Two cells with equal counts have equal hashes, however they are stored: explicit zeros,
    the order of entries, the number type and the sparse format make no difference. The order of
    the genes does.

    Parameters
    ----------
    counts_ng
        Counts, cells × genes, sparse or dense.

    Returns
    -------
    (n,) uint64; different rows collide with probability 2**-64 per pair. Not cryptographic.

    References
    ----------
    Steele, Lea and Flood (2014), Fast splittable pseudorandom number generators (splitmix64).
    """
    counts = sp.csr_matrix(counts_ng)
    if not counts.has_canonical_format:
        counts = counts.copy()
        counts.sum_duplicates()
    n = counts.shape[0]
    out = np.zeros(n, dtype=np.uint64)
    start = 0
    while start < n:
        # As many whole rows as fit the block, at least one.
        limit = int(counts.indptr[start]) + _BLOCK_VALUES
        stop = max(start + 1, int(np.searchsorted(counts.indptr, limit, side="right")) - 1)
        low, high = int(counts.indptr[start]), int(counts.indptr[stop])
        values = counts.data[low:high].astype(np.float64)
        columns = counts.indices[low:high].astype(np.uint64)
        mixed = _splitmix64(_splitmix64(columns) ^ (values + 0.0).view(np.uint64))
        mixed[values == 0] = 0
        offsets = counts.indptr[start : stop + 1].astype(np.int64) - low
        filled = np.flatnonzero(np.diff(offsets))
        if filled.size:
            # Addition wraps around, so the sum does not depend on the order of the entries.
            out[start + filled] = np.add.reduceat(mixed, offsets[filled])
        start = stop
    return _splitmix64(out)


def fingerprint(cells: Any, counts: Any) -> str:
    """Hash of a data set: gene names, cell names and every count, in their order.

    Parameters
    ----------
    cells
        AnnData with ``obs_names`` and ``var_names``.
    counts
        Its counts, cells × genes; or the (n,) uint64 array :func:`cell_hashes` made of them.

    Returns
    -------
    32 hexadecimal digits.
    """
    hashes = counts if isinstance(counts, np.ndarray) and counts.ndim == 1 else cell_hashes(counts)
    digest = hashlib.sha256()
    for names in (cells.var_names, cells.obs_names):
        digest.update("\n".join(map(str, names)).encode())
        digest.update(b"\0")
    digest.update(np.ascontiguousarray(hashes, dtype="<u8").tobytes())
    return digest.hexdigest()[:32]


def _splitmix64(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = x + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
