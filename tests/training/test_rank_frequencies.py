"""Frequencies of tokens by tenth of the ranking, against counting one by one."""

from __future__ import annotations

import numpy as np

from cellwright.tokens.masking import cell_keys
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.training.rank_frequencies import RankedCell, token_counts
from cellwright.training.ranked_batches import RankedCells


def packed(cells) -> RankedCells:
    offsets = np.concatenate([[0], np.cumsum([len(c) for c in cells])]).astype(np.int64)
    keys = cell_keys(f"c{i}" for i in range(len(cells)))
    return RankedCells(np.concatenate(cells).astype(np.int32), offsets, keys)


def test_against_a_plain_way_with_the_cell_left_out():
    """Probabilities without a training cell equal those counted without it."""
    rng = np.random.default_rng(3)
    cells = [2 + rng.choice(40, rng.integers(5, 30), replace=False) for _ in range(12)]
    names = np.array([f"g{i}" for i in range(40)])
    special = {"<pad>": 0, "<mask>": 1}
    vocabulary = RankVocabulary(names, names, np.ones(40), 2 + np.arange(40), special)
    everything = token_counts(packed(cells), np.arange(12), vocabulary)
    without = token_counts(packed(cells), np.delete(np.arange(12), 4), vocabulary)
    one = RankedCell(cells[4], np.array([0, 3]), np.array([-1, -1]))
    tokens = vocabulary.token_ids_g
    for prior in (None, 30.0):
        left_out = everything.probability(tokens, 0.3, prior, one)
        np.testing.assert_allclose(left_out, without.probability(tokens, 0.3, prior), rtol=1e-12)
        np.testing.assert_allclose(left_out.sum(axis=1), 1.0)
    counts = np.zeros((10, 42))
    for cell in cells:
        for place, token in enumerate(cell):
            counts[10 * place // len(cell), token] += 1
    np.testing.assert_array_equal(everything.of_kv, counts)
