"""Order the genes of each cell by value, highest first, exactly and stably, in linear time."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

_BITS = 11
_BUCKETS = 1 << _BITS


@numba.njit(cache=True, nogil=True)
def count_genes(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.float64],
    token_of_m: NDArray[np.int32],
    out_n: NDArray[np.int64],
) -> None:
    """Write for every cell how many of its nonzero columns have a token (-1 has none)."""
    for n in range(indptr.size - 1):
        found = 0
        for j in range(indptr[n], indptr[n + 1]):
            if data[j] > 0 and token_of_m[indices[j]] >= 0:
                found += 1
        out_n[n] = found


@numba.njit(cache=True, nogil=True)
def rank_cells(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.float64],
    totals_n: NDArray[np.float64],
    token_of_m: NDArray[np.int32],
    median_of_m: NDArray[np.float64],
    target_sum: float,
    single: bool,
    first: int,
    last: int,
    starts_n: NDArray[np.int64],
    limits_n: NDArray[np.int64],
    longest: int,
    out: NDArray[np.int32],
) -> None:
    """Write the first ``limits_n`` tokens of cells ``first`` to ``last`` at ``starts_n`` in ``out``.

    The value of a gene is count / total × target_sum / median, float64 in that order, rounded to
    float32 if ``single``. Values descend; equal values keep the order of their columns. ``longest``
    is the most entries that a cell has.
    """
    value = np.empty(longest, dtype=np.float64)
    key = value.view(np.uint64)
    token = np.empty(longest, dtype=np.int32)
    key_a = np.empty(longest, dtype=np.uint64)
    key_b = np.empty(longest, dtype=np.uint64)
    at_a = np.empty(longest, dtype=np.int32)
    at_b = np.empty(longest, dtype=np.int32)
    low_count = np.empty(_BUCKETS, dtype=np.int64)
    high_count = np.empty(_BUCKETS, dtype=np.int64)
    for n in range(first, last):
        wanted = limits_n[n]
        if wanted == 0:
            continue
        total = totals_n[n]
        size = 0
        for j in range(indptr[n], indptr[n + 1]):
            column = indices[j]
            if data[j] > 0 and token_of_m[column] >= 0:
                x = data[j] / total * target_sum / median_of_m[column]
                value[size] = np.float64(np.float32(x)) if single else x
                token[size] = token_of_m[column]
                size += 1
        # The bits of positive floats are in the order of the floats; turned over, they ascend
        # where values descend.
        largest = np.uint64(0)
        smallest = key[0]
        for i in range(size):
            largest = max(largest, key[i])
            smallest = min(smallest, key[i])
        span = largest - smallest
        shift = np.uint64(0)
        while (span >> shift) >> np.uint64(2 * _BITS):
            shift += np.uint64(1)
        # Of the two leading digits, the first tells which elements can be among the wanted.
        high_count[:] = 0
        top = shift + np.uint64(_BITS)
        for i in range(size):
            high_count[np.int64((largest - key[i]) >> top)] += 1
        cut = 0
        kept = high_count[0]
        while kept < wanted:
            cut += 1
            kept += high_count[cut]
        low_count[:] = 0
        found = 0
        for i in range(size):
            k = largest - key[i]
            if np.int64(k >> top) <= cut:
                key_a[found] = k
                at_a[found] = i
                low_count[np.int64((k >> shift) & np.uint64(_BUCKETS - 1))] += 1
                found += 1
        _scatter(key_a, at_a, key_b, at_b, found, shift, low_count)
        _scatter(key_b, at_b, key_a, at_a, found, top, high_count)
        if not _finish(key_a, at_a, found):
            _sort_all_bits(key_a, at_a, key_b, at_b, found, low_count)
        start = starts_n[n]
        for i in range(wanted):
            out[start + i] = token[at_a[i]]


@numba.njit(cache=True, nogil=True)
def _scatter(
    key: NDArray[np.uint64],
    at: NDArray[np.int32],
    key_out: NDArray[np.uint64],
    at_out: NDArray[np.int32],
    size: int,
    shift: np.uint64,
    count: NDArray[np.int64],
) -> None:
    """One stable pass of a radix sort by the digit at ``shift``; ``count`` is used up."""
    before = 0
    for b in range(_BUCKETS):
        here = count[b]
        count[b] = before
        before += here
    for i in range(size):
        digit = np.int64((key[i] >> shift) & np.uint64(_BUCKETS - 1))
        place = count[digit]
        count[digit] = place + 1
        key_out[place] = key[i]
        at_out[place] = at[i]


@numba.njit(cache=True, nogil=True)
def _finish(key: NDArray[np.uint64], at: NDArray[np.int32], size: int) -> bool:
    """Insertion sort of what the leading digits left nearly in order; False if it is too much.

    Elements of the same leading digits come in their first order, so equal keys stay so.
    """
    moves = 0
    for i in range(1, size):
        k = key[i]
        if key[i - 1] <= k:
            continue
        a = at[i]
        j = i - 1
        while j >= 0 and key[j] > k:
            key[j + 1] = key[j]
            at[j + 1] = at[j]
            j -= 1
        key[j + 1] = k
        at[j + 1] = a
        moves += i - 1 - j
        if moves > 16 * size:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def _sort_all_bits(
    key: NDArray[np.uint64],
    at: NDArray[np.int32],
    key_b: NDArray[np.uint64],
    at_b: NDArray[np.int32],
    size: int,
    count: NDArray[np.int64],
) -> None:
    """Sort by all 64 bits, six passes, for values crowded into few leading digits.

    Insertion moved no equal key past another, so their order is still the first.
    """
    for digit in range(6):
        shift = np.uint64(digit * _BITS)
        count[:] = 0
        for i in range(size):
            count[np.int64((key[i] >> shift) & np.uint64(_BUCKETS - 1))] += 1
        if digit % 2 == 0:
            _scatter(key, at, key_b, at_b, size, shift, count)
        else:
            _scatter(key_b, at_b, key, at, size, shift, count)
