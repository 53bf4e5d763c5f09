"""What the training loop asks of Lightning Fabric, for one process on one device, without importing it.

Fabric brings 75 MB of libraries into the process, and 110 MB more where torchmetrics is installed: as
much as a linear decoder and its optimizer take together, which is trained by one process in any case.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class OneDevice:
    """Plain PyTorch under the names of Fabric; full precision, no other processes."""

    world_size, global_rank, is_global_zero = 1, 0, True

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)

    def setup(self, model: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        """Put the model on the device; its parameters stay the optimizer's."""
        return model.to(self.device), optimizer

    def backward(self, loss: Tensor) -> None:
        """Gradients of ``loss``."""
        torch.autograd.backward(loss)

    def clip_gradients(
        self, model: nn.Module, optimizer: Optimizer, *, max_norm: float, error_if_nonfinite: bool
    ) -> Tensor:
        """Scale the gradients down to ``max_norm``; returns the norm they had."""
        found: Tensor = torch.nn.utils.clip_grad_norm_(
            model.parameters(), max_norm, error_if_nonfinite=error_if_nonfinite
        )
        return found

    def barrier(self) -> None:
        """Nobody is waited for."""

    def all_reduce(self, given: Any, *, reduce_op: str) -> Any:
        """The sum over one process: what is given."""
        return given
