"""A null for the effect of a gene: other genes like it in place and detection, at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import false_discovery_control

from cellwright.errors import DataError

# Null genes are drawn from so many times as many of the most similar genes.
POOL = 2


@dataclass(frozen=True)
class GeneProfile:
    """Where the genes of a vocabulary stand in some cells.

    cells_g: how many of the ``n`` cells rank each gene within the model's input. place_g: the
    mean of log(1 + place) over those cells, 0 at the very front; of a gene that no cell ranks, the
    largest of all. front_g: in how many cells it is near the front.
    """

    cells_g: NDArray[np.int64]
    place_g: NDArray[np.float64]
    front_g: NDArray[np.int64]
    n: int

    @property
    def detection_g(self) -> NDArray[np.float64]:
        """The share of the cells that rank each gene, 0 to 1."""
        return self.cells_g / max(self.n, 1)

    @property
    def coordinates_gk(self) -> NDArray[np.float64]:
        """(g, 2) log place and log number of cells, each in its standard deviations.

        Logarithms, because what a gene does to a cell falls with its place as it falls along a
        power law: place 2 and 20 are far apart, 1,002 and 1,020 are not.
        """
        raw_gk = np.stack([self.place_g, np.log1p(self.cells_g)], axis=1)
        spread_k = raw_gk.std(axis=0)
        return raw_gk / np.where(spread_k > 0, spread_k, 1.0)


@dataclass(frozen=True)
class NullGenes:
    """Genes to draw a null from, by how they stand in the cells.

    profile: of all genes; candidates_c: those that may be drawn.
    """

    profile: GeneProfile
    candidates_c: NDArray[np.int64]

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self._coordinates_gk[self.candidates_c])

    @cached_property
    def _coordinates_gk(self) -> NDArray[np.float64]:
        return self.profile.coordinates_gk

    def draw(
        self, members: Sequence[int], draws: int, rng: np.random.Generator
    ) -> list[tuple[int, ...]]:
        """Random genes, or sets of them, that stand where ``members`` stand and in as many cells.

        For each member the ``POOL`` × ``draws`` candidates nearest in log place and log number of
        cells are taken, and one of them is drawn at random; sets differ from each other and hold
        no gene twice.

        Parameters
        ----------
        members
            Genes that are edited together; they are never drawn.
        draws
            How many; fewer come back where there are not enough different ones.

        Raises
        ------
        DataError
            If there are fewer candidates than members.
        """
        k = len(members)
        left = int((~np.isin(self.candidates_c, np.asarray(members))).sum())
        if left < k:
            raise DataError(
                f"a null for {k} genes needs as many others in these cells, there are {left}; give "
                "more cells, fewer genes or a lower --min-cells"
            )
        size = min(left, max(POOL * draws, k))
        asked = min(self.candidates_c.size, size + k)
        _, near = self._tree.query(self._coordinates_gk[list(members)], k=asked)
        pools = []
        for row in self.candidates_c[np.asarray(near).reshape(k, asked)]:
            pools.append(row[~np.isin(row, np.asarray(members))][:size])
        if k == 1:
            drawn = rng.choice(pools[0], size=min(draws, size), replace=False)
            return [(int(gene),) for gene in drawn]
        found: dict[tuple[int, ...], None] = {}
        for _ in range(4 * draws):
            one = tuple(int(rng.choice(pool)) for pool in pools)
            if len(set(one)) == k:
                found.setdefault(one)
            if len(found) == draws:
                break
        return list(found)


def empirical_p(value: float, null_m: NDArray[np.float64], *, two_sided: bool = False) -> float:
    """The share of values as far out as ``value``, itself among them: (b + 1) / (m + 1).

    Parameters
    ----------
    null_m
        The same statistic of m null genes.
    two_sided
        Far out is far from the median of all m + 1 values on either side, else large.

    Returns
    -------
    Between 1 / (m + 1) and 1; 1 without null genes; NaN for a NaN value.

    References
    ----------
    Phipson & Smyth (2010), Permutation P-values should never be zero.
    """
    if np.isnan(value):
        return float("nan")
    if two_sided:
        centre = float(np.median(np.append(null_m, value)))
        value, null_m = abs(value - centre), np.abs(null_m - centre)
    return float((np.sum(null_m >= value) + 1) / (null_m.size + 1))


def robust_z(value: float, null_m: NDArray[np.float64], *, signed: bool = False) -> float:
    """How many standard deviations of the null ``value`` lies above its median.

    The deviation is the median one × 1.4826; of shifts that have no sign logarithms are compared,
    because they are spread over orders of magnitude. It still tells genes apart where p is as low
    as the number of null genes allows.

    Returns
    -------
    NaN where the null does not vary or, without sign, something is not above 0.
    """
    if not signed:
        if not value > 0 or not (null_m > 0).all():
            return float("nan")
        value, null_m = float(np.log(value)), np.log(null_m)
    if null_m.size < 2 or np.isnan(value):
        return float("nan")
    middle = float(np.median(null_m))
    spread = 1.4826 * float(np.median(np.abs(null_m - middle)))
    return (value - middle) / spread if spread > 0 else float("nan")


def adjusted(p_e: NDArray[np.float64]) -> NDArray[np.float64]:
    """Benjamini and Hochberg's (1995) false discovery rate of each p-value; NaN stays NaN."""
    out_e = np.full(p_e.shape, np.nan)
    known_e = np.isfinite(p_e)
    if known_e.any():
        out_e[known_e] = false_discovery_control(p_e[known_e], method="bh")
    return out_e
