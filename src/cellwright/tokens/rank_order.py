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


@numba.njit(cache=True, nogil=True)
def survey_cells(
    indptr: NDArray[Any],
    indices: NDArray[Any],
    data: NDArray[Any],
    token_of_m: NDArray[np.int32],
    first: int,
    last: int,
    totals_n: NDArray[np.float64],
    genes_n: NDArray[np.int64],
) -> bool:
    """Write the sum of cells ``first`` to ``last`` and how many nonzero columns have a token.

    Returns False if a count is negative or not finite.
    """
    sound: Any = True
    for n in range(first, last):
        total = 0.0
        found = 0
        for j in range(indptr[n], indptr[n + 1]):
            x = np.float64(data[j])
            sound &= (x >= 0.0) & (x < np.inf)
            total += x
            found += (x > 0.0) & (token_of_m[indices[j]] >= 0)
        totals_n[n] = total
        genes_n[n] = found
    return bool(sound)


@numba.njit(cache=True, nogil=True)
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
    without a token (-1) is passed over.
    """
    longest: Any = 1
    for n in range(first, last):
        longest = max(longest, np.int64(indptr[n + 1] - indptr[n]))
    value = np.empty(longest, dtype=np.float64)
    key = value.view(np.uint64)
    token = np.empty(longest, dtype=np.int32)
    word_a = np.empty(longest, dtype=np.uint64)
    word_b = np.empty(longest, dtype=np.uint64)
    low_count = np.empty(1 << _BITS, dtype=np.int64)
    high_count = np.empty(1 << _BITS, dtype=np.int64)
    for n in range(first, last):
        wanted = limits_n[n]
        if wanted == 0:
            continue
        total = totals_n[n]
        size = 0
        most = 0.0
        least = np.inf
        for j in range(indptr[n], indptr[n + 1]):
            # Written always and kept by the step: a branch would be guessed wrong too often.
            column = indices[j]
            x = np.float64(data[j])
            known = (x > 0.0) & (token_of_m[column] >= 0)
            x = x / total * target_sum / median_of_m[column]
            if single:
                x = np.float64(np.float32(x))
            value[size] = x
            token[size] = token_of_m[column]
            most = x if known and x > most else most
            least = x if known and x < least else least
            size += known
        _order(value, key, size, wanted, most, least, word_a, word_b, low_count, high_count)
        start = starts_n[n]
        for i in range(wanted):
            out[start + i] = token[word_a[i] & np.uint64(MOST_GENES - 1)]


@numba.njit(cache=True, nogil=True)
def _order(
    value: NDArray[np.float64],
    key: NDArray[np.uint64],
    size: int,
    wanted: int,
    most: float,
    least: float,
    word_a: NDArray[np.uint64],
    word_b: NDArray[np.uint64],
    low_count: NDArray[np.int64],
    high_count: NDArray[np.int64],
) -> None:
    """Bring the places of the ``wanted`` highest values to the front of ``word_a``, in order.

    ``key`` holds the bits of ``value``, which for positive floats are in the order of the floats.
    Counted down from the largest they ascend where values descend.
    """
    ends = np.array([most, least]).view(np.uint64)
    largest = ends[0]
    span = largest - ends[1]
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
    # The first digit tells which values can be among the wanted.
    high_count[:buckets] = 0
    for i in range(size):
        high_count[np.int64((largest - key[i]) >> top)] += 1
    cut = 0
    kept: Any = high_count[0]
    while kept < wanted:
        cut += 1
        kept += high_count[cut]
    low_count[:buckets] = 0
    found: Any = 0
    for i in range(size):
        word = (((largest - key[i]) >> drop) << place_bits) | np.uint64(i)
        word_b[found] = word
        inside = np.int64(word >> high) <= cut
        low_count[np.int64((word >> low) & digit)] += inside
        found += inside
    _scatter(word_b, word_a, found, low, low_count[:buckets])
    _scatter(word_a, word_b, found, high, high_count[:buckets])
    word_a[:found] = word_b[:found]
    if not _insert(word_a, found):
        word_a[:found] = np.sort(word_a[:found])
    if drop:
        _mend(word_a, key, found)


@numba.njit(cache=True, nogil=True)
def _scatter(
    word: NDArray[np.uint64],
    out: NDArray[np.uint64],
    size: int,
    shift: np.uint64,
    count: NDArray[np.int64],
) -> None:
    """One stable pass of a radix sort by the digit at ``shift``; ``count`` is used up."""
    before = 0
    mask = np.uint64(count.size - 1)
    for b in range(count.size):
        here = count[b]
        count[b] = before
        before += here
    for i in range(size):
        digit = np.int64((word[i] >> shift) & mask)
        place = count[digit]
        count[digit] = place + 1
        out[place] = word[i]


@numba.njit(cache=True, nogil=True)
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


@numba.njit(cache=True, nogil=True)
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
