"""Which genes of a cell are hidden: a rule, and masks that depend on seed, cell and epoch alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numba
import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError, SettingsError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class MaskRule:
    """How many genes of a cell are masked, and how many of these have a value.

    Of g genes ``n_masked(g)`` are masked in every cell: ``share * g`` rounded half up, at least
    1 and, of two genes or more, at most g - 1. Of these, ``nonzero_share`` (rounded half up) are
    drawn from the nonzero genes of the cell and the rest from its zero genes, both uniformly
    without replacement. Where one kind has too few genes all of them are masked and the other
    kind fills up.

    Parameters
    ----------
    share
        Share of the genes masked, above 0 and below 1.
    nonzero_share
        Share of the masked genes drawn from nonzero genes, 0 to 1.
    nonzero
        What nonzero means: ``"bin"``, a bin above the lowest (the published rule), or
        ``"count"``, a count above 0. They differ where zeros share the lowest bin.

    Raises
    ------
    SettingsError
        If a value is outside its range.
    """

    share: float = 0.15
    nonzero_share: float = 0.5
    nonzero: Literal["bin", "count"] = "bin"

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise SettingsError(f"mask share is {self.share}, expected above 0 and below 1")
        if not 0 <= self.nonzero_share <= 1:
            raise SettingsError(f"mask nonzero_share is {self.nonzero_share}, expected 0 to 1")
        if self.nonzero not in ("bin", "count"):
            raise SettingsError(f"mask nonzero is {self.nonzero!r}, expected 'bin' or 'count'")

    @property
    def words(self) -> str:
        """The rule in words, to stand beside every perplexity."""
        kind = "bins above the lowest" if self.nonzero == "bin" else "counts above 0"
        return f"{self.share:.3g} of the genes masked, {self.nonzero_share:.3g} of them from {kind}"

    def n_masked(self, genes: int) -> int:
        """How many of ``genes`` genes are masked in each cell."""
        wanted = max(1, math.floor(self.share * genes + 0.5))
        return min(wanted, max(1, genes - 1), genes)

    def n_masked_of_kinds(
        self, nonzero_n: NDArray[np.int64], genes: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How many nonzero and zero genes are masked, from the number of nonzero genes per cell."""
        total = self.n_masked(genes)
        wanted = math.floor(self.nonzero_share * total + 0.5)
        of_nonzero = np.minimum(wanted, nonzero_n)
        of_zero = np.minimum(total - of_nonzero, genes - nonzero_n)
        return total - of_zero, of_zero

    def nonzero_of(self, bins_ng: NDArray[np.uint8], counts_ng: Any = None) -> NDArray[np.bool_]:
        """Where a gene is nonzero under this rule, (n, g).

        Raises
        ------
        DataError
            If the rule looks at counts and none are given.
        """
        if self.nonzero == "bin":
            return bins_ng > 0
        if counts_ng is None:
            raise DataError("the mask rule looks at counts (nonzero = 'count'), but none are given")
        dense = counts_ng.toarray() if hasattr(counts_ng, "toarray") else np.asarray(counts_ng)
        return dense > 0


