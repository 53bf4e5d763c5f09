"""Batches of ranked cells: every cell once, equal lengths together, the same by (seed, epoch)."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pandas as pd
import pytest

from cellwright.data.rank_corpus import RankCorpus
from cellwright.data.rank_corpus_writing import writing_corpus
from cellwright.errors import DataError
from cellwright.tokens.masking import cell_keys
from cellwright.tokens.rank_masking import RankMaskRule
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.training.ranked_batches import (
    CorpusCells,
    RankedCells,
    training_batches,
    validation_batches,
)

RULE = RankMaskRule()
NAMES = np.array([f"g{i}" for i in range(50)])
VOCABULARY = RankVocabulary(
    gene_ids=NAMES,
    symbols=NAMES,
    medians_g=np.ones(50),
    token_ids_g=4 + np.arange(50),
    special={"<pad>": 0, "<mask>": 1, "<cls>": 2, "<eos>": 3},
)


def _tokens(n=23, seed=0):
    rng = np.random.default_rng(seed)
    cells = [
        np.concatenate([[2], 4 + rng.choice(50, rng.integers(1, 40), replace=False), [3]])
        for _ in range(n)
    ]
    return cells


@pytest.fixture
def cells() -> RankedCells:
    parts = _tokens()
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in parts])]).astype(np.int64)
    keys = cell_keys(f"cell{i}" for i in range(len(parts)))
    return RankedCells(np.concatenate(parts).astype(np.int32), offsets, keys)


@pytest.fixture
def corpus(tmp_path) -> RankCorpus:
    parts = _tokens()
    offsets = np.concatenate([[0], np.cumsum([len(p) for p in parts])])
    names = pd.DataFrame({"obs_names": [f"cell{i}" for i in range(len(parts))]}, dtype=object)
    (tmp_path / "tokens").mkdir()
    with writing_corpus(tmp_path / "tokens", ["obs_names"]) as writer:
        writer.add(np.concatenate(parts).astype(np.int32), offsets, names)
    return RankCorpus.open(tmp_path / "tokens")


def _epoch(cells, **how):
    how = {"batch_size": 4, "epoch": 0, "seed": 1} | how
    return list(training_batches(cells, RULE, VOCABULARY, **how))


def test_that_an_epoch_has_every_cell_once_and_only_the_last_batch_is_short(cells):
    batches = _epoch(cells)
    assert [len(b.rows) for b in batches] == [4, 4, 4, 4, 4, 3]
    assert sorted(np.concatenate([b.rows for b in batches]).tolist()) == list(range(23))
    # A full batch holds neighbours in length: the batches' ranges do not overlap.
    ranges = sorted((min(b.lengths_n), max(b.lengths_n)) for b in batches[:-1])
    assert all(high <= low for (_, high), (low, _) in itertools.pairwise(ranges))
    for batch in batches:
        first = np.concatenate([[0], np.cumsum(batch.lengths_n)[:-1]])
        assert (batch.ids_t[first] == 2).all()
        assert not np.isin(batch.targets_m, first).any()
        assert batch.share == 1.0


def test_that_an_epoch_can_begin_in_its_middle_and_another_differs(cells):
    whole, rest = _epoch(cells), _epoch(cells, first=2)
    assert len(rest) == 4
    for one, other in zip(whole[2:], rest, strict=True):
        assert (one.ids_t == other.ids_t).all()
    orders = [np.concatenate([b.rows for b in _epoch(cells, epoch=e)]).tolist() for e in (0, 1)]
    assert orders[0] != orders[1]


def test_that_processes_share_the_batches_of_one(cells):
    whole = _epoch(cells, batch_size=5)
    parts = [_epoch(cells, batch_size=5, rank=r, world=2) for r in (0, 1)]
    for batch, one, two in zip(whole, *parts, strict=True):
        assert sorted([*one.rows, *two.rows]) == sorted(batch.rows)
        assert len(one.targets_m) + len(two.targets_m) == len(batch.targets_m)
        assert one.share == pytest.approx(len(one.targets_m) / len(batch.targets_m))
        assert one.share + two.share == pytest.approx(1.0)
    alone = _epoch(cells, batch_size=1, rank=1, world=2)
    assert {b.share for b in alone} == {0.0}


def test_that_validation_keeps_its_masks(cells):
    def shown():
        found = list(validation_batches(cells, RULE, VOCABULARY, batch_size=6, seed=1))
        return [(b.rows.tolist(), b.ids_t.tolist()) for b in found]

    assert shown() == shown()
    assert sum(len(rows) for rows, _ in shown()) == 23


def test_that_a_corpus_gives_the_same_cells_as_memory(cells, corpus):
    rows = np.array([7, 3, 19])
    on_disk = CorpusCells(corpus, np.arange(23), VOCABULARY, max_tokens=64)
    assert (on_disk.take(rows).tokens == cells.take(rows).tokens).all()
    assert (on_disk.take(rows).offsets == cells.take(rows).offsets).all()
    some = CorpusCells(corpus, np.array([5, 19]), VOCABULARY, max_tokens=64)
    assert (some.take(np.array([1])).tokens == cells.take(np.array([19])).tokens).all()
    # As another process gets it: it maps the folder anew.
    other = copy.copy(on_disk)
    assert other._corpus is None
    assert (other.take(rows).tokens == cells.take(rows).tokens).all()


def test_that_long_cells_of_a_corpus_are_cut_and_keep_their_end(cells, corpus):
    short = CorpusCells(corpus, np.arange(23), VOCABULARY, max_tokens=10)
    assert short.lengths_n.max() == 10
    found = short.take(np.arange(23))
    assert (np.diff(found.offsets) == np.minimum(cells.lengths_n, 10)).all()
    for n in range(23):
        mine = found.tokens[found.offsets[n] : found.offsets[n + 1]]
        whole = cells.take(np.array([n])).tokens
        assert (mine[:-1] == whole[: len(mine) - 1]).all()
        assert mine[-1] == 3


def test_that_tokens_of_another_vocabulary_are_refused(corpus):
    small = RankVocabulary(
        gene_ids=NAMES[:5],
        symbols=NAMES[:5],
        medians_g=np.ones(5),
        token_ids_g=4 + np.arange(5),
        special=VOCABULARY.special,
    )
    with pytest.raises(DataError, match="but the vocabulary has 9 tokens"):
        CorpusCells(corpus, np.arange(23), small, max_tokens=64).take(np.arange(23))
