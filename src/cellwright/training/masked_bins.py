"""The objective: cross-entropy of the masked bins, and what is measured of it on held-out cells."""

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

from cellwright.tokens.masking import MaskRule
from cellwright.training.batches import (
    BinnedCells,
    MaskedBatch,
    training_batches,
    validation_batches,
)


@dataclass(frozen=True)
class MaskedMeasures:
    """Measured on held-out cells over all masked positions.

    loss: mean negative log likelihood in nats (lower is better); the accuracies are the share of
    masked positions whose most probable bin is the true one, over all, over true bin 0, and over
    the others (higher is better; NaN where there is none); nll_n: mean loss of each cell.
    """

    loss: float
    accuracy: float
    zero_accuracy: float
    nonzero_accuracy: float
    positions: int
    nll_n: NDArray[np.float64]

    @property
    def perplexity(self) -> float:
        """exp(loss): 1 is perfect, the number of bins is a blind guess."""
        return math.exp(self.loss)

    @property
    def bits_per_gene(self) -> float:
        """The loss in bits per masked gene."""
        return self.loss / math.log(2)


@dataclass(frozen=True)
class MaskedBins:
    """The objective of predicting masked bins; validation cells keep their masks.

    train, val: tokenized cells; seed: of the validation masks.
    """

    train: BinnedCells
    val: BinnedCells
    rule: MaskRule
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
    ) -> Iterator[MaskedBatch]:
        return training_batches(
            self.train,
            self.rule,
            batch_size=batch_size,
            epoch=epoch,
            seed=seed,
            first=first,
            rank=rank,
            world=world,
        )

    def loss(self, model: nn.Module, batch: MaskedBatch) -> Tensor:
        return masked_loss(model(batch.value_ids_ng, batch.hidden_ng, batch.targets_nm), batch)

    def measure(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        batches = validation_batches(
            self.val, self.rule, batch_size=self.val_batch_size, seed=self.seed
        )
        found = measure(model, batches, device)
        return {
            "val_loss": found.loss,
            "perplexity": found.perplexity,
            "masked_accuracy": found.accuracy,
            "zero_accuracy": found.zero_accuracy,
            "nonzero_accuracy": found.nonzero_accuracy,
            "bits_per_gene": found.bits_per_gene,
        }


def masked_loss(logits_nmk: Tensor, batch: MaskedBatch) -> Tensor:
    """Mean cross-entropy of the masked positions of this batch."""
    return functional.cross_entropy(logits_nmk.flatten(0, 1), batch.truth_nm.flatten())


@torch.no_grad()
def measure(
    model: nn.Module, batches: Iterable[MaskedBatch], device: torch.device
) -> MaskedMeasures:
    """Score a model in float32 without dropout; its training mode is restored."""
    training = model.training
    model.eval()
    per_cell: list[NDArray[np.float64]] = []
    hits = {True: 0, False: 0}
    seen = {True: 0, False: 0}
    for cpu_batch in batches:
        batch = cpu_batch.to(device)
        with torch.autocast(device.type, enabled=False):
            logits = model(batch.value_ids_ng, batch.hidden_ng, batch.targets_nm)
        # Summed in float64 on the CPU, which every device can hand to (MPS has no float64).
        logits, truth_nm = logits.cpu().double(), cpu_batch.truth_nm
        nll_m = functional.cross_entropy(logits.flatten(0, 1), truth_nm.flatten(), reduction="none")
        per_cell.append(nll_m.view(truth_nm.shape).mean(1).numpy())
        right = logits.argmax(-1) == truth_nm
        for zero in (True, False):
            of_kind = (truth_nm == 0) == zero
            seen[zero] += int(of_kind.sum())
            hits[zero] += int((right & of_kind).sum())
    model.train(training)
    total = seen[True] + seen[False]
    nll_n = np.concatenate(per_cell)
    return MaskedMeasures(
        loss=float(nll_n.mean()),
        accuracy=(hits[True] + hits[False]) / total,
        zero_accuracy=hits[True] / seen[True] if seen[True] else math.nan,
        nonzero_accuracy=hits[False] / seen[False] if seen[False] else math.nan,
        positions=total,
        nll_n=nll_n,
    )


@torch.no_grad()
def example(model: nn.Module, batch: MaskedBatch, top: int = 3) -> list[dict[str, Any]]:
    """The ``top`` most probable bins at each masked gene of the first cell of ``batch``.

    Returns
    -------
    One dict per masked gene: ``column``, ``true_bin``, ``top`` as (bin, probability) pairs.
    """
    model.eval()
    device = next(model.parameters()).device
    one = MaskedBatch(
        batch.value_ids_ng[:1],
        batch.hidden_ng[:1],
        batch.targets_nm[:1],
        batch.truth_nm[:1],
        1.0,
    ).to(device)
    logits_mk = model(one.value_ids_ng, one.hidden_ng, one.targets_nm)[0]
    best = logits_mk.softmax(-1).topk(min(top, logits_mk.shape[-1]), dim=-1)
    return [
        {
            "column": int(column),
            "true_bin": int(truth),
            "top": [[int(k), round(float(p), 4)] for p, k in zip(ps, ks, strict=True)],
        }
        for column, truth, ps, ks in zip(
            one.targets_nm[0], one.truth_nm[0], best.values, best.indices, strict=True
        )
    ]
