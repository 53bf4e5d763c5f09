"""Which rank tokens are to be predicted, and what stands in their place: BERT's rule per cell."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError, SettingsError
from cellwright.tokens.masking import mixed_words


@dataclass(frozen=True)
class RankMaskRule:
    """Which share of the genes of a cell is to be predicted, and what is shown at their places.

    Of the n gene tokens of a cell ``n_selected(n)`` are selected: ``share * n`` rounded half up, at
    least 1. At each of their places stands ``<mask>`` with probability ``hidden``, a gene drawn
    uniformly from the vocabulary with probability ``swapped``, and the gene itself otherwise.
    Special tokens are never selected and never drawn.

    Raises
    ------
    SettingsError
        If a share is outside its range.

    References
    ----------
    Devlin et al. (2018), arXiv:1810.04805; Theodoris et al. (2023), Nature.
    """

    share: float = 0.15
    hidden: float = 0.8
    swapped: float = 0.1

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise SettingsError(f"mask share is {self.share}, expected above 0 and below 1")
        for name in ("hidden", "swapped"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"mask {name} is {getattr(self, name)}, expected 0 to 1")
        if self.hidden + self.swapped > 1 + 1e-9:
            raise SettingsError(
                f"mask hidden and swapped add up to {self.hidden + self.swapped:g}, "
                "expected at most 1"
            )

    @property
    def kept(self) -> float:
        """Probability that a selected gene is shown as it is."""
        return max(0.0, 1.0 - self.hidden - self.swapped)

    @property
    def words(self) -> str:
        """The rule in words, to stand beside every perplexity."""
        return (
            f"{self.share:.3g} of each cell's genes to be predicted: {self.hidden:.3g} of them "
            f"masked, {self.swapped:.3g} swapped for any gene, {self.kept:.3g} left in place; "
            "perplexity is over all of them"
        )

    def n_selected(self, genes_n: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many of a cell's gene tokens are selected, (n,); 0 of none."""
        wanted = np.floor(self.share * genes_n + 0.5).astype(np.int64)
        return np.minimum(np.maximum(wanted, 1), genes_n)


@dataclass(frozen=True)
class MaskedTokens:
    """Packed tokens with some places selected.

    shown_t: what the model sees; targets_m: the selected places, ascending; truth_m: the genes
    that stood there; cells_m: of which cell.
    """

    shown_t: NDArray[np.int32]
    targets_m: NDArray[np.int64]
    truth_m: NDArray[np.int32]
    cells_m: NDArray[np.int64]


def mask_ranks(
    rule: RankMaskRule,
    ids_t: NDArray[np.int32],
    offsets_n: NDArray[np.int64],
    keys_n: NDArray[np.uint64],
    gene_tokens_g: NDArray[np.int64],
    mask_id: int,
    epoch: int,
    seed: int,
) -> MaskedTokens:
    """Select and replace tokens of each cell.

    Every (seed, cell, epoch, place in the cell) has random numbers of its own, hashes of these
    four, so that a mask depends neither on the other cells of the batch nor on their order.

    Parameters
    ----------
    ids_t, offsets_n
        Tokens of all cells one after another, and (n + 1,) where each begins.
    keys_n
        (n,) one key per cell, as of :func:`~cellwright.tokens.masking.cell_keys`.
    gene_tokens_g
        Tokens that are genes: only these are selected, and only these are drawn.
    mask_id
        The token ``<mask>``.
    epoch, seed
        0 and above; validation uses one fixed epoch.

    Raises
    ------
    DataError
        If there is not one key per cell, or a token is none that an embedding could have.
    """
    ids = np.ascontiguousarray(ids_t, dtype=np.int32)
    keys = np.asarray(keys_n, dtype=np.uint64)
    if keys.size != len(offsets_n) - 1:
        raise DataError(f"{keys.size} cell keys were given for {len(offsets_n) - 1} cells")
    if ids.size and ids.min() < 0:
        raise DataError(f"a cell has the token {ids.min()}, expected 0 or more")
    most = max(int(ids.max(initial=0)), int(gene_tokens_g.max()))
    is_gene_v = np.zeros(most + 1, dtype=np.bool_)
    is_gene_v[gene_tokens_g] = True
    gene_t = is_gene_v[ids]
    before = np.concatenate([[0], np.cumsum(gene_t)])
    wanted_n = rule.n_selected(before[offsets_n[1:]] - before[offsets_n[:-1]])
    # Arrays of one, because NumPy warns when a scalar wraps around.
    epoch_1, seed_1 = (np.array([int(v) % 2**64], dtype=np.uint64) for v in (epoch, seed))
    streams_n = mixed_words(keys ^ mixed_words(seed_1 ^ mixed_words(epoch_1)))
    shown_t = ids.copy()
    targets_m = np.empty(int(wanted_n.sum()), dtype=np.int64)
    _select(
        gene_t,
        np.ascontiguousarray(offsets_n, dtype=np.int64),
        streams_n,
        wanted_n,
        np.ascontiguousarray(gene_tokens_g, dtype=np.int64),
        mask_id,
        math.floor(rule.hidden * 2**53),
        math.floor((rule.hidden + rule.swapped) * 2**53),
        shown_t,
        targets_m,
    )
    return MaskedTokens(
        shown_t, targets_m, ids[targets_m], np.repeat(np.arange(keys.size), wanted_n)
    )


@numba.njit(cache=True, nogil=True)
def _mixed(word: np.uint64) -> np.uint64:
    z = word + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@numba.njit(cache=True, nogil=True)
def _select(
    gene_t: NDArray[np.bool_],
    offsets_n: NDArray[np.int64],
    streams_n: NDArray[np.uint64],
    wanted_n: NDArray[np.int64],
    gene_tokens_g: NDArray[np.int64],
    mask_id: int,
    hidden: int,
    changed: int,
    shown_t: NDArray[np.int32],
    targets_m: NDArray[np.int64],
) -> None:
    """Of each cell the genes with the smallest random numbers; a second and third say what is shown."""
    found = 0
    for n in range(wanted_n.size):
        start, stop = offsets_n[n], offsets_n[n + 1]
        if wanted_n[n] == 0:
            continue
        random_t = np.empty(stop - start, dtype=np.uint64)
        genes = 0
        for t in range(start, stop):
            if gene_t[t]:
                place = np.uint64(t - start + 1)
                random_t[genes] = _mixed(streams_n[n] + place * np.uint64(0x9E3779B97F4A7C15))
                genes += 1
        # Distinct inside a cell (a bijection of distinct words), so there are no ties.
        last = np.partition(random_t[:genes], wanted_n[n] - 1)[wanted_n[n] - 1]
        for t in range(start, stop):
            if not gene_t[t]:
                continue
            place = np.uint64(t - start + 1)
            number = _mixed(streams_n[n] + place * np.uint64(0x9E3779B97F4A7C15))
            if number > last:
                continue
            targets_m[found] = t
            found += 1
            kind = _mixed(number ^ np.uint64(0xD1B54A32D192ED03))
            at = np.int64(kind >> np.uint64(11))
            if at < hidden:
                shown_t[t] = mask_id
            elif at < changed:
                drawn = _mixed(kind) >> np.uint64(11)
                shown_t[t] = gene_tokens_g[np.int64(drawn % np.uint64(gene_tokens_g.size))]
