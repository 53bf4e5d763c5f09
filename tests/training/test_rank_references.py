"""Predictions of ranked genes without a network: closed forms, planted truths, a slow second way."""

from __future__ import annotations

import numpy as np
import pytest

from cellwright.errors import DataError
from cellwright.tokens.masking import cell_keys
from cellwright.tokens.rank_masking import RankMaskRule
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.training.rank_frequencies import masked_cells, token_counts
from cellwright.training.rank_references import rank_references
from cellwright.training.ranked_batches import RankedCells


def vocabulary_of(genes: int, with_cls: bool = False) -> RankVocabulary:
    names = np.array([f"g{i}" for i in range(genes)])
    special = ["<pad>", "<mask>", *(["<cls>", "<eos>"] if with_cls else [])]
    return RankVocabulary(
        gene_ids=names,
        symbols=names,
        medians_g=np.ones(genes),
        token_ids_g=len(special) + np.arange(genes),
        special={name: i for i, name in enumerate(special)},
    )


def packed(cells, name="c") -> RankedCells:
    offsets = np.concatenate([[0], np.cumsum([len(c) for c in cells])]).astype(np.int64)
    keys = cell_keys(f"{name}{i}" for i in range(len(cells)))
    return RankedCells(np.concatenate(cells).astype(np.int32), offsets, keys)


def random_cells(n, genes, rng, low=20, high=60, first=2):
    return [first + rng.choice(genes, rng.integers(low, high), replace=False) for _ in range(n)]


def test_that_uniform_is_the_number_of_genes():
    rng = np.random.default_rng(0)
    train, test = random_cells(30, 90, rng), random_cells(10, 90, rng)
    found = rank_references(packed(train), packed(test, "t"), RankMaskRule(), vocabulary_of(90))
    assert found.perplexity["uniform"] == pytest.approx(90)
    expected = [int(np.floor(0.15 * len(c) + 0.5)) for c in test]
    assert found.places_n.tolist() == expected
    assert found.n_places == sum(expected)


def test_that_ranks_that_never_change_are_told_by_the_decile():
    """Every cell holds the same genes in blocks of ten, mixed within a block: one of ten remains, and
    where the genes shown elsewhere are ruled out, one of those that are selected."""
    rng = np.random.default_rng(1)
    cells = [
        np.concatenate([2 + 10 * b + rng.permutation(10) for b in range(10)]) for _ in range(400)
    ]
    rule = RankMaskRule(hidden=1.0, swapped=0.0)
    found = rank_references(packed(cells), packed(cells[:100], "t"), rule, vocabulary_of(100))
    assert found.perplexity["token"] == pytest.approx(100, rel=1e-3)
    # The token frequency counts for 10 tokens beside the 4,000 of each tenth.
    assert found.perplexity["token_decile"] == pytest.approx(10, rel=5e-3)
    # All genes are in the cell, so what is not shown is one of the fifteen selected.
    assert found.perplexity["token_free"] == pytest.approx(15, rel=1e-3)
    # In its tenth: one of as many as are selected there.
    logs = []
    for cell in masked_cells(
        packed(cells[:100], "t"), np.arange(100), rule, vocabulary_of(100), seed=0
    ):
        k_m = cell.deciles_t[cell.chosen_m]
        logs += np.log(np.bincount(k_m, minlength=10)[k_m]).tolist()
    assert found.perplexity["token_decile_free"] == pytest.approx(np.exp(np.mean(logs)), rel=1e-2)
    assert found.best == "token_decile_free"


def test_the_gene_left_in_place_by_bayes_rule():
    """With no place masked and all genes alike, a shown gene is the true one with a known chance."""
    rng = np.random.default_rng(2)
    genes = 2000
    train, test = random_cells(600, genes, rng), random_cells(300, genes, rng)
    rule = RankMaskRule(hidden=0.0, swapped=0.5)
    found = rank_references(packed(train), packed(test, "t"), rule, vocabulary_of(genes))
    nll, places = 0.0, 0
    for cell in masked_cells(packed(test, "t"), np.arange(300), rule, vocabulary_of(genes), seed=0):
        free = genes - int(cell.others_t.sum())
        for shown, truth in zip(cell.shown_m, cell.genes_t[cell.chosen_m], strict=True):
            if shown in cell.genes_t[cell.others_t]:
                p = 1 / free
            else:
                kept, drawn = 0.5 / free, 0.5 / genes / free
                total = kept + 0.5 / genes
                p = (kept + drawn if shown == truth else drawn) / total
            nll -= np.log(p)
            places += 1
    # Frequencies are estimated from 24,000 tokens of 2,000 genes.
    assert found.perplexity["token_free"] == pytest.approx(np.exp(nll / places), rel=0.03)
    assert found.accuracy["majority"] == pytest.approx(0.5, abs=0.06)


def test_that_special_tokens_are_neither_counted_nor_predicted():
    rng = np.random.default_rng(4)
    bare = random_cells(40, 60, rng, first=4)
    framed = [np.concatenate([[2], c, [3]]) for c in bare]
    vocabulary = vocabulary_of(60, with_cls=True)
    rows = np.arange(40)
    with_special = token_counts(packed(framed), rows, vocabulary)
    np.testing.assert_array_equal(
        with_special.of_kv, token_counts(packed(bare), rows, vocabulary).of_kv
    )
    found = rank_references(packed(framed), packed(framed[:9], "t"), RankMaskRule(), vocabulary)
    assert np.exp(found.log_frequencies_v[vocabulary.token_ids_g]).sum() == pytest.approx(
        1, rel=1e-5
    )
    assert (found.log_frequencies_v[:4] == -20).all()


def test_that_test_cells_are_only_scored():
    rng = np.random.default_rng(5)
    train, test = random_cells(50, 80, rng), random_cells(20, 80, rng)
    rule, vocabulary = RankMaskRule(), vocabulary_of(80)
    both = rank_references(packed(train), packed(test, "t"), rule, vocabulary)
    few = rank_references(packed(train), packed(test[:5], "t"), rule, vocabulary)
    assert both.chosen == few.chosen
    for name, nll_n in few.nll_n.items():
        np.testing.assert_allclose(nll_n, both.nll_n[name][:5], rtol=1e-12)


def test_that_cells_without_genes_are_refused():
    empty = RankedCells(
        np.empty(0, dtype=np.int32), np.zeros(3, dtype=np.int64), cell_keys(["a", "b"])
    )
    some = packed(random_cells(3, 30, np.random.default_rng(6), 5, 9))
    with pytest.raises(DataError, match="2 cells without any"):
        rank_references(empty, some, RankMaskRule(), vocabulary_of(30))
    with pytest.raises(DataError, match="not one of the 2 test cells"):
        rank_references(some, empty, RankMaskRule(), vocabulary_of(30))
