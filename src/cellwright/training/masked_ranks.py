"""The objective on ranks: which gene stood at each selected place, and how well that is told."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from cellwright.models.rank_encoder import RankEncoder
from cellwright.tokens.rank_masking import RankMaskRule
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.training.ranked_batches import (
    RankedBatch,
    RankSource,
    training_batches,
    validation_batches,
)

# Scores (places × tokens) held at a time: a batch of long cells has a hundred times as many.
_SCORES = 1 << 24


class MaskedRankModel(nn.Module):
    """A rank encoder whose forward pass is the loss at each selected place.

    The scores of all tokens at all places would be most of the memory of a step; they are made in
    parts, and made again for the gradient.
    """

    def __init__(self, encoder: RankEncoder) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(
        self, ids_t: Tensor, lengths_n: list[int], targets_m: Tensor, truth_m: Tensor
    ) -> Tensor:
        """Negative log likelihood (nats) of the true token at each selected place, (m,)."""
        (hidden_td,) = self.encoder(ids_t, lengths_n)
        places_md = hidden_td[targets_m]
        step = max(1, _SCORES // self.encoder.shape.tokens)
        if len(places_md) <= step:
            return self._nll(places_md, truth_m)
        parts = [
            checkpoint(self._nll, part, truth, use_reentrant=False, preserve_rng_state=False)
            if torch.is_grad_enabled()
            else self._nll(part, truth)
            for part, truth in zip(
                torch.split(places_md, step), torch.split(truth_m, step), strict=True
            )
        ]
        return torch.cat(parts)

    def _nll(self, places_md: Tensor, truth_m: Tensor) -> Tensor:
        logits = self.encoder.logits(places_md).float()
        return functional.cross_entropy(logits, truth_m, reduction="none")


@dataclass(frozen=True)
class RankMeasures:
    """Measured on held-out cells over all selected places, those left in place or swapped included.

    nll_n, free_nll_n: (n,) summed negative log likelihood (nats) of each cell, and the same with
    the genes that the cell shows at other places ruled out, as no gene stands twice; places_n: (n,)
    selected places; hidden_nll, hidden_places, hidden_hits: over the places that show ``<mask>``
    alone; hits: places at which the likeliest token is the true one.
    """

    nll_n: NDArray[np.float64]
    free_nll_n: NDArray[np.float64]
    places_n: NDArray[np.int64]
    hits: int
    hidden_nll: float
    hidden_places: int
    hidden_hits: int

    @property
    def loss(self) -> float:
        """Mean negative log likelihood per place in nats; lower is better."""
        return float(self.nll_n.sum() / self.places_n.sum())

    @property
    def perplexity(self) -> float:
        """exp(loss): 1 is perfect, the number of genes is a blind guess."""
        return math.exp(self.loss)

    @property
    def free_perplexity(self) -> float:
        """The same with the genes shown at other places ruled out."""
        return math.exp(float(self.free_nll_n.sum() / self.places_n.sum()))

    @property
    def hidden_perplexity(self) -> float:
        """Perplexity over the places that show ``<mask>``; NaN where there is none."""
        return math.exp(self.hidden_nll / self.hidden_places) if self.hidden_places else math.nan

    @property
    def accuracy(self) -> float:
        """Share of places whose likeliest token is the true one; higher is better."""
        return float(self.hits / self.places_n.sum())

    @property
    def hidden_accuracy(self) -> float:
        """The same over the places that show ``<mask>``; NaN where there is none."""
        return self.hidden_hits / self.hidden_places if self.hidden_places else math.nan

    @property
    def bits_per_gene(self) -> float:
        """The loss in bits per selected gene."""
        return self.loss / math.log(2)


@dataclass(frozen=True)
class MaskedRanks:
    """The objective of naming the selected genes; validation cells keep their masks.

    train, val: cells in rank tokens; seed: of the validation masks.
    """

    train: RankSource
    val: RankSource
    vocabulary: RankVocabulary
    rule: RankMaskRule
    seed: int
    val_batch_size: int = 128

    def __len__(self) -> int:
        return len(self.train)

    def training_batches(
        self,
        *,
        batch_size: int,
        epoch: int,
        seed: int,
        first: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> Iterator[RankedBatch]:
        return training_batches(
            self.train,
            self.rule,
            self.vocabulary,
            batch_size=batch_size,
            epoch=epoch,
            seed=seed,
            first=first,
            rank=rank,
            world=world,
        )

    def loss(self, model: nn.Module, batch: RankedBatch) -> Tensor:
        nll_m: Tensor = model(batch.ids_t, batch.lengths_n, batch.targets_m, batch.truth_m)
        return nll_m.mean()

    def measure(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        found = self.measured(model, self.val, device)
        return {
            "val_loss": found.loss,
            "perplexity": found.perplexity,
            "free_perplexity": found.free_perplexity,
            "hidden_perplexity": found.hidden_perplexity,
            "masked_accuracy": found.accuracy,
            "hidden_accuracy": found.hidden_accuracy,
            "bits_per_gene": found.bits_per_gene,
        }

    def measured(self, model: Any, cells: RankSource, device: torch.device) -> RankMeasures:
        """Score a model on cells under their fixed masks."""
        batches = validation_batches(
            cells, self.rule, self.vocabulary, batch_size=self.val_batch_size, seed=self.seed
        )
        return measure(model.encoder, batches, len(cells), self.vocabulary, device)


@torch.no_grad()
def measure(
    encoder: RankEncoder,
    batches: Iterable[RankedBatch],
    n_cells: int,
    vocabulary: RankVocabulary,
    device: torch.device,
) -> RankMeasures:
    """Score an encoder in float32 without dropout; its training mode is restored."""
    training = encoder.training
    encoder.eval()
    nll_n, free_n = np.zeros(n_cells), np.zeros(n_cells)
    places_n = np.zeros(n_cells, dtype=np.int64)
    hits = hidden_hits = hidden_places = 0
    hidden_nll = 0.0
    for cpu_batch in batches:
        batch = cpu_batch.to(device)
        with torch.autocast(device.type, enabled=False):
            (hidden_td,) = encoder(batch.ids_t, batch.lengths_n)
            nll_m, free_m, right_m = _scored(encoder, hidden_td, batch)
        hidden_m = (cpu_batch.ids_t[cpu_batch.targets_m] == vocabulary.mask_id).numpy()
        cells_m, n = cpu_batch.cells_m.numpy(), len(cpu_batch.rows)
        nll_n[cpu_batch.rows] = np.bincount(cells_m, nll_m, minlength=n)
        free_n[cpu_batch.rows] = np.bincount(cells_m, free_m, minlength=n)
        places_n[cpu_batch.rows] = np.bincount(cells_m, minlength=n)
        hits += int(right_m.sum())
        hidden_hits += int(right_m[hidden_m].sum())
        hidden_places += int(hidden_m.sum())
        hidden_nll += float(nll_m[hidden_m].sum())
    encoder.train(training)
    return RankMeasures(nll_n, free_n, places_n, hits, hidden_nll, hidden_places, hidden_hits)


def _scored(
    encoder: RankEncoder, hidden_td: Tensor, batch: RankedBatch
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Loss, loss with the cell's other genes ruled out, and whether the first guess is right, (m,)."""
    shown_nv = _shown(batch, encoder.shape.tokens)
    nll, free, right = [], [], []
    step = max(1, _SCORES // encoder.shape.tokens)
    places_md = hidden_td[batch.targets_m]
    for part_md, truth, cells in zip(
        torch.split(places_md, step),
        torch.split(batch.truth_m, step),
        torch.split(batch.cells_m, step),
        strict=True,
    ):
        logits = encoder.logits(part_md)
        own = logits.gather(1, truth[:, None])[:, 0]
        nll.append(logits.logsumexp(1) - own)
        right.append(logits.argmax(1) == truth)
        free.append(logits.masked_fill_(shown_nv[cells], -math.inf).logsumexp(1) - own)
    if not nll:
        return np.empty(0), np.empty(0), np.empty(0, dtype=np.bool_)
    # Summed in float64 by NumPy, which every device can hand to (MPS has no float64).
    return (
        torch.cat(nll).cpu().numpy().astype(np.float64),
        torch.cat(free).cpu().numpy().astype(np.float64),
        torch.cat(right).cpu().numpy(),
    )


def _shown(batch: RankedBatch, tokens: int) -> Tensor:
    """(cells, tokens): which tokens a cell shows at places that are not selected."""
    device = batch.ids_t.device
    lengths = torch.tensor(batch.lengths_n, device=device)
    cells_t = torch.repeat_interleave(torch.arange(len(lengths), device=device), lengths)
    shown_nv = torch.zeros(len(lengths), tokens, dtype=torch.bool, device=device)
    others_t = torch.ones(len(cells_t), dtype=torch.bool, device=device)
    others_t[batch.targets_m] = False
    shown_nv[cells_t[others_t], batch.ids_t[others_t]] = True
    # In a well-formed cell no gene stands twice; in another its loss would be infinite.
    shown_nv[batch.cells_m, batch.truth_m] = False
    return shown_nv


@torch.no_grad()
def example(
    encoder: RankEncoder, batch: RankedBatch, top: int = 3
) -> list[tuple[int, int, list[tuple[int, float]]]]:
    """The likeliest tokens at each selected place of the first cell of ``batch``.

    Returns
    -------
    Per place the true token, the token shown, and ``top`` of (token, probability).
    """
    encoder.eval()
    one = batch.to(encoder.tokens.weight.device)
    (hidden_td,) = encoder(one.ids_t, one.lengths_n)
    first_m = one.cells_m == 0
    places_m = one.targets_m[first_m]
    best = encoder.logits(hidden_td[places_m]).softmax(-1).topk(top, dim=-1)
    return [
        (int(truth), int(shown), [(int(v), float(p)) for p, v in zip(ps, vs, strict=True)])
        for truth, shown, ps, vs in zip(
            one.truth_m[first_m], one.ids_t[places_m], best.values, best.indices, strict=True
        )
    ]
