"""How often tokens stand in each tenth of a ranking, and single cells under their masks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.tokens.rank_masking import RankMaskRule, mask_ranks
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.training.batches import VALIDATION_EPOCH
from cellwright.training.ranked_batches import RankSource

DECILES = 10
_BLOCK_CELLS = 512


@dataclass(frozen=True)
class RankedCell:
    """One cell: genes_t its gene tokens in order; chosen_m the places among them that are selected;
    shown_m the gene shown there, -1 for ``<mask>``."""

    genes_t: NDArray[np.int64]
    chosen_m: NDArray[np.int64]
    shown_m: NDArray[np.int64]

    @property
    def deciles_t(self) -> NDArray[np.int64]:
        """The tenth of the ranking that each gene stands in, 0 the front."""
        return DECILES * np.arange(len(self.genes_t)) // max(1, len(self.genes_t))

    @property
    def others_t(self) -> NDArray[np.bool_]:
        """Where a gene is not selected."""
        others_t = np.ones(len(self.genes_t), dtype=np.bool_)
        others_t[self.chosen_m] = False
        return others_t


@dataclass(frozen=True)
class TokenCounts:
    """How often each token stands in each tenth of the training cells, (10, tokens)."""

    of_kv: NDArray[np.float64]
    genes: int

    @cached_property
    def sums_k(self) -> NDArray[np.float64]:
        """Tokens of each tenth."""
        return np.asarray(self.of_kv.sum(axis=1))

    def probability(
        self,
        tokens_x: NDArray[np.int64],
        smoothing: float,
        prior: float | None,
        left_out: RankedCell | None = None,
    ) -> NDArray[np.float64]:
        """Probability of tokens in each tenth, (10, x); ``prior`` None is the same in all of them.

        ``left_out``: a training cell whose own tokens are taken out of the counts.
        """
        counts_kx = self.of_kv[:, tokens_x]
        sums_k = self.sums_k
        if left_out is not None:
            own_kx = np.zeros_like(counts_kx)
            order = np.argsort(left_out.genes_t)
            at = np.searchsorted(left_out.genes_t, tokens_x, sorter=order).clip(0, len(order) - 1)
            held_x = left_out.genes_t[order[at]] == tokens_x
            own_kx[left_out.deciles_t[order[at[held_x]]], np.flatnonzero(held_x)] = 1
            counts_kx = counts_kx - own_kx
            sums_k = sums_k - np.bincount(left_out.deciles_t, minlength=DECILES)
        frequency_x = (counts_kx.sum(axis=0) + smoothing) / (sums_k.sum() + smoothing * self.genes)
        if prior is None:
            return np.tile(frequency_x, (DECILES, 1))
        return (counts_kx + prior * frequency_x) / (sums_k[:, None] + prior)


def token_counts(
    cells: RankSource, rows: NDArray[np.int64], vocabulary: RankVocabulary
) -> TokenCounts:
    """Count the gene tokens of some cells by the tenth of the ranking they stand in.

    Raises
    ------
    DataError
        If there are none.
    """
    tokens = vocabulary.n_tokens
    of_kv = np.zeros(DECILES * tokens)
    is_gene_v = np.zeros(tokens, dtype=np.bool_)
    is_gene_v[vocabulary.token_ids_g] = True
    for start in range(0, len(rows), _BLOCK_CELLS):
        found = cells.take(rows[start : start + _BLOCK_CELLS])
        gene_t = is_gene_v[found.tokens]
        before_t: NDArray[np.int64] = np.concatenate([[0], np.cumsum(gene_t)])
        ends = before_t[found.offsets]
        sizes_n = np.diff(ends)
        place_t = before_t[:-1] - np.repeat(ends[:-1], np.diff(found.offsets))
        decile_t = DECILES * place_t // np.maximum(np.repeat(sizes_n, np.diff(found.offsets)), 1)
        at = decile_t[gene_t] * tokens + found.tokens[gene_t]
        of_kv += np.bincount(at, minlength=of_kv.size)
    if not of_kv.any():
        raise DataError(
            f"the references need training cells with genes of the vocabulary, {len(rows)} cells "
            "without any were given"
        )
    return TokenCounts(of_kv.reshape(DECILES, tokens), len(vocabulary))


def masked_cells(
    cells: RankSource,
    rows: NDArray[np.int64],
    rule: RankMaskRule,
    vocabulary: RankVocabulary,
    seed: int,
) -> Iterator[RankedCell]:
    """Cells one by one under their fixed masks, special tokens left out."""
    genes_g = vocabulary.token_ids_g
    is_gene_v = np.zeros(vocabulary.n_tokens, dtype=np.bool_)
    is_gene_v[genes_g] = True
    for start in range(0, len(rows), _BLOCK_CELLS):
        some = rows[start : start + _BLOCK_CELLS]
        found = cells.take(some)
        masked = mask_ranks(
            rule,
            found.tokens,
            found.offsets,
            cells.keys_n[some],
            genes_g,
            vocabulary.mask_id,
            VALIDATION_EPOCH,
            seed,
        )
        first_m = np.searchsorted(masked.cells_m, np.arange(len(some) + 1))
        for n in range(len(some)):
            low, high = found.offsets[n], found.offsets[n + 1]
            tokens = found.tokens[low:high].astype(np.int64)
            gene_t = is_gene_v[tokens]
            targets = masked.targets_m[first_m[n] : first_m[n + 1]]
            shown = masked.shown_t[targets].astype(np.int64)
            yield RankedCell(
                genes_t=tokens[gene_t],
                chosen_m=(np.cumsum(gene_t) - 1)[targets - low],
                shown_m=np.where(shown == vocabulary.mask_id, -1, shown),
            )
