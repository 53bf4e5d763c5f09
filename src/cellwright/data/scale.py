"""The verdict on a matrix: raw counts, float counts, log-normalized, scaled or unknown, and why."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Scale = Literal["counts", "float-counts", "lognorm", "scaled", "unknown"]

_BLOCK_VALUES = 1 << 22
_STRUCTURE_ROWS = 256
# log2 of a million is 19.9: a log-normalized value above this would be more than everything.
_LARGEST_LOG = 20.0
_LOGS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "natural log": (np.expm1, "exp(x) − 1"),
    "log2": (lambda x: np.exp2(x) - 1, "2^x − 1"),
    "log10": (lambda x: np.power(10.0, x) - 1, "10^x − 1"),
}


@dataclass(frozen=True)
class Verdict:
    """What scale a matrix is on.

    ``counts``: whole numbers in an integer type; ``float-counts``: whole numbers in a floating
    type; ``lognorm``: logarithms of (normalized) counts; ``scaled``: centred per gene, so with
    negatives; ``unknown``: none of these, or values that are NaN or infinite. The numbers of
    NaN, infinite, negative and fractional values are those among ``n_values`` nonzero values.
    """

    kind: Scale
    evidence: str
    n_values: int
    n_nan: int
    n_inf: int
    n_negative: int
    n_fractional: int
    smallest: float | None
    largest: float | None
    dtype: str

    @property
    def are_counts(self) -> bool:
        """True for whole non-negative numbers, whatever type they are stored in."""
        return self.kind in ("counts", "float-counts")

    def to_dict(self) -> dict[str, Any]:
        return dict(self.__dict__)


def verdict(values_ng: Any, *, looked_at: str | None = None) -> Verdict:
    """Judge the scale of a matrix, or of some of its rows, with the evidence in one sentence.

    Whole non-negative numbers are counts. Fractions without negatives are taken back through
    exp, 2^x and 10^x: when the results are whole, add up to one number in every cell, or are
    whole multiples of each cell's smallest, the matrix is log-normalized; without such proof it
    is called log-normalized only when most values are fractions and none is above 20. Negatives
    with fractions mean scaled. Anything else is unknown, never guessed.

    Parameters
    ----------
    values_ng
        Cells × genes, sparse or dense (a vector is taken as one cell).
    looked_at
        What the values are ("2,048 of 76,533 cells"), for the sentence; default "the matrix".
    """
    matrix = sp.csr_matrix(
        np.atleast_2d(values_ng) if isinstance(values_ng, np.ndarray) else values_ng
    )
    where = looked_at or "the matrix"
    n, n_nan, n_inf, n_negative, n_fractional, smallest, largest = _tally(matrix.data)
    dtype = str(matrix.dtype)

    def found(kind: Scale, evidence: str) -> Verdict:
        return Verdict(
            kind, evidence, n, n_nan, n_inf, n_negative, n_fractional,
            smallest if n else None, largest if n else None, dtype,
        )  # fmt: skip

    if n == 0:
        return found("unknown", f"there is no value other than zero in {where}")
    if n_nan or n_inf:
        parts = [f"{k:,} {name}" for k, name in ((n_nan, "NaN"), (n_inf, "infinite")) if k]
        return found("unknown", f"{' and '.join(parts)} of {n:,} nonzero values in {where}")
    span = f"from {_plain(smallest)} to {_plain(largest)}"
    if n_negative:
        share = _percent(n_negative / n)
        if n_fractional:
            return found(
                "scaled", f"{share} of the {n:,} nonzero values in {where} are negative, {span}"
            )
        return found("unknown", f"whole numbers {span}, {share} of them negative, in {where}")
    if n_fractional == 0:
        kind: Scale = "float-counts" if matrix.dtype.kind == "f" else "counts"
        return found(
            kind, f"all {n:,} nonzero values in {where} are whole numbers {span}, stored as {dtype}"
        )
    fractions = f"{_percent(n_fractional / n)} of the {n:,} nonzero values in {where} are fractions"
    proof, logged = _undo_logarithm(_some_rows(matrix), largest)
    if proof:
        return found("lognorm" if logged else "unknown", f"{fractions}, {span}, and {proof}")
    if n_fractional >= n / 2 and largest <= _LARGEST_LOG:
        return found("lognorm", f"{fractions} and all lie within 0 and {_plain(largest)}")
    return found("unknown", f"{fractions}, {span}: estimated or corrected counts, or another unit")


def _tally(data: NDArray[Any]) -> tuple[int, int, int, int, int, float, float]:
    """Nonzero, NaN, infinite, negative and fractional values, lowest and highest finite one."""
    n = n_nan = n_inf = n_negative = n_fractional = 0
    smallest, largest = math.inf, -math.inf
    for at in range(0, data.size, _BLOCK_VALUES):
        values = data[at : at + _BLOCK_VALUES]
        values = values[values != 0]
        n += values.size
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            if not finite.all():
                nan = int(np.isnan(values).sum())
                n_nan += nan
                n_inf += int((~finite).sum()) - nan
                values = values[finite]
            n_fractional += int((values != np.rint(values)).sum())
        if values.size:
            n_negative += int((values < 0).sum())
            smallest = min(smallest, float(values.min()))
            largest = max(largest, float(values.max()))
    return n, n_nan, n_inf, n_negative, n_fractional, smallest, largest


def _some_rows(matrix: Any) -> list[NDArray[np.float64]]:
    """The nonzero values of some cells spread over the matrix, one array per cell."""
    picked = np.unique(np.linspace(0, matrix.shape[0] - 1, _STRUCTURE_ROWS).astype(int))
    rows = [matrix.data[matrix.indptr[i] : matrix.indptr[i + 1]] for i in picked]
    rows = [row[row != 0].astype(np.float64) for row in rows]
    return [row for row in rows if row.size]


def _undo_logarithm(rows: list[NDArray[np.float64]], largest: float) -> tuple[str, bool]:
    """Proof that the values are normalized, and whether a logarithm was taken; "" without proof."""
    # Untouched first: tiny proportions look almost the same after exp(x) − 1.
    if proof := _structure(rows, "the values", whole=False):
        return f"{proof}: normalized without a logarithm", False
    if largest <= _LARGEST_LOG * 2:
        for name, (undo, formula) in _LOGS.items():
            if proof := _structure([undo(row) for row in rows], formula, whole=True):
                return f"{proof} ({name})", True
    return "", False


def _structure(rows: list[NDArray[np.float64]], formula: str, *, whole: bool) -> str:
    if whole and all(np.allclose(row, np.rint(row), rtol=1e-4, atol=1e-3) for row in rows):
        return f"{formula} is whole everywhere: the log of counts that were not normalized"
    sums = np.array([row.sum() for row in rows])
    middle = float(np.median(sums))
    if len(rows) >= 3 and np.abs(sums / middle - 1).max() < 1e-3:
        return f"{formula} adds up to {_plain(float(f'{middle:.4g}'))} in every cell"
    multiples = judged = 0
    for row in rows:
        ratio = row / row.min()
        ratio = ratio[(ratio > 1.5) & (ratio < 100)]
        if ratio.size:
            judged += 1
            multiples += int((np.abs(ratio - np.rint(ratio)) < 0.01).mean() > 0.98)
    # A cell whose smallest count in these genes is above 1 fails, so most is enough; fractions
    # spread at random pass 2 times in 100.
    if judged >= 3 and multiples > 0.6 * judged:
        return f"{formula} comes in whole multiples of each cell's smallest value"
    return ""


def _plain(x: float) -> str:
    return f"{x:,.0f}" if float(x).is_integer() else f"{x:,.4g}"


def _percent(share: float) -> str:
    percent = 100 * share
    if 0 < percent < 0.1:
        return "under 0.1 %"
    if 99.9 < percent < 100:
        return "over 99.9 %"
    return f"{percent:.3g} %"
