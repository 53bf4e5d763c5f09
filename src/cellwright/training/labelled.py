"""Cells as tokens with labels: what fine-tuning learns from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

# Tokens in one batch of cells that are only looked at.
_BATCH_TOKENS = 16_384


class CellTokens(Protocol):
    """Cells ready for an encoder."""

    def __len__(self) -> int: ...

    @property
    def lengths_n(self) -> NDArray[np.int64]:
        """Tokens of each cell."""
        ...

    def inputs(self, rows: NDArray[np.int64]) -> tuple[Any, ...]:
        """What the classifier is called with for these cells, in this order."""
        ...


@dataclass(frozen=True)
class BinTokens:
    """bins_ng: uint8 bins, cells × genes of the vocabulary; missing_g: genes the data lack."""

    bins_ng: NDArray[np.uint8]
    missing_g: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.bins_ng)

    @property
    def lengths_n(self) -> NDArray[np.int64]:
        """All cells have all genes."""
        return np.full(len(self.bins_ng), self.bins_ng.shape[1], dtype=np.int64)

    def inputs(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """(n, genes) bins and which of them are hidden."""
        ids_ng = torch.from_numpy(self.bins_ng[rows].astype(np.int64))
        return ids_ng, torch.from_numpy(self.missing_g).expand(len(rows), -1)


@dataclass(frozen=True)
class RankTokens:
    """ids_t: token ids of all cells, one after another; offsets_n: (n + 1,) where each begins."""

    ids_t: NDArray[np.int32]
    offsets_n: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets_n) - 1

    @property
    def lengths_n(self) -> NDArray[np.int64]:
        """Tokens of each cell."""
        return np.diff(self.offsets_n)

    def inputs(self, rows: NDArray[np.int64]) -> tuple[Tensor, list[int]]:
        """Token ids one after another, and the tokens of each cell."""
        parts = [self.ids_t[self.offsets_n[r] : self.offsets_n[r + 1]] for r in rows]
        ids = np.concatenate(parts) if parts else np.empty(0, dtype=np.int32)
        return torch.from_numpy(ids.astype(np.int64)), [len(part) for part in parts]


@dataclass(frozen=True)
class LabelledBatch:
    """inputs: what the classifier is called with; codes_m: the classes of its answers; share: this
    process's part of the whole batch."""

    inputs: tuple[Any, ...]
    codes_m: Tensor
    share: float

    def to(self, device: torch.device) -> LabelledBatch:
        return LabelledBatch(on_device(self.inputs, device), self.codes_m.to(device), self.share)


