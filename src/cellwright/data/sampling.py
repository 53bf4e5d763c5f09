"""What a matrix is, judged from rows spread over it when it is too large to be read whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.data.disk.nodes import compression_of, stored_bytes_of
from cellwright.data.scale import Verdict, verdict
from cellwright.data.stored import StoredMatrix

# Read whole up to here; beyond, as many values as this are sampled. 2 million values of float32
# with their indices are 16 MB, read in well under a second.
_WHOLE_VALUES = 1 << 22
_SAMPLED_VALUES = 1 << 21
# A sparse matrix is sampled in this many stretches of rows, fewer where chunks are so large that
# unpacking them would cost more than _UNPACKED_VALUES.
_STRETCHES = 64
_UNPACKED_VALUES = 1 << 26


@dataclass(frozen=True)
class MatrixFacts:
    """What was found out about one matrix of n cells × g genes.

    ``cells_read`` of the n cells were read; all numbers about values are of those. ``sums`` and
    ``nonzeros`` hold the counts and the nonzero values of single cells: (cells_read,) or, where
    the file knows the nonzeros of every cell without being read, (n,); None where cells cannot
    be told apart without reading everything. ``stored_bytes`` is the size on disk.
    """

    name: str
    format: str
    shape: tuple[int, int]
    dtype: str
    compression: str | None
    stored_bytes: int | None
    n_stored: int
    n_explicit_zeros: int
    density: float
    verdict: Verdict
    cells_read: int
    sums: NDArray[np.float64] | None
    nonzeros: NDArray[np.int64] | None

    @property
    def whole(self) -> bool:
        """True if every value was read."""
        return self.cells_read == self.shape[0]

    @property
    def memory_bytes(self) -> int:
        """Size in memory as float32 CSR (4 bytes for the value, 4 for its gene)."""
        filled = self.density * self.shape[0] * self.shape[1]
        return round(8 * filled + 8 * self.shape[0])

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "format": self.format,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "compression": self.compression,
            "stored_bytes": self.stored_bytes,
            "density": self.density,
            "verdict": self.verdict.kind,
            "evidence": self.verdict.evidence,
            "cells_read": self.cells_read,
            "values_read": self.verdict.n_values,
            "nan": self.verdict.n_nan,
            "infinite": self.verdict.n_inf,
            "negative": self.verdict.n_negative,
            "non_integer": self.verdict.n_fractional,
        }


def look_at(matrix: StoredMatrix | Any, name: str) -> MatrixFacts:
    """Judge a matrix on disk or in memory from at most a few million of its values.

    Small matrices are read whole. Of larger ones, stretches of rows spread evenly over the
    matrix are read (of a matrix stored by gene: genes).

    Raises
    ------
    DataError
        If the matrix is damaged.
    """
    if not isinstance(matrix, StoredMatrix):
        return _look_at_memory(matrix, name)
    if matrix.format == "csr":
        return _look_at_csr(matrix)
    return _look_at_csc(matrix) if matrix.format == "csc" else _look_at_dense(matrix)


def _look_at_csr(matrix: StoredMatrix) -> MatrixFacts:
    n = matrix.shape[0]
    rows = np.arange(n)
    if matrix.n_stored > _WHOLE_VALUES:
        wanted = max(1, round(_SAMPLED_VALUES * n / matrix.n_stored))
        chunk = (matrix.node["data"].chunks or (1,))[0]
        rows = _spread(n, wanted, min(_STRETCHES, max(1, _UNPACKED_VALUES // chunk)))
    sample = matrix.take_rows(rows)
    return _facts(_known(matrix), sample, rows.size, nonzeros=np.diff(matrix.indptr))


def _look_at_csc(matrix: StoredMatrix) -> MatrixFacts:
    genes = np.arange(matrix.shape[1])
    if matrix.n_stored <= _WHOLE_VALUES:
        return _facts(_known(matrix), matrix.take_columns(genes).tocsr(), matrix.shape[0])
    # One gene can fill the budget: the fullest genes are left out if they have to be.
    lengths = np.diff(matrix.indptr)
    affordable = np.flatnonzero(lengths <= max(_SAMPLED_VALUES, lengths.min()))
    wanted = max(1, round(_SAMPLED_VALUES / max(1.0, lengths[affordable].mean())))
    chosen = affordable[_spread(affordable.size, wanted, _STRETCHES)]
    within = np.cumsum(lengths[chosen]) <= 2 * _SAMPLED_VALUES
    kept = chosen[within | (np.arange(chosen.size) == 0)]
    sample = matrix.take_columns(kept).tocsr()
    return _facts(_known(matrix), sample, 0, looked_at=f"{kept.size:,} of {genes.size:,} genes")


def _look_at_dense(matrix: StoredMatrix) -> MatrixFacts:
    n, g = matrix.shape
    rows = np.arange(n)
    if n * g > 4 * _WHOLE_VALUES:
        height = (matrix.node.chunks or (1,))[0]
        stretches = min(_STRETCHES, max(1, _UNPACKED_VALUES // (height * g)))
        rows = _spread(n, max(1, 2 * _SAMPLED_VALUES // g), stretches)
    # In portions: the dense rows of a whole small matrix need not be in memory together.
    height = max(1, _SAMPLED_VALUES // g)
    parts = [matrix.take_rows(rows[at : at + height]) for at in range(0, rows.size, height)]
    return _facts(_known(matrix), sp.vstack(parts, format="csr"), rows.size)


def _look_at_memory(matrix: Any, name: str) -> MatrixFacts:
    n, g = matrix.shape
    stored = matrix.nnz if sp.issparse(matrix) else n * g
    rows = _spread(n, max(1, round(_WHOLE_VALUES * n / max(stored, 1))), _STRETCHES)
    part = matrix if rows.size == n else matrix[rows]
    sample = sp.csr_matrix(part if sp.issparse(part) else np.asarray(part))
    return _facts(
        {
            "name": name,
            "format": matrix.format if sp.issparse(matrix) else "dense",
            "shape": (n, g),
            "n_stored": stored,
            "compression": None,
            "stored_bytes": None,
        },
        sample,
        rows.size,
    )


def _facts(
    known: dict[str, Any],
    sample: sp.csr_matrix,
    cells_read: int,
    *,
    nonzeros: NDArray[np.int64] | None = None,
    looked_at: str | None = None,
) -> MatrixFacts:
    (n, g), sparse = known["shape"], known["format"] != "dense"
    whole, by_cell = cells_read == n, looked_at is None
    n_explicit_zeros = int((sample.data == 0).sum()) if sparse else 0
    if by_cell:
        sample.eliminate_zeros()
        if whole or nonzeros is None:
            nonzeros = np.diff(sample.indptr).astype(np.int64)
    filled = known["n_stored"] / (n * g)
    if whole or not sparse:
        filled = sample.nnz / (max(1, cells_read) * g)
    looked = looked_at or (f"all {n:,} cells" if whole else f"{cells_read:,} of {n:,} cells")
    return MatrixFacts(
        **known,
        dtype=str(sample.dtype),
        n_explicit_zeros=n_explicit_zeros,
        density=float(filled),
        verdict=verdict(sample, looked_at=looked),
        cells_read=cells_read,
        sums=np.asarray(sample.sum(axis=1, dtype=np.float64)).ravel() if by_cell else None,
        nonzeros=nonzeros,
    )


def _known(matrix: StoredMatrix) -> dict[str, Any]:
    parts = [matrix.node]
    if matrix.format != "dense":
        parts = [matrix.node[part] for part in ("data", "indices", "indptr")]
    return {
        "name": matrix.name,
        "format": matrix.format,
        "shape": matrix.shape,
        "n_stored": matrix.n_stored,
        "compression": compression_of(parts[0]),
        "stored_bytes": sum(stored_bytes_of(part) for part in parts),
    }


def _spread(n: int, wanted: int, stretches: int) -> NDArray[np.int64]:
    """About ``wanted`` of n positions, in evenly spaced stretches of neighbours; all if that many."""
    if wanted >= n:
        return np.arange(n)
    stretches = max(1, min(stretches, wanted))
    length = max(1, wanted // stretches)
    starts = np.linspace(0, n - length, stretches).astype(np.int64)
    return np.unique((starts[:, None] + np.arange(length)).ravel())
