"""Softmax, negative-binomial loss and all its gradients, one row of a batch at a time, compiled.

PyTorch would write a dozen matrices of cells × genes; here a row stays in the cache. What every gene
needs (softmax, the logarithm of mean plus dispersion) runs in loops that vectorise, with polynomials
for exp and log; log-gamma and digamma are taken of nonzero counts only. Inner loops touch few arrays
each: more, and the compiler no longer proves that they do not overlap.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

F = np.float32
I = np.int32  # noqa: E741
EPSILON = F(1e-8)
CHUNK = 2048
RECURRENCE = 12
# Contraction alone where the order of operations carries the precision.
_EXACT = {"contract", "nnan", "nsz"}
LOG_FACTORIAL = np.cumsum(np.log(np.maximum(np.arange(4096.0), 1.0)))
"""log(x!) of small counts."""


def _bits_as(out: Any, of: Any, llvm: Any) -> Any:
    """A compiled function that reads the 32 bits of one kind of number as another."""

    def typed(_: Any, __: Any) -> Any:
        def emit(___: Any, builder: Any, ____: Any, given: Any) -> Any:
            return builder.bitcast(given[0], llvm)

        return out(of), emit

    return intrinsic(typed)


_as_float = _bits_as(types.float32, types.int32, ir.FloatType())
_as_int = _bits_as(types.int32, types.float32, ir.IntType(32))


@numba.njit(inline="never", fastmath=_EXACT)
def exp32(x: Any) -> Any:
    """exp of a float32 not above 0; below -87 as at -87. Relative error under 2e-7."""
    x = max(x, F(-87.0))
    k = I(x * F(1.44269504) + F(127.5))  # truncation of a positive number
    n = F(k - I(127))
    r = x - n * F(0.693359375)
    r = r + n * F(2.12194440e-4)
    p = F(1.9875691500e-4)
    p = p * r + F(1.3981999507e-3)
    p = p * r + F(8.3334519073e-3)
    p = p * r + F(4.1665795894e-2)
    p = p * r + F(1.6666665459e-1)
    p = p * r + F(5.0000001201e-1)
    p = p * (r * r) + r + F(1.0)
    return p * _as_float(I(k << I(23)))


@numba.njit(inline="never", fastmath=_EXACT)
def log32(x: Any) -> Any:
    """log of a normal float32 above 0. Error under 2e-7 of the larger of 1 and the result."""
    bits = _as_int(x)
    e = I(I(bits - I(0x3F3504F3)) >> I(23))
    r = _as_float(I(bits - I(e << I(23)))) - F(1.0)
    z = r * r
    p = F(7.0376836292e-2)
    p = p * r - F(1.1514610310e-1)
    p = p * r + F(1.1676998740e-1)
    p = p * r - F(1.2420140846e-1)
    p = p * r + F(1.4249322787e-1)
    p = p * r - F(1.6668057665e-1)
    p = p * r + F(2.0000714765e-1)
    p = p * r - F(2.4999993993e-1)
    p = p * r + F(3.3333331174e-1)
    n = F(e)
    y = r * z * p - n * F(2.12194440e-4) - F(0.5) * z
    return r + y + n * F(0.693359375)


@numba.njit(fastmath=True, error_model="numpy")
def _largest(a_g: NDArray[np.float32]) -> Any:
    top = a_g[0]
    for j in range(a_g.size):
        top = max(top, a_g[j])
    return top


@numba.njit(fastmath=True, error_model="numpy")
def _exponentials(a_g: NDArray[np.float32], top: Any) -> Any:
    """exp(a - top) in place, and its sum."""
    total = F(0.0)
    for j in range(a_g.size):
        e = exp32(a_g[j] - top)
        a_g[j] = e
        total += e
    return total


@numba.njit(fastmath=True, error_model="numpy")
def _every_gene(
    e_g: NDArray[np.float32],
    theta_g: NDArray[np.float32],
    slope_g: NDArray[np.float32],
    log_g: NDArray[np.float32],
    mean: Any,
) -> tuple[Any, Any]:
    """What a zero count adds: loss, and the sum of e times the slope of the loss over the mean."""
    loss, pull = F(0.0), F(0.0)
    for j in range(e_g.size):
        theta = theta_g[j]
        slope = theta / (theta + e_g[j] * mean + EPSILON)
        part = -log32(slope)
        slope_g[j] = slope
        log_g[j] = part
        loss += theta * part
        pull += e_g[j] * slope
    return loss, pull


@numba.njit(fastmath=True, error_model="numpy")
def _add_theta(
    out_g: NDArray[np.float32], slope_g: NDArray[np.float32], log_g: NDArray[np.float32]
) -> None:
    for j in range(out_g.size):
        out_g[j] += log_g[j] + (slope_g[j] - F(1.0))


@numba.njit(fastmath=True, error_model="numpy")
def _softmax_gradient(
    e_g: NDArray[np.float32], slope_g: NDArray[np.float32], factor: Any, pull: Any
) -> None:
    """e becomes the gradient of the logits: e * (factor * slope - pull)."""
    for j in range(e_g.size):
        e_g[j] = e_g[j] * (factor * slope_g[j] - pull)


@numba.njit(error_model="numpy")
def _stirling(y: float) -> float:
    """log-gamma for y of 12 and more, to 1e-11."""
    z = 1.0 / (y * y)
    tail = (1.0 / 12 - z * (1.0 / 360 - z * (1.0 / 1260))) / y
    return (y - 0.5) * math.log(y) - y + 0.9189385332046727 + tail


@numba.njit(error_model="numpy")
def _digamma(y: float) -> float:
    """Digamma of any positive number."""
    low = 0.0
    while y < RECURRENCE:
        low += 1.0 / y
        y += 1.0
    z = 1.0 / (y * y)
    return math.log(y) - 0.5 / y - z * (1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252))) - low


@numba.njit(error_model="numpy")
def _count_terms(x: float, theta: float, odds: float) -> tuple[float, float]:
    """Log probability that a count adds to that of a zero, but for log(x!); and its slope over theta.

    x * log(odds) + log-gamma(x + theta) - log-gamma(theta), and the difference of digammas.
    """
    whole = x == math.floor(x)
    if not whole or theta > 1e6:
        gamma = math.lgamma(x + theta) - math.lgamma(theta)
        return x * math.log(odds) + gamma, _digamma(x + theta) - _digamma(theta)
    # A product instead of a sum of logarithms: Gamma(x + theta) / Gamma(theta).
    steps = int(min(x, RECURRENCE))
    product, slope, power = 1.0, 0.0, 1.0
    for k in range(steps):
        slope = slope * (theta + k) + product
        product *= theta + k
        power *= odds
    value = math.log(product * power)
    digamma = slope / product
    if x > RECURRENCE:
        low, high = theta + RECURRENCE, theta + x
        value += (x - RECURRENCE) * math.log(odds) + _stirling(high) - _stirling(low)
        digamma += _digamma(high) - _digamma(low)
    return value, digamma


@numba.njit(error_model="numpy")
def _log_factorial(x: float) -> float:
    at = int(x)
    if x == at and at < LOG_FACTORIAL.size:
        return LOG_FACTORIAL[at]
    return math.lgamma(x + 1.0)


@numba.njit(nogil=True, cache=True, error_model="numpy")
def nb_rows(
    logits_ng: NDArray[np.float32],
    first: int,
    last: int,
    offsets_n: NDArray[np.int64],
    columns: NDArray[np.int32],
    counts: NDArray[np.float32],
    library_n: NDArray[np.float32],
    theta_g: NDArray[np.float32],
    weight: float,
    slope_g: NDArray[np.float32],
    log_g: NDArray[np.float32],
    loss_n: NDArray[np.float64],
    library_slope_n: NDArray[np.float32],
    theta_slope_g: NDArray[np.float32],
) -> None:
    """Loss of rows ``first`` to ``last``, and with it the gradients of ``weight`` times their sum.

    Parameters
    ----------
    logits_ng
        Decoder's values on entry, their gradient on return.
    offsets_n, columns, counts
        CSR of the counts of these rows.
    library_n, theta_g
        Library sizes; dispersions.
    slope_g, log_g
        Scratch.
    loss_n, library_slope_n, theta_slope_g
        Written: loss of each row, gradient of its log library size; added to: gradient of the
        dispersions (not yet times ``weight``).
    """
    genes = theta_g.size
    for row in range(first, last):
        a_g = logits_ng[row]
        top = _largest(a_g)
        total = 0.0
        for c in range(0, genes, CHUNK):
            total += _exponentials(a_g[c : c + CHUNK], top)
        library = library_n[row]
        mean: Any = F(library / total)
        loss: Any = 0.0
        pull: Any = 0.0
        for c in range(0, genes, CHUNK):
            d = c + CHUNK
            chunk_loss, chunk_pull = _every_gene(
                a_g[c:d], theta_g[c:d], slope_g[c:d], log_g[c:d], mean
            )
            loss += chunk_loss
            pull += chunk_pull
        for c in range(0, genes, CHUNK):
            _add_theta(theta_slope_g[c : c + CHUNK], slope_g[c : c + CHUNK], log_g[c : c + CHUNK])
        for at in range(offsets_n[row], offsets_n[row + 1]):
            j, x = columns[at], float(counts[at])
            theta, e = float(theta_g[j]), float(a_g[j])
            mu: float = e * mean + 1e-8
            t = theta + mu
            both = 1.0 / (t * mu)
            odds = mu * mu * both
            # Most counts are 1 or 2; divisions and double logarithms are what costs here.
            if x == 1.0 and 1e-6 < theta < 1e6:
                value = float(log32(F(odds * theta)))
                digamma = 1.0 / theta
            elif x == 2.0 and 1e-6 < theta < 1e6:
                product = theta * (theta + 1.0)
                value = float(log32(F(odds * odds * product)))
                digamma = (theta + theta + 1.0) / product
            else:
                value, digamma = _count_terms(x, theta, odds)
            loss -= value - _log_factorial(x)
            more = -x * theta * both
            slope_g[j] += F(more)
            pull += e * more
            theta_slope_g[j] += F(x * mu * both - digamma)
        loss_n[row] = loss
        pull *= mean  # the sum over genes of mean times slope
        library_slope_n[row] = F(weight * pull)
        _softmax_gradient(a_g, slope_g, F(weight * mean), F(weight * pull / total))


@numba.njit(nogil=True, cache=True, error_model="numpy")
def log1p_rows(
    out_ng: NDArray[Any],
    first: int,
    last: int,
    offsets_n: NDArray[np.int64],
    columns: NDArray[np.int32],
    counts: NDArray[np.float32],
) -> None:
    """log1p of CSR rows as a dense matrix: float32, or bfloat16 as its 16 bits (``uint16``)."""
    for row in range(first, last):
        out_ng[row] = 0
        for at in range(offsets_n[row], offsets_n[row + 1]):
            out_ng[row, columns[at]] = math.log1p(counts[at])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def log1p_rows_bf16(
    out_ng: NDArray[np.uint16],
    first: int,
    last: int,
    offsets_n: NDArray[np.int64],
    columns: NDArray[np.int32],
    counts: NDArray[np.float32],
    table: NDArray[np.uint16],
) -> None:
    """As :func:`log1p_rows`, in bfloat16; ``table`` holds the bits for small whole counts."""
    for row in range(first, last):
        out_ng[row] = 0
        for at in range(offsets_n[row], offsets_n[row + 1]):
            x = counts[at]
            k = int(x)
            if k < table.size and x == k:
                out_ng[row, columns[at]] = table[k]
            else:
                bits: Any = _as_int(F(math.log1p(x)))
                # Round to nearest, ties to even.
                bits += I(0x7FFF) + I(I(bits >> I(16)) & I(1))
                out_ng[row, columns[at]] = bits >> I(16)
