"""Batches of masked ranked cells, of about equal length, that depend on (seed, epoch, cell) alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellwright.data.rank_corpus import RankBatch, RankCorpus
from cellwright.errors import DataError
from cellwright.tokens.rank_masking import RankMaskRule, mask_ranks
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.training.batches import VALIDATION_EPOCH, batches_per_epoch

# Tokens that pass a model together where nothing is learned: enough to keep every core busy.
_SCORED_TOKENS = 16_384


class RankSource(Protocol):
    """Cells in rank tokens, in memory or on disk.

    lengths_n: (n,) tokens of each cell; keys_n: (n,) uint64, what masks are drawn from.
    """

    @property
    def lengths_n(self) -> NDArray[np.int64]: ...
    @property
    def keys_n(self) -> NDArray[np.uint64]: ...

    def __len__(self) -> int: ...

    def take(self, rows: NDArray[np.int64]) -> RankBatch:
        """The tokens of some cells, in the order given."""
        ...


@dataclass(frozen=True)
class RankedCells:
    """Cells in memory: ids_t, their tokens one after another; offsets_n: (n + 1,) where each begins;
    keys_n: one key per cell (``tokens.masking.cell_keys``)."""

    ids_t: NDArray[np.int32]
    offsets_n: NDArray[np.int64]
    keys_n: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.keys_n)

    @property
    def lengths_n(self) -> NDArray[np.int64]:
        return np.diff(self.offsets_n)

    def take(self, rows: NDArray[np.int64]) -> RankBatch:
        starts_n, sizes_n = self.offsets_n[:-1][rows], self.lengths_n[rows]
        offsets = np.concatenate([[0], np.cumsum(sizes_n)]).astype(np.int64)
        at_t = np.arange(offsets[-1]) + np.repeat(starts_n - offsets[:-1], sizes_n)
        return RankBatch(rows, self.ids_t[at_t], offsets)


class CorpusCells:
    """Some cells of a folder of tokens, which stay on disk; a cell's key is its row in the folder.

    Longer cells are cut to ``max_tokens``; where the vocabulary has ``<eos>`` it stays the last.
    """

    def __init__(
        self,
        corpus: RankCorpus,
        rows: NDArray[np.int64],
        vocabulary: RankVocabulary,
        max_tokens: int,
    ) -> None:
        self._path = corpus.path
        self._corpus: RankCorpus | None = corpus
        self._rows = rows
        self._limit = max_tokens
        self._eos_id = vocabulary.eos_id
        self._tokens = vocabulary.n_tokens
        self.lengths_n = np.minimum(corpus.lengths_n[rows], max_tokens).astype(np.int64)
        self.keys_n = rows.astype(np.uint64)

    def __len__(self) -> int:
        return len(self._rows)

    def __getstate__(self) -> dict[str, Any]:
        # Another process maps the folder itself: a pickled table would be a copy of it.
        return {**self.__dict__, "_corpus": None}

    def take(self, rows: NDArray[np.int64]) -> RankBatch:
        """The tokens of some cells.

        Raises
        ------
        DataError
            If a token is not in the vocabulary.
        """
        if self._corpus is None:
            self._corpus = RankCorpus.open(Path(self._path))
        whole = self._corpus.take(self._rows[rows])
        if whole.tokens.size and not -1 < whole.tokens.min() <= whole.tokens.max() < self._tokens:
            wrong = whole.tokens[(whole.tokens < 0) | (whole.tokens >= self._tokens)][0]
            raise DataError(
                f"{self._path} has the token {wrong}, but the vocabulary has {self._tokens:,} "
                "tokens; give the vocabulary these cells were tokenized with"
            )
        sizes_n = np.minimum(np.diff(whole.offsets), self._limit)
        if (sizes_n == np.diff(whole.offsets)).all():
            return RankBatch(rows, whole.tokens, whole.offsets)
        offsets = np.concatenate([[0], np.cumsum(sizes_n)]).astype(np.int64)
        at_t = np.arange(offsets[-1]) + np.repeat(whole.offsets[:-1] - offsets[:-1], sizes_n)
        tokens = whole.tokens[at_t]
        if self._eos_id is not None:
            cut = sizes_n < np.diff(whole.offsets)
            tokens[offsets[1:][cut] - 1] = self._eos_id
        return RankBatch(rows, tokens, offsets)


@dataclass(frozen=True)
class RankedBatch:
    """ids_t: int64 tokens as shown, cells one after another; lengths_n: of each cell; targets_m: the
    selected places; truth_m: the tokens that stood there; cells_m: of which cell of the batch;
    rows: positions of the cells; share: this process's part of the selected places."""

    ids_t: Tensor
    lengths_n: list[int]
    targets_m: Tensor
    truth_m: Tensor
    cells_m: Tensor
    rows: NDArray[np.int64]
    share: float

    def to(self, device: torch.device) -> RankedBatch:
        return RankedBatch(
            self.ids_t.to(device),
            self.lengths_n,
            self.targets_m.to(device),
            self.truth_m.to(device),
            self.cells_m.to(device),
            self.rows,
            self.share,
        )


