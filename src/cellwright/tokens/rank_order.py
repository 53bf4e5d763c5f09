"""Order the genes of each cell by value, highest first, exactly and stably, in linear time."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

# Most bits of a digit of the radix sort; few genes take smaller digits, whose buckets cost less.
_BITS = 11
# A word to sort holds the leading bits of a value and, below them, the place of its gene.
_PLACE_BITS = 20
# Genes that a cell can have: places must fit.
MOST_GENES = 1 << _PLACE_BITS


@numba.njit(cache=True, nogil=True, error_model="numpy")
def survey_cells(
    indptr: NDArray[Any],
    indices: NDArray[Any],
    data: NDArray[Any],
    median_of_m: NDArray[np.float64],
    first: int,
    last: int,
    totals_n: NDArray[np.float64],
    genes_n: NDArray[np.int64],
) -> bool:
    """Write the sum of cells ``first`` to ``last`` and how many nonzero columns have a median.

    Returns False if a count is negative or not finite.
    """
    sound: Any = True
    for n in range(first, last):
        column = indices[indptr[n] : indptr[n + 1]]
        x = data[indptr[n] : indptr[n + 1]]
        whole = x.size // 4 * 4
        # Four sums at a time: one alone would wait for each addition.
        a, b, c, d = 0.0, 0.0, 0.0, 0.0
        for i in range(0, whole, 4):
            a += x[i]
            b += x[i + 1]
            c += x[i + 2]
            d += x[i + 3]
        for i in range(whole, x.size):
            a += x[i]
        totals_n[n] = (a + b) + (c + d)
        for i in range(x.size):
            sound &= (x[i] >= 0) & (x[i] < np.inf)
        found = 0
        for i in range(x.size):
            # Unsigned, here and below: numba would look for negative indices otherwise.
            found += (x[i] > 0) & (median_of_m[np.uint32(column[i])] > 0.0)
        genes_n[n] = found
    return bool(sound)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def rank_cells(
    indptr: NDArray[Any],
    indices: NDArray[Any],
    data: NDArray[Any],
    totals_n: NDArray[np.float64],
    token_of_m: NDArray[np.int32],
    median_of_m: NDArray[np.float64],
    target_sum: float,
    single: bool,
    first: int,
    last: int,
    starts_n: NDArray[np.int64],
    limits_n: NDArray[np.int64],
    out: NDArray[np.int32],
) -> None:
    """Write the first ``limits_n`` tokens of cells ``first`` to ``last`` at ``starts_n`` in ``out``.

    The value of a gene is count / total × target_sum / median, float64 in that order, rounded to
    float32 if ``single``. Values descend; equal values keep the order of their columns. A column
    whose median is 0 has no token and is passed over.
    """
    longest: Any = 1
    for n in range(first, last):
        longest = max(longest, np.int64(indptr[n + 1] - indptr[n]))
    value = np.empty(longest, dtype=np.float64)
    median = np.empty(longest, dtype=np.float64)
    key = value.view(np.uint64)
    column = np.empty(longest, dtype=np.uint32)
    word_a = np.empty(longest, dtype=np.uint64)
    word_b = np.empty(longest, dtype=np.uint64)
    low_count = np.empty(1 << _BITS, dtype=np.uint32)
    high_count = np.empty(1 << _BITS, dtype=np.uint32)
    for n in range(first, last):
        wanted = limits_n[n]
        if wanted == 0:
            continue
        total = totals_n[n]
        size = 0
        here = indices[indptr[n] : indptr[n + 1]]
        x = data[indptr[n] : indptr[n + 1]]
        for j in range(x.size):
            # Written always and kept by the step: a branch would be guessed wrong too often.
            at = np.uint32(here[j])
            usual = median_of_m[at]
            column[np.uint32(size)] = at
            value[np.uint32(size)] = x[j]
            median[np.uint32(size)] = usual
            size += (x[j] > 0) & (usual > 0.0)
        # A loop of its own, because these divisions go several at a time.
        for i in range(size):
            value[i] = value[i] / total * target_sum / median[i]
        if single:
            for i in range(size):
                value[i] = np.float64(np.float32(value[i]))
        _order(key[:size], wanted, word_a, word_b, low_count, high_count)
        start = starts_n[n]
        for i in range(wanted):
            out[start + i] = token_of_m[column[word_a[i] & np.uint64(MOST_GENES - 1)]]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _order(
    key: NDArray[np.uint64],
    wanted: int,
    word_a: NDArray[np.uint64],
    word_b: NDArray[np.uint64],
    low_count: NDArray[np.uint32],
    high_count: NDArray[np.uint32],
) -> None:
    """Bring the places of the ``wanted`` highest values to the front of ``word_a``, in order.

    ``key`` holds the bits of the values, which for positive floats are in the order of the floats.
    Counted down from the largest they ascend where values descend.
    """
    size = key.size
    largest = key[0]
    smallest = key[0]
    for i in range(size):
        largest = max(largest, key[i])
        smallest = min(smallest, key[i])
    span = largest - smallest
    length = 0
    while length < 64 and span >> np.uint64(length):
        length += 1
    bits = 6
    while bits < _BITS and size >> (bits + 1):
        bits += 1
    # Two leading digits are sorted by; the word holds 44 bits.
    buckets = 1 << bits
    top = np.uint64(max(0, length - bits))
    drop = np.uint64(max(0, length - (64 - _PLACE_BITS)))
    place_bits = np.uint64(_PLACE_BITS)
    high = top - drop + place_bits
    low = high - np.uint64(bits)
    digit = np.uint64(buckets - 1)
    low_count[:buckets] = 0
    high_count[:buckets] = 0
    found: Any = size
    if size == wanted:
        for i in range(size):
            word = (((largest - key[i]) >> drop) << place_bits) | np.uint64(i)
            word_b[i] = word
            low_count[(word >> low) & digit] += 1
            high_count[word >> high] += 1
    else:
        for i in range(size):
            word = (((largest - key[i]) >> drop) << place_bits) | np.uint64(i)
            word_b[i] = word
            high_count[word >> high] += 1
        # The first digit tells which values can be among the wanted; the others are let go.
        cut = 0
        kept: Any = high_count[0]
        while kept < wanted:
            cut += 1
            kept += high_count[cut]
        found = 0
        for i in range(size):
            word = word_b[i]
            word_b[np.uint32(found)] = word
            inside = word >> high <= np.uint64(cut)
            low_count[(word >> low) & digit] += inside
            found += inside
    _scatter(word_b, word_a, found, low, low_count[:buckets])
    _scatter(word_a, word_b, found, high, high_count[:buckets])
    word_a[:found] = word_b[:found]
    if not _insert(word_a, found):
        word_a[:found] = np.sort(word_a[:found])
    if drop:
        _mend(word_a, key, found)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _scatter(
    word: NDArray[np.uint64],
    out: NDArray[np.uint64],
    size: int,
    shift: np.uint64,
    count: NDArray[np.uint32],
) -> None:
    """One stable pass of a radix sort by the digit at ``shift``; ``count`` is used up."""
    before = 0
    mask = np.uint64(count.size - 1)
    for b in range(count.size):
        here = count[b]
        count[b] = before
        before += here
    for i in range(size):
        digit = (word[i] >> shift) & mask
        place = count[digit]
        count[digit] = place + 1
        out[place] = word[i]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _insert(word: NDArray[np.uint64], size: int) -> bool:
    """Insertion sort of what two digits left nearly in order; False if that is too much work.

    No two words are equal, because they hold their places, lower ones first.
    """
    moves = 0
    for i in range(1, size):
        w = word[i]
        if word[i - 1] < w:
            continue
        j = i - 1
        while j >= 0 and word[j] > w:
            word[j + 1] = word[j]
            j -= 1
        word[j + 1] = w
        moves += i - 1 - j
        if moves > 16 * size:
            return False
    return True


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _mend(word: NDArray[np.uint64], key: NDArray[np.uint64], size: int) -> None:
    """Put in order what agrees in all bits of the word: by the whole value, then by place."""
    place_bits = np.uint64(_PLACE_BITS)
    mask = np.uint64(MOST_GENES - 1)
    begin = 0
    while begin < size:
        end = begin + 1
        lead = word[begin] >> place_bits
        different = False
        while end < size and word[end] >> place_bits == lead:
            different |= key[word[end] & mask] != key[word[begin] & mask]
            end += 1
        if different:
            places = word[begin:end] & mask
            # Ascending is descending in value; a stable sort keeps the places in order.
            order = np.argsort(~key[places.astype(np.int64)], kind="mergesort")
            word[begin:end] = places[order]
        begin = end
