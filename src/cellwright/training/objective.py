"""What the training loop asks of an objective: batches, a loss, and a measure on held-out examples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Protocol, Self, runtime_checkable

import torch
from torch import Tensor, nn


class Batch(Protocol):
    """Examples of one step; ``share`` is this process's part of the whole batch, by examples."""

    @property
    def share(self) -> float: ...

    def to(self, device: torch.device) -> Self: ...


class Objective(Protocol):
    """What is learned, from which examples, and how it is measured.

    ``len()`` is the number of training examples, and every batch but the last of an epoch holds
    ``batch_size`` of them over all processes. Batches depend on (seed, epoch, example) alone, so
    that a run that continues sees what it would have seen.
    """

    def __len__(self) -> int: ...

    def training_batches(
        self,
        *,
        batch_size: int,
        epoch: int,
        seed: int,
        first: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> Iterator[Any]:
        """The batches (:class:`Batch`) of one epoch from number ``first`` on, of one process."""
        ...

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """The mean loss over this process's part of the batch."""
        ...

    def measure(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Columns of the history on validation examples.

        ``val_loss`` (lower is better) must be among them: it chooses the best epoch.
        """
        ...


@runtime_checkable
class BringsOptimizer(Protocol):
    """An objective that is learned with an optimizer of its own instead of the loop's AdamW."""

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer: ...


@runtime_checkable
class WarmsUp(Protocol):
    """An objective that changes over its first epochs: patience begins behind them."""

    warmup_epochs: int


class Optimisation(Protocol):
    """The settings of the loop; ``batch_size`` is that of all processes together.

    ``patience`` stops after so many epochs without a better validation loss; None never.
    """

    @property
    def seed(self) -> int: ...
    @property
    def epochs(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def schedule(self) -> Literal["one-cycle", "constant"]: ...
    @property
    def warmup_share(self) -> float: ...
    @property
    def clip_norm(self) -> float: ...
    @property
    def patience(self) -> int | None: ...
