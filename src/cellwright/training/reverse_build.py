"""A network of the reverse problem from its settings; all that its weights belong to."""

from __future__ import annotations

import torch
from torch import nn

from cellwright.models.reverse_mlp import ReverseMLP
from cellwright.models.reverse_network import ReverseNetwork
from cellwright.training.reverse_settings import NetworkSettings


def build_network(settings: NetworkSettings, *, genes: int, candidates: int) -> ReverseNetwork:
    """Members with weights drawn from the seed; what they are told of data stands in their state.

    A network saved as its state is built again with the same settings and sizes, then loaded.
    """
    with torch.random.fork_rng([]):
        members = []
        for member in range(settings.members):
            torch.manual_seed(settings.seed + 7919 * member)
            members.append(_member(settings, genes, candidates))
    return ReverseNetwork(members, candidates, sets=settings.loss == "sets")


def _member(settings: NetworkSettings, genes: int, candidates: int) -> nn.Module:
    return ReverseMLP(
        genes, candidates, settings.hidden, settings.width, settings.dropout, settings.inputs
    )
