"""Low-rank adaptation: instead of a weight, train a small change of it.

Hu et al. (2021), arXiv:2106.09685: ``W + B A · alpha / rank`` with B at zero, so that training
starts at the pretrained weights. The change is a parametrisation of the weight itself, which also
reaches the weights inside ``nn.MultiheadAttention``, and ``merge_lora`` leaves a plain encoder.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from cellwright.errors import SettingsError
from cellwright.models.freezing import Encoder, layers_of


class LowRank(nn.Module):
    """Adds ``B A · alpha / rank`` to a weight of shape (outputs, inputs)."""

    def __init__(self, weight_oi: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        outputs, inputs = weight_oi.shape
        self.scale = alpha / rank
        self.a_ri = nn.Parameter(weight_oi.new_empty(rank, inputs))
        self.b_or = nn.Parameter(weight_oi.new_zeros(outputs, rank))
        nn.init.kaiming_uniform_(self.a_ri, a=math.sqrt(5))

    def forward(self, weight_oi: Tensor) -> Tensor:
        """The changed weight."""
        return weight_oi + self.scale * (self.b_or @ self.a_ri)


def add_lora(model: Encoder, rank: int = 8, alpha: float = 16.0, *, seed: int = 0) -> int:
    """Freeze the encoder and give every matrix of its unfrozen layers a low-rank change to learn.

    Parameters
    ----------
    rank
        Inner size of the change; of a matrix d × d, 2 d · rank numbers are trained.
    alpha
        The change is scaled by ``alpha / rank``.
    seed
        Of the starting values; the global generator is left as it was.

    Returns
    -------
    The number of parameters that are trained now.

    Raises
    ------
    SettingsError
        If the rank is below 1, or no layer is left to change.
    """
    if rank < 1:
        raise SettingsError(f"the rank of --lora is {rank}, expected at least 1")
    matrices = [
        (module, name)
        for layer in layers_of(model)
        for module in layer.modules()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim == 2 and parameter.requires_grad
    ]
    if not matrices:
        raise SettingsError(
            f"--lora changes the layers that are not frozen, and none of {len(layers_of(model))} "
            "is left: lower --freeze-layers, or leave out --lora"
        )
    model.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module, name in matrices:
            change = LowRank(getattr(module, name), rank, alpha)
            parametrize.register_parametrization(module, name, change)
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def merge_lora(model: Encoder) -> None:
    """Write the changes into the weights and leave a plain encoder; without changes, nothing."""
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)
