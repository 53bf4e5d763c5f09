"""Counts in which some genes of some cells are replaced, in one pass over what stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray


def with_columns(
    counts_ng: sp.csr_matrix,
    base_m: NDArray[np.int64],
    group_m: NDArray[np.int64],
    columns: Sequence[NDArray[np.int64]],
    drawn_mg: sp.csr_matrix,
) -> sp.csr_matrix:
    """Row m is row ``base_m[m]`` of the counts, with the columns of its group taken from ``drawn_mg``.

    Parameters
    ----------
    counts_ng
        CSR, each entry once.
    group_m
        Which of ``columns`` are replaced in a row; -1 for none.
    drawn_mg
        CSR that holds, in each row, entries in the columns of its group only.

    Returns
    -------
    CSR of int64, columns rising in every row, without explicit zeros.
    """
    given_ng = counts_ng if counts_ng.has_sorted_indices else counts_ng.sorted_indices()
    drawn_mg.sort_indices()
    member_pg = np.zeros((len(columns) + 1, counts_ng.shape[1]), dtype=np.bool_)
    for number, one in enumerate(columns):
        member_pg[number, one] = True  # the last row stands for no group
    most = int((np.diff(given_ng.indptr)[base_m]).sum()) + drawn_mg.nnz
    offsets_m = np.zeros(len(base_m) + 1, dtype=np.int64)
    kept = np.empty(most, dtype=np.int32)
    values = np.empty(most, dtype=np.int64)
    n = _merge(
        given_ng.indptr,
        given_ng.indices,
        given_ng.data,
        base_m,
        group_m,
        member_pg,
        drawn_mg.indptr,
        drawn_mg.indices,
        drawn_mg.data,
        offsets_m,
        kept,
        values,
    )
    shape = (len(base_m), counts_ng.shape[1])
    return sp.csr_matrix((values[:n], kept[:n], offsets_m), shape=shape)


@numba.njit(nogil=True, cache=True)
def _merge(
    offsets_n: NDArray[Any],
    columns: NDArray[Any],
    counts: NDArray[Any],
    base_m: NDArray[np.int64],
    group_m: NDArray[np.int64],
    member_pg: NDArray[np.bool_],
    new_offsets_m: NDArray[Any],
    new_columns: NDArray[Any],
    new_counts: NDArray[Any],
    to_offsets_m: NDArray[np.int64],
    to_columns: NDArray[np.int32],
    to_counts: NDArray[np.int64],
) -> int:
    at = 0
    for row in range(base_m.size):
        member_g = member_pg[group_m[row]]
        j, last = offsets_n[base_m[row]], offsets_n[base_m[row] + 1]
        k, new_last = new_offsets_m[row], new_offsets_m[row + 1]
        while j < last or k < new_last:
            if k < new_last and (j >= last or new_columns[k] <= columns[j]):
                column, x = new_columns[k], np.int64(new_counts[k])
                k += 1
            else:
                column, x = columns[j], np.int64(counts[j])
                j += 1
                if member_g[column]:
                    continue
            if x != 0:
                to_columns[at] = column
                to_counts[at] = x
                at += 1
        to_offsets_m[row + 1] = at
    return at
