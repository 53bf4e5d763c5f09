"""Counts of a cell -> comparable values: to a target sum, then the logarithm."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.errors import DataError


def as_csr(counts_ng: Any, *, genes: int | None = None) -> sp.csr_matrix:
    """Counts as canonical CSR; the same object where it is one already.

    Raises
    ------
    DataError
        If there are other than ``genes`` genes, or a count is negative or not finite.
    """
    counts = counts_ng if isinstance(counts_ng, sp.csr_matrix) else sp.csr_matrix(counts_ng)
    if genes is not None and counts.shape[1] != genes:
        raise DataError(
            f"the counts have {counts.shape[1]} genes, but the tokenizer was fitted on {genes}; "
            "align them to its vocabulary first"
        )
    if not counts.has_canonical_format:
        counts = counts.copy()
        counts.sum_duplicates()
    if counts.nnz:
        low = counts.data.min()
        if not low >= 0 or not np.isfinite(counts.data.max()):
            wrong = counts.data[~(np.isfinite(counts.data) & (counts.data >= 0))][0]
            raise DataError(f"a count is {wrong}; expected numbers of 0 and above")
    return counts


def normalized_values(
    counts: sp.csr_matrix, *, target_sum: float, log1p: bool
) -> NDArray[np.float32]:
    """The stored entries of each cell scaled to a sum of ``target_sum``, then log(1 + x).

    Parameters
    ----------
    counts
        CSR counts, cells × genes. The library size of a cell is its sum over the genes *of this
        matrix*: of a subset of genes, that of the subset.

    Returns
    -------
    (nnz,) values in the order of ``counts.data``. Computed in float64 and rounded to float32
    once, so that a difference in the last bit of the logarithm between two machines does not
    move a value across a bin edge. Cells without counts have no values to scale.
    """
    totals_n = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
    scale_n = target_sum / np.where(totals_n > 0, totals_n, 1.0)
    values = counts.data * np.repeat(scale_n, np.diff(counts.indptr))
    if log1p:
        np.log1p(values, out=values)
    return values.astype(np.float32)