def cell_keys(obs_names: Iterable[str]) -> NDArray[np.uint64]:
    """One 64-bit key per cell name, the same on every machine and in every process.

    Returns
    -------
    (n,) uint64: the first 8 bytes of BLAKE2b of the name in UTF-8.
    """
    digests = b"".join(
        hashlib.blake2b(str(name).encode("utf-8"), digest_size=8).digest() for name in obs_names
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def mask(
    rule: MaskRule,
    nonzero_ng: NDArray[np.bool_],
    cell_keys_n: NDArray[np.uint64],
    epoch: int,
    seed: int,
) -> NDArray[np.bool_]:
    """The masked genes of each cell.

    Every (seed, cell, epoch, gene) has a random number of its own, a hash of these four, and the
    genes with the smallest numbers of each kind are masked. So a mask depends neither on the
    other cells of the batch nor on their order, nor on workers or processes.

    Parameters
    ----------
    nonzero_ng
        (n, g) where the gene is nonzero in the sense of the rule.
    cell_keys_n
        (n,) from :func:`cell_keys`.
    epoch
        Epoch, 0 and above; validation uses one fixed number.
    seed
        Seed of the run.

    Returns
    -------
    (n, g) bool, True where masked; ``rule.n_masked(g)`` in every row.

    Raises
    ------
    DataError
        If there are no genes, or not one key per cell.

    References
    ----------
    Steele, Lea and Flood (2014), Fast splittable pseudorandom number generators (splitmix64);
    Salmon et al. (2011), Parallel random numbers: as easy as 1, 2, 3 (counter-based).
    """
    nonzero = np.ascontiguousarray(nonzero_ng, dtype=np.bool_)
    keys = np.asarray(cell_keys_n, dtype=np.uint64)
    if nonzero.ndim != 2 or nonzero.shape[1] == 0:
        raise DataError(f"a mask needs cells × genes, an array of shape {nonzero.shape} was given")
    if keys.shape != nonzero.shape[:1]:
        raise DataError(f"{keys.size} cell keys were given for {nonzero.shape[0]} cells")
    present_n = np.count_nonzero(nonzero, axis=1).astype(np.int64)
    of_nonzero, of_zero = rule.n_masked_of_kinds(present_n, nonzero.shape[1])
    # Arrays of one, because NumPy warns when a scalar wraps around.
    epoch_1, seed_1 = (np.array([int(v) % 2**64], dtype=np.uint64) for v in (epoch, seed))
    stream = mixed_words(seed_1 ^ mixed_words(epoch_1))
    out_ng = np.zeros(nonzero.shape, dtype=np.bool_)
    _choose(nonzero, mixed_words(keys ^ stream), np.stack([of_zero, of_nonzero], axis=1), out_ng)
    return out_ng


def masking_probability(rule: MaskRule, nonzero_ng: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The probability that :func:`mask` masks each gene of each cell, in closed form.

    Returns
    -------
    (n, g) float64, 0 to 1; every row sums to ``rule.n_masked(g)``.
    """
    nonzero = np.asarray(nonzero_ng, dtype=np.bool_)
    present_n = np.count_nonzero(nonzero, axis=1).astype(np.int64)
    if_nonzero_n, if_zero_n = masking_probability_of_kinds(rule, present_n, nonzero.shape[1])
    return np.where(nonzero, if_nonzero_n[:, None], if_zero_n[:, None])


def masking_probability_of_kinds(
    rule: MaskRule, nonzero_n: NDArray[np.int64], genes: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The probability that a nonzero and that a zero gene of each cell is masked.

    Parameters
    ----------
    nonzero_n
        (n,) nonzero genes of each cell.
    genes
        Genes of each cell.

    Returns
    -------
    Two (n,) arrays, 0 to 1; 0 where a cell has no gene of the kind.
    """
    of_nonzero, of_zero = rule.n_masked_of_kinds(nonzero_n, genes)
    return of_nonzero / np.maximum(nonzero_n, 1), of_zero / np.maximum(genes - nonzero_n, 1)


def mixed_words(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The output function of splitmix64, a bijection of 64-bit words."""
    z = x + _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(cache=True, nogil=True)
def _choose(
    nonzero_ng: NDArray[np.bool_],
    streams_n: NDArray[np.uint64],
    wanted_n2: NDArray[np.int64],
    out_ng: NDArray[np.bool_],
) -> None:
    """Mark the ``wanted`` genes with the smallest random numbers, of zero and nonzero genes.

    The numbers of one cell are distinct (a bijection of distinct words), so there are no ties.
    A count by their first byte finds the byte of the last one wanted; only that byte is sorted.
    """
    cells, genes = nonzero_ng.shape
    random_g = np.empty(genes, dtype=np.uint64)
    rest = np.empty(genes, dtype=np.uint64)
    count = np.empty((2, 256), dtype=np.int64)
    last = np.empty(2, dtype=np.uint64)
    for n in range(cells):
        count[:] = 0
        for g in range(genes):
            z = streams_n[n] + np.uint64(g + 1) * np.uint64(0x9E3779B97F4A7C15)
            z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            z = z ^ (z >> np.uint64(31))
            random_g[g] = z
            count[np.int64(nonzero_ng[n, g]), np.int64(z >> np.uint64(56))] += 1
        for kind in range(2):
            wanted = wanted_n2[n, kind]
            if wanted == 0:
                continue
            before = 0
            byte = 0
            while before + count[kind, byte] < wanted:
                before += int(count[kind, byte])
                byte += 1
            found = 0
            for g in range(genes):
                if nonzero_ng[n, g] == (kind == 1) and random_g[g] >> np.uint64(56) == byte:
                    rest[found] = random_g[g]
                    found += 1
            last[kind] = np.sort(rest[:found])[wanted - before - 1]
        for g in range(genes):
            which = np.int64(nonzero_ng[n, g])
            out_ng[n, g] = wanted_n2[n, which] > 0 and random_g[g] <= last[which]
