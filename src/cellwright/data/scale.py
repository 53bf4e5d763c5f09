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
    tally = _tally(matrix.data)
    n, n_fractional, largest = tally.n_values, tally.n_fractional, tally.largest

    def found(kind: Scale, evidence: str) -> Verdict:
        return Verdict(
            kind,
            evidence,
            n_values=n,
            n_nan=tally.n_nan,
            n_inf=tally.n_inf,
            n_negative=tally.n_negative,
            n_fractional=n_fractional,
            smallest=tally.smallest if math.isfinite(tally.smallest) else None,
            largest=largest if math.isfinite(largest) else None,
            dtype=str(matrix.dtype),
        )

    if n == 0:
        return found("unknown", f"there is no value other than zero in {where}")
    if tally.n_nan or tally.n_inf:
        parts = [
            f"{k:,} {name}" for k, name in ((tally.n_nan, "NaN"), (tally.n_inf, "infinite")) if k
        ]
        return found("unknown", f"{' and '.join(parts)} of {n:,} nonzero values in {where}")
    span = f"from {_plain(tally.smallest)} to {_plain(largest)}"
    if tally.n_negative:
        share = _percent(tally.n_negative / n)
        if n_fractional:
            return found(
                "scaled", f"{share} of the {n:,} nonzero values in {where} are negative, {span}"
            )
        return found("unknown", f"whole numbers {span}, {share} of them negative, in {where}")
    if n_fractional == 0:
        kind: Scale = "float-counts" if matrix.dtype.kind == "f" else "counts"
        return found(
            kind,
            f"all {n:,} nonzero values in {where} are whole numbers {span}, stored as {matrix.dtype}",
        )
    fractions = (
        f"{_percent(n_fractional / n)} of the {n:,} nonzero values in {where} are fractions "
        f"(e.g. {_plain(tally.fraction)})"
    )
    proof, logged = _undo_logarithm(_some_rows(matrix), largest)
    if proof:
        return found("lognorm" if logged else "unknown", f"{fractions}, {span}, and {proof}")
    if n_fractional >= n / 2 and largest <= _LARGEST_LOG:
        return found("lognorm", f"{fractions} and all lie between 0 and {_plain(largest)}")
    return found("unknown", f"{fractions}, {span}: estimated or corrected counts, or another unit")


@dataclass
class _Tally:
    """Kinds of values among the nonzero ones; range of the finite ones; the first fraction."""

    n_values: int = 0
    n_nan: int = 0
    n_inf: int = 0
    n_negative: int = 0
    n_fractional: int = 0
    smallest: float = math.inf
    largest: float = -math.inf
    fraction: float = math.nan


def _tally(data: NDArray[Any]) -> _Tally:
    tally = _Tally()
    for at in range(0, data.size, _BLOCK_VALUES):
        values = data[at : at + _BLOCK_VALUES]
        values = values[values != 0]
        tally.n_values += values.size
        if values.dtype.kind == "f":
            finite = np.isfinite(values)
            if not finite.all():
                n_nan = int(np.isnan(values).sum())
                tally.n_nan += n_nan
                tally.n_inf += int((~finite).sum()) - n_nan
                values = values[finite]
            fractional = values != np.rint(values)
            if tally.n_fractional == 0 and fractional.any():
                tally.fraction = float(values[fractional.argmax()])
            tally.n_fractional += int(fractional.sum())
        if values.size:
            tally.n_negative += int((values < 0).sum())
            tally.smallest = min(tally.smallest, float(values.min()))
            tally.largest = max(tally.largest, float(values.max()))
    return tally


def _some_rows(matrix: Any) -> list[NDArray[np.float64]]:
    """The nonzero values of some cells spread over the matrix, one array per cell."""
    picked = np.unique(np.linspace(0, matrix.shape[0] - 1, _STRUCTURE_ROWS).astype(int))
    rows = [matrix.data[matrix.indptr[i] : matrix.indptr[i + 1]] for i in picked]
    rows = [row[row != 0].astype(np.float64) for row in rows]
    return [row for row in rows if row.size]


def _undo_logarithm(rows: list[NDArray[np.float64]], largest: float) -> tuple[str, bool]:
    """Proof that the values are normalized, and whether a logarithm was taken; "" without proof."""
    # Untouched first: tiny proportions look almost the same after exp(x) − 1.
    if proof := _structure(rows, "values", whole=False):
        return f"{proof}: normalized without a logarithm", False
    if largest <= _LARGEST_LOG * 2:
        for name, (undo, formula) in _LOGS.items():
            if proof := _structure([undo(row) for row in rows], formula, whole=True):
                return f"{proof} ({name})", True
    return "", False


def _structure(rows: list[NDArray[np.float64]], formula: str, *, whole: bool) -> str:
    """A sentence that proves counts behind values, or ""; ``whole`` if they may be counts."""
    # Beyond 1,000 the rounding of float32 logarithms blurs whole numbers.
    clear = np.concatenate([row[row < 1000] for row in rows])
    if whole and clear.size and np.abs(clear - np.rint(clear)).max() < 0.01:
        return f"all {formula} are whole: the log of counts that were not normalized"
    sums = np.array([row.sum() for row in rows])
    middle = float(np.median(sums))
    if len(rows) >= 3 and np.abs(sums / middle - 1).max() < 1e-3:
        return f"the {formula} of every cell add up to {_plain(float(f'{middle:.4g}'))}"
    multiples = judged = 0
    for row in rows:
        least = row.min()
        ratio = row / least
        ratio = ratio[(ratio > 1.5) & (ratio < 100)]
        # A whole smallest value says nothing: most multiples of 1 are whole anyway.
        if ratio.size and abs(least - np.rint(least)) > 1e-3:
            judged += 1
            multiples += int((np.abs(ratio - np.rint(ratio)) < 0.01).mean() > 0.98)
    # A cell whose smallest count in these genes is above 1 fails, so most is enough; fractions
    # spread at random pass 2 times in 100.
    if judged >= max(3, len(rows) // 4) and multiples > 0.6 * judged:
        return f"the {formula} of each cell are whole multiples of its smallest"
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
