"""Random gene sets like a given one: what any genes of that kind would have scored.

A score means something about *these* genes only if sets that are alike in mean, detection and
dispersion score less; and about their biology only if sets that vary together as much do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from cellwright.errors import DataError

TRAITS = ("mean", "detection", "dispersion")
POOL = 20
_MOST_CELLS = 2000
_SWAPS = 30  # tries per gene


@dataclass(frozen=True)
class GeneTraits:
    """What random sets are matched on: log mean count, share of cells, log variance over mean.

    traits_gk: (g, 3), in the order of :data:`TRAITS`; detected_g: genes that occur at all.
    """

    traits_gk: NDArray[np.float64]
    detected_g: NDArray[np.bool_]

    @property
    def scaled_gk(self) -> NDArray[np.float64]:
        """The traits in standard deviations over the detected genes."""
        spread_k = self.traits_gk[self.detected_g].std(axis=0)
        return self.traits_gk / np.where(spread_k > 0, spread_k, 1.0)


@dataclass(frozen=True)
class RandomSets:
    """m sets for each program, and how well they match.

    sets: per draw one array of columns per program; gap: mean absolute difference between sets and
    program in each trait, standard deviations over genes (0 is a perfect match); unmatched: the
    same of genes drawn without matching. coexpression: mean correlation of the programs' own
    genes; coexpression_m: that of each draw's sets.
    """

    sets: tuple[tuple[NDArray[np.int64], ...], ...]
    gap: dict[str, float]
    unmatched: dict[str, float]
    coexpression: float
    coexpression_m: NDArray[np.float64]


def gene_traits(counts_ng: sp.csr_matrix) -> GeneTraits:
    """Traits of every gene in (normal) cells, from whole counts."""
    x_ng = sp.csr_matrix(counts_ng, dtype=np.float64)
    n = max(x_ng.shape[0], 1)
    mean_g = np.asarray(x_ng.sum(axis=0)).ravel() / n
    square_g = np.asarray(x_ng.multiply(x_ng).sum(axis=0)).ravel() / n
    share_g = np.bincount(x_ng.nonzero()[1], minlength=x_ng.shape[1]) / n
    there_g = mean_g > 0
    safe_g = np.where(there_g, mean_g, 1.0)
    ratio_g = np.maximum(square_g - mean_g**2, 1e-12) / safe_g
    traits_gk = np.stack([np.log(safe_g), share_g, np.log(ratio_g)], axis=1)
    return GeneTraits(np.where(there_g[:, None], traits_gk, 0.0), there_g)


def random_sets(
    log_counts_ng: sp.csr_matrix,
    traits: GeneTraits,
    programs: Sequence[NDArray[np.int64]],
    draws: int,
    *,
    coexpressed: bool = False,
    seed: int = 0,
) -> RandomSets:
    """Draw sets of other genes with the traits of each program's genes, one for one.

    Each gene is replaced by one of the ``POOL`` nearest genes in the three traits; no gene of a
    program is drawn and none twice. With ``coexpressed`` genes are then exchanged within their
    pools as long as that brings the mean correlation within the set nearer to the program's own.

    Parameters
    ----------
    log_counts_ng
        Log-normalized counts of normal cells, for the correlations (at most 2,000 cells are used).

    Raises
    ------
    DataError
        If fewer genes are left than the programs have.
    """
    rng = np.random.default_rng(seed)
    taken = np.unique(np.concatenate(list(programs)))
    free = np.setdiff1d(np.flatnonzero(traits.detected_g), taken)
    if len(free) < len(taken):
        raise DataError(
            f"random sets for {len(taken)} genes need as many other detected genes, and there are "
            f"{len(free)}; give data with more genes or a smaller set"
        )
    scaled_gk = traits.scaled_gk
    near, pools = cKDTree(scaled_gk[free]), []
    for columns in programs:
        size = min(len(free), max(POOL, len(columns) // 4))
        _, found = near.query(scaled_gk[columns], k=size)
        pools.append(free[np.asarray(found).reshape(len(columns), size)])
    rows = np.arange(log_counts_ng.shape[0])
    if len(rows) > _MOST_CELLS:
        rows = np.sort(rng.choice(rows, _MOST_CELLS, replace=False))
    unit = _Units(log_counts_ng[rows])
    own = [unit.together(columns) for columns in programs]
    sets = []
    for _ in range(draws):
        used: set[int] = set()
        drawn = []
        for columns, pool, goal in zip(programs, pools, own, strict=True):
            one = _drawn(pool, free, used, rng)
            if coexpressed and len(columns) > 1:
                one = _pulled(one, pool, goal, used, unit, rng)
            used.update(one.tolist())
            drawn.append(one)
        sets.append(tuple(drawn))
    blind = [
        [rng.choice(free, size=len(columns), replace=False) for columns in programs]
        for _ in range(draws)
    ]
    return RandomSets(
        tuple(sets),
        _gap(scaled_gk, programs, sets),
        _gap(scaled_gk, programs, blind),
        float(np.nanmean(own)) if np.isfinite(own).any() else 0.0,
        np.array([np.mean([unit.together(one) for one in several]) for several in sets]),
    )


class _Units:
    """Columns of unit length about their mean, made when asked for: products are correlations."""

    def __init__(self, values_ng: sp.csr_matrix) -> None:
        self._values = sp.csc_matrix(values_ng, dtype=np.float64)
        self._made: dict[int, NDArray[np.float64]] = {}

    def __call__(self, gene: int) -> NDArray[np.float64]:
        if gene not in self._made:
            x_n = self._values[:, [gene]].toarray().ravel()
            x_n = x_n - x_n.mean()
            length = float(np.linalg.norm(x_n))
            self._made[gene] = x_n / length if length > 0 else x_n
        return self._made[gene]

    def sum_of(self, genes: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.sum([self(int(g)) for g in genes], axis=0)

    def together(self, genes: NDArray[np.int64]) -> float:
        """Mean correlation of pairs of the genes; 0 for a single one."""
        k = len(genes)
        if k < 2:
            return 0.0
        total = self.sum_of(genes)
        alone = sum(float(self(int(g)) @ self(int(g))) for g in genes)
        return (float(total @ total) - alone) / (k * (k - 1))


def _drawn(
    pool_cp: NDArray[np.int64], free: NDArray[np.int64], used: set[int], rng: np.random.Generator
) -> NDArray[np.int64]:
    """One gene from each pool, none twice; where a pool is used up, any gene that is left."""
    out: list[int] = []
    gone = set(used)
    for row in pool_cp:
        left = [int(g) for g in row if int(g) not in gone]
        if not left:
            left = [int(g) for g in free if int(g) not in gone]
        out.append(int(rng.choice(left)))
        gone.add(out[-1])
    return np.array(out, dtype=np.int64)


def _pulled(
    genes: NDArray[np.int64],
    pool_cp: NDArray[np.int64],
    goal: float,
    used: set[int],
    unit: _Units,
    rng: np.random.Generator,
) -> NDArray[np.int64]:
    """The set after exchanges that bring its mean correlation nearer to the goal."""
    genes, k = genes.copy(), len(genes)
    total = unit.sum_of(genes)
    alone = sum(float(unit(int(g)) @ unit(int(g))) for g in genes)
    now = (float(total @ total) - alone) / (k * (k - 1))
    for _ in range(_SWAPS * k):
        if abs(now - goal) < 0.002:
            break
        place = int(rng.integers(k))
        new, old = int(rng.choice(pool_cp[place])), int(genes[place])
        if new in used or new in genes:
            continue
        trial = total - unit(old) + unit(new)
        more = alone - float(unit(old) @ unit(old)) + float(unit(new) @ unit(new))
        then = (float(trial @ trial) - more) / (k * (k - 1))
        if abs(then - goal) < abs(now - goal):
            genes[place], total, alone, now = new, trial, more, then
    return genes


def _gap(
    scaled_gk: NDArray[np.float64],
    programs: Sequence[NDArray[np.int64]],
    sets: Sequence[Sequence[NDArray[np.int64]]],
) -> dict[str, float]:
    """Mean over draws and programs of |mean of set - mean of program| in each trait."""
    off = [
        np.abs(scaled_gk[one].mean(axis=0) - scaled_gk[columns].mean(axis=0))
        for several in sets
        for one, columns in zip(several, programs, strict=True)
    ]
    return dict(zip(TRAITS, np.mean(off, axis=0).tolist(), strict=True))