def masked_batch(
    cells: RankSource,
    rows: NDArray[np.int64],
    rule: RankMaskRule,
    vocabulary: RankVocabulary,
    epoch: int,
    seed: int,
    share: float = 1.0,
) -> RankedBatch:
    """The masked batch of these rows."""
    found = cells.take(rows)
    masked = mask_ranks(
        rule,
        found.tokens,
        found.offsets,
        cells.keys_n[rows],
        vocabulary.token_ids_g,
        vocabulary.mask_id,
        epoch,
        seed,
    )
    return RankedBatch(
        torch.from_numpy(masked.shown_t.astype(np.int64)),
        np.diff(found.offsets).tolist(),
        torch.from_numpy(masked.targets_m),
        torch.from_numpy(masked.truth_m.astype(np.int64)),
        torch.from_numpy(masked.cells_m),
        rows,
        share,
    )


def training_batches(
    cells: RankSource,
    rule: RankMaskRule,
    vocabulary: RankVocabulary,
    *,
    batch_size: int,
    epoch: int,
    seed: int,
    first: int = 0,
    rank: int = 0,
    world: int = 1,
) -> Iterator[RankedBatch]:
    """The batches of one epoch from number ``first`` on, in an order of (seed, epoch).

    Cells of about equal length come together, those of equal length mixed anew each epoch. Cells
    that do not fill a batch are drawn from all and come last. Of each batch a process takes every
    ``world``-th cell; ``share`` is its part of the selected places, so that together the processes
    take the step that one would.
    """
    special = 0 if vocabulary.cls_id is None else 2
    order = np.random.default_rng([seed, epoch])
    rows_n = order.permutation(len(cells))
    n_full = len(cells) // batch_size
    full = _longest_first(rows_n[: n_full * batch_size], cells.lengths_n)
    batches = list(full.reshape(n_full, batch_size)[order.permutation(n_full)])
    if len(batches) < batches_per_epoch(len(cells), batch_size):
        batches.append(_longest_first(rows_n[n_full * batch_size :], cells.lengths_n))
    for rows in batches[first:]:
        mine = rows[rank::world]
        if len(mine) == 0:  # fewer cells than processes: repeat one at no weight
            yield masked_batch(cells, rows[:1], rule, vocabulary, epoch, seed, share=0.0)
            continue
        selected_n = rule.n_selected(np.maximum(cells.lengths_n[rows] - special, 0))
        share = float(selected_n[rank::world].sum() / max(1, selected_n.sum()))
        yield masked_batch(cells, mine, rule, vocabulary, epoch, seed, share)


def validation_batches(
    cells: RankSource,
    rule: RankMaskRule,
    vocabulary: RankVocabulary,
    *,
    batch_size: int,
    seed: int,
) -> Iterator[RankedBatch]:
    """All cells under their fixed masks, the longest first, few where they are long."""
    order = _longest_first(np.arange(len(cells), dtype=np.int64), cells.lengths_n)
    start = 0
    while start < len(order):
        longest = max(1, int(cells.lengths_n[order[start]]))
        stop = start + min(batch_size, max(1, _SCORED_TOKENS // longest))
        yield masked_batch(cells, order[start:stop], rule, vocabulary, VALIDATION_EPOCH, seed)
        start = stop


def _longest_first(rows: NDArray[np.int64], lengths_n: NDArray[np.int64]) -> NDArray[np.int64]:
    return rows[np.argsort(-lengths_n[rows], kind="stable")]