@dataclass(frozen=True)
class CellLabels:
    """Objective: the class of each cell.

    tokens: all cells; codes_n: their classes, of which only those of ``train`` and ``val`` (rows)
    are looked at; weight_k: what a cell of each class weighs. Without validation cells the loss
    on the training cells stands in, and stops nothing.
    """

    tokens: CellTokens
    codes_n: NDArray[np.int64]
    train: NDArray[np.int64]
    val: NDArray[np.int64]
    weight_k: NDArray[np.float64]

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
    ) -> Iterator[LabelledBatch]:
        """The batches of one epoch, shuffled by (seed, epoch); in a batch the longest cell first."""
        for rows, share in shuffled(
            self.train, batch_size, epoch=epoch, seed=seed, first=first, rank=rank, world=world
        ):
            by_length = rows[np.argsort(-self.tokens.lengths_n[rows], kind="stable")]
            codes_m = torch.from_numpy(self.codes_n[by_length])
            yield LabelledBatch(self.tokens.inputs(by_length), codes_m, share)

    def loss(self, model: nn.Module, batch: LabelledBatch) -> Tensor:
        """Mean weighted cross-entropy."""
        return weighted_loss(model(*batch.inputs), batch.codes_m, self.weight_k)

    def measure(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Weighted loss (nats), accuracy and balanced accuracy on the validation cells."""
        rows = self.val if len(self.val) else self.train
        logits_nk = answers(model, self.tokens, rows, device)
        return measures(logits_nk, self.codes_n[rows], self.weight_k)


def shuffled(
    examples: NDArray[np.int64],
    batch_size: int,
    *,
    epoch: int,
    seed: int,
    first: int,
    rank: int,
    world: int,
) -> Iterator[tuple[NDArray[np.int64], float]]:
    """Batches of examples in the order of (seed, epoch): this process's part and its share."""
    order = np.random.default_rng([seed, epoch]).permutation(examples)
    for start in range(first * batch_size, len(order), batch_size):
        rows = order[start : start + batch_size]
        mine = rows[rank::world]
        yield (mine, len(mine) / len(rows)) if len(mine) else (rows[:1], 0.0)


def answers(
    model: nn.Module, tokens: CellTokens, rows: NDArray[np.int64], device: torch.device
) -> Tensor:
    """Logits of these cells on the CPU, (n, classes), without dropout; the mode is restored."""
    return _in_batches(model, model, tokens, rows, device)


def pooled(model: Any, tokens: CellTokens, rows: NDArray[np.int64], device: torch.device) -> Tensor:
    """What the head is given for these cells, (n, width), on the CPU."""
    return _in_batches(model, model.vectors, tokens, rows, device)


@torch.no_grad()
def _in_batches(
    model: nn.Module, call: Any, tokens: CellTokens, rows: NDArray[np.int64], device: torch.device
) -> Tensor:
    training = model.training
    model.eval()
    lengths_m = tokens.lengths_n[rows]
    order = np.argsort(-lengths_m, kind="stable")
    out: list[Tensor] = []
    start = 0
    while start < len(order):
        size = max(1, min(128, _BATCH_TOKENS // max(int(lengths_m[order[start]]), 1)))
        inputs = on_device(tokens.inputs(rows[order[start : start + size]]), device)
        with torch.autocast(device.type, enabled=False):
            out.append(call(*inputs).float().cpu())
        start += size
    model.train(training)
    found = torch.cat(out)
    back = torch.empty_like(found)
    back[torch.from_numpy(order)] = found
    return back


def on_device(inputs: tuple[Any, ...], device: torch.device) -> tuple[Any, ...]:
    """The tensors among some inputs, moved."""
    return tuple(x.to(device) if isinstance(x, Tensor) else x for x in inputs)


def weighted_loss(logits_mk: Tensor, codes_m: Tensor, weight_k: NDArray[np.float64]) -> Tensor:
    """Mean cross-entropy in nats, each answer times the weight of its class."""
    weights = torch.as_tensor(weight_k, dtype=torch.float32, device=logits_mk.device)
    loss_m = functional.cross_entropy(logits_mk.float(), codes_m, reduction="none")
    return (loss_m * weights[codes_m]).mean()


def measures(
    logits_mk: Tensor, codes_m: NDArray[np.int64], weight_k: NDArray[np.float64]
) -> dict[str, float]:
    """``val_loss`` (nats, weighted), ``val_accuracy`` and ``val_balanced_accuracy``."""
    loss = weighted_loss(logits_mk, torch.from_numpy(codes_m), weight_k)
    right_m = logits_mk.argmax(-1).numpy() == codes_m
    per_class = [right_m[codes_m == k].mean() for k in np.unique(codes_m)]
    return {
        "val_loss": float(loss),
        "val_accuracy": float(right_m.mean()),
        "val_balanced_accuracy": float(np.mean(per_class)),
    }


def class_weights(
    codes_m: NDArray[np.int64], classes: int, class_weight: str | None
) -> NDArray[np.float64]:
    """(k,) weights: ``balanced`` as scikit-learn's, cells / (classes × cells of the class); else 1."""
    size_k = np.bincount(codes_m, minlength=classes).astype(np.float64)
    if class_weight != "balanced":
        return np.ones(classes)
    present = size_k > 0
    weight_k = np.zeros(classes)
    weight_k[present] = len(codes_m) / (present.sum() * size_k[present])
    return weight_k
