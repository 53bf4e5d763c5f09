"""The plainest representation: log counts of the genes that vary most."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import scanpy as sc
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.errors import DataError, RunError, SettingsError
from cellwright.representations.expression import LogCounts, columns_of, log_counts
from cellwright.representations.saved_state import load_state, save_state


class HighlyVariableGenes:
    """Log-normalized counts of the most variable genes, chosen on the cells it is fitted on.

    Parameters
    ----------
    n_top
        Genes kept; all detected genes if there are fewer.
    target_sum
        Counts a cell is scaled to before ``log1p``.

    Attributes
    ----------
    genes_
        Names of the chosen genes, in the order of the fitted cells.

    References
    ----------
    Satija et al. (2015), normalized dispersion within bins of mean expression, as in scanpy's
    ``highly_variable_genes(flavor="seurat")``.
    """

    name = "hvg"
    genes_: NDArray[np.str_]

    def __init__(self, n_top: int = 2000, target_sum: float = 1e4) -> None:
        self.n_top = n_top
        self.target_sum = target_sum

    def fit(self, cells: AnnData | LogCounts) -> Self:
        """Choose the genes on these cells.

        Raises
        ------
        DataError
            If no gene is detected in any of them.
        """
        if self.n_top < 1:
            raise SettingsError(f"n_top is {self.n_top}, expected at least 1 gene")
        expression = log_counts(cells, self.target_sum)
        self.genes_ = expression.genes[_most_variable(expression.values_ng, self.n_top)]
        return self

    def transform(self, cells: AnnData | LogCounts) -> NDArray[np.float32]:
        """Log counts (n, d) of the chosen genes."""
        if not hasattr(self, "genes_"):
            raise RunError("hvg has not been fitted; call fit first")
        expression = log_counts(cells, self.target_sum)
        columns = columns_of(self.genes_, expression.genes)
        return np.asarray(expression.values_ng[:, columns].toarray(), dtype=np.float32)

    def save(self, path: Path) -> None:
        """Write settings and genes to one ``.npz``."""
        state = {"genes": self.genes_, "n_top": self.n_top, "target_sum": self.target_sum}
        save_state(path, self.name, state)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote."""
        state = load_state(path, cls.name)
        out = cls(int(state["n_top"]), float(state["target_sum"]))
        out.genes_ = state["genes"]
        return out


def _most_variable(values_ng: sp.csr_matrix, n_top: int) -> NDArray[np.int64]:
    """Positions, ascending, of the ``n_top`` genes with the largest normalized dispersion."""
    # Undetected genes have no dispersion, and scanpy warns when it has to rank them.
    detected = np.flatnonzero(
        np.bincount(values_ng.indices[values_ng.data != 0], minlength=values_ng.shape[1])
    )
    if not len(detected):
        raise DataError(
            f"none of the {values_ng.shape[1]} genes is detected in the {values_ng.shape[0]} cells "
            "given; expected counts above 0"
        )
    if len(detected) <= n_top:
        return detected.astype(np.int64)
    table = sc.pp.highly_variable_genes(
        AnnData(values_ng[:, detected]), n_top_genes=n_top, flavor="seurat", inplace=False
    )
    # scanpy keeps all genes tied at the threshold; a stable order keeps exactly n_top of them.
    dispersion = np.nan_to_num(table["dispersions_norm"].to_numpy(dtype=float), nan=-np.inf)
    best = np.argsort(-dispersion, kind="stable")[:n_top]
    return np.sort(detected[best]).astype(np.int64)
