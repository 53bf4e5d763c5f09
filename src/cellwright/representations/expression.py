"""Log-normalized counts: what the simple expression baselines are computed from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.data.reading import counts_of
from cellwright.errors import DataError


@dataclass(frozen=True)
class LogCounts:
    """``log1p`` of counts scaled to ``target_sum`` a cell, with the genes they belong to.

    Every cell's values depend on that cell alone, so one matrix serves all folds.

    values_ng: CSR float32, cells × genes; genes: (g,) names; target_sum: counts a cell.
    """

    values_ng: sp.csr_matrix
    genes: NDArray[np.str_]
    target_sum: float

    def rows(self, rows_m: NDArray[np.int64]) -> LogCounts:
        """The same for some cells."""
        return LogCounts(self.values_ng[rows_m], self.genes, self.target_sum)


def log_normalized(counts_ng: sp.spmatrix, target_sum: float = 1e4) -> sp.csr_matrix:
    """``log1p(counts / counts per cell * target_sum)`` as CSR float32; cells without counts stay zero.

    Reference: scanpy's ``normalize_total`` followed by ``log1p``.
    """
    values = sp.csr_matrix(counts_ng, dtype=np.float64, copy=True)
    total_n = np.asarray(values.sum(axis=1)).ravel()
    scale_n = np.divide(target_sum, total_n, out=np.zeros_like(total_n), where=total_n > 0)
    values.data *= np.repeat(scale_n, np.diff(values.indptr))
    np.log1p(values.data, out=values.data)
    return values.astype(np.float32)


def root_counts(counts_ng: sp.spmatrix) -> sp.csr_matrix:
    """Square roots of counts as CSR float32, whose noise is alike in rare and in frequent genes.

    The depth of a cell is left in: where most genes have no count, dividing by it turns the noise of
    few molecules into noise of all genes. What is made of these values has to take depth for noise
    (Bartlett 1936, doi:10.2307/2983678).
    """
    return sp.csr_matrix(counts_ng, dtype=np.float64).sqrt().astype(np.float32)


def log_counts(cells: AnnData | LogCounts, target_sum: float = 1e4) -> LogCounts:
    """The log-normalized counts of ``cells``; an existing :class:`LogCounts` passes through.

    Raises
    ------
    DataError
        If no raw counts are found, or the given :class:`LogCounts` were scaled to another sum.
    """
    if isinstance(cells, LogCounts):
        if cells.target_sum != target_sum:
            raise DataError(
                f"these log counts were scaled to {cells.target_sum:g} a cell, "
                f"expected {target_sum:g}"
            )
        return cells
    values = log_normalized(counts_of(cells), target_sum)
    return LogCounts(values, np.asarray(cells.var_names, dtype=str), target_sum)


def columns_of(
    wanted: Sequence[str] | NDArray[np.str_], have: NDArray[np.str_]
) -> NDArray[np.int64]:
    """Position in ``have`` of every gene in ``wanted``.

    Raises
    ------
    DataError
        If a gene is missing: the values it was fitted with cannot be made up.
    """
    position = {gene: i for i, gene in enumerate(have)}
    missing = [gene for gene in wanted if gene not in position]
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(wanted)} genes this was fitted on are not in these cells "
            f"(first: {missing[0]}); transform cells with the genes it was fitted on"
        )
    return np.array([position[gene] for gene in wanted], dtype=np.int64)
