"""Principal components of log counts: fifty numbers per cell that no network was needed for."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy import linalg
from sklearn.decomposition import PCA

from cellwright.errors import DataError, RunError, SettingsError
from cellwright.representations.expression import LogCounts, log_counts
from cellwright.representations.hvg import HighlyVariableGenes
from cellwright.representations.saved_state import load_state, save_state


class PrincipalComponents:
    """Principal components of centred log counts of the most variable genes.

    The solvers are exact (eigenvalues of the gene covariance, or Lanczos to full precision), so
    neither the order of the cells nor the seed moves a component; the sign of each is fixed by
    its largest loading.

    Parameters
    ----------
    n_components
        Components kept; fewer where cells or genes are fewer.
    n_top, target_sum
        As in :class:`HighlyVariableGenes`.
    seed
        Starts the Lanczos iteration.

    Attributes
    ----------
    genes_
        Names of the genes used.
    mean_
        Their mean log count in the fitted cells, (g,).
    components_
        Loadings (d, g), rows of unit length.
    variance_
        Variance along each component in the fitted cells, (d,).
    """

    name = "pca"
    genes_: NDArray[np.str_]
    mean_: NDArray[np.float64]
    components_: NDArray[np.float64]
    variance_: NDArray[np.float64]

    def __init__(
        self,
        n_components: int = 50,
        n_top: int = 2000,
        target_sum: float = 1e4,
        seed: int = 0,
    ) -> None:
        self.n_components = n_components
        self.n_top = n_top
        self.target_sum = target_sum
        self.seed = seed

    def fit(self, cells: AnnData | LogCounts) -> Self:
        """Choose the genes and compute the loadings on these cells.

        Raises
        ------
        DataError
            If there are fewer than two cells, or no gene is detected.
        """
        if self.n_components < 1:
            raise SettingsError(f"n_components is {self.n_components}, expected at least 1")
        expression = log_counts(cells, self.target_sum)
        chosen = HighlyVariableGenes(self.n_top, self.target_sum).fit(expression)
        values_ng = chosen.transform(expression).astype(np.float64)
        n, g = values_ng.shape
        if n < 2:
            raise DataError(f"principal components need at least 2 cells, got {n}")
        kept = min(self.n_components, n - 1, g)
        self.genes_ = chosen.genes_
        if n >= g:
            self.mean_ = values_ng.mean(axis=0)
            values_ng -= self.mean_
            self.components_, self.variance_ = _largest(values_ng.T @ values_ng / (n - 1), kept)
            return self
        model = PCA(kept, svd_solver="arpack", random_state=self.seed).fit(values_ng)
        self.mean_ = model.mean_
        self.components_ = model.components_
        self.variance_ = model.explained_variance_
        return self

    def transform(self, cells: AnnData | LogCounts) -> NDArray[np.float32]:
        """Coordinates (n, d) of the cells on the fitted components."""
        if not hasattr(self, "components_"):
            raise RunError("pca has not been fitted; call fit first")
        chosen = HighlyVariableGenes(self.n_top, self.target_sum)
        chosen.genes_ = self.genes_
        values_ng = chosen.transform(cells).astype(np.float64)
        return ((values_ng - self.mean_) @ self.components_.T).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write settings and loadings to one ``.npz``."""
        state = {
            "genes": self.genes_,
            "mean": self.mean_,
            "components": self.components_,
            "variance": self.variance_,
            "n_components": self.n_components,
            "n_top": self.n_top,
            "target_sum": self.target_sum,
            "seed": self.seed,
        }
        save_state(path, self.name, state)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote."""
        state = load_state(path, cls.name)
        out = cls(
            int(state["n_components"]),
            int(state["n_top"]),
            float(state["target_sum"]),
            int(state["seed"]),
        )
        out.genes_, out.mean_ = state["genes"], state["mean"]
        out.components_, out.variance_ = state["components"], state["variance"]
        return out


def _largest(
    covariance_gg: NDArray[np.float64], kept: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The eigenvectors (kept, g) of the largest eigenvalues, which alone are solved for."""
    g = len(covariance_gg)
    variance_d, axes_gd = linalg.eigh(
        covariance_gg, subset_by_index=(g - kept, g - 1), overwrite_a=True, check_finite=False
    )
    axes_dg = np.ascontiguousarray(axes_gd[:, ::-1].T)
    largest_d = np.abs(axes_dg).argmax(axis=1)
    axes_dg *= np.sign(axes_dg[np.arange(kept), largest_d])[:, None]
    return axes_dg, np.maximum(variance_d[::-1], 0.0)
