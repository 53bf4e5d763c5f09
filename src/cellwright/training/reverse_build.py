"""A network of the reverse problem from its settings; all that its weights belong to."""

from __future__ import annotations

import torch
from torch import nn

from cellwright.models.reverse_attention import ReverseAttention, ReverseMultiHead
from cellwright.models.reverse_candidates import ReverseCrossAttention, ReverseGraph
from cellwright.models.reverse_mlp import ReverseMLP
from cellwright.models.reverse_network import ReverseNetwork
from cellwright.training.reverse_settings import NetworkSettings


def build_network(
    settings: NetworkSettings, *, genes: int, candidates: int, features: int = 0, pairs: int = 0
) -> ReverseNetwork:
    """Members with weights drawn from the seed; what they are told of data stands in their state.

    A network saved as its state is built again with the same settings and sizes, then loaded.

    Parameters
    ----------
    features, pairs
        Columns of gene knowledge, and of what is known of pairs of candidates.
    """
    with torch.random.fork_rng([]):
        members = []
        for member in range(settings.members):
            torch.manual_seed(settings.seed + 7919 * member)
            members.append(_member(settings, genes, candidates, features, pairs))
    return ReverseNetwork(members, candidates, sets=settings.loss == "sets")


def _member(
    settings: NetworkSettings, genes: int, candidates: int, features: int, pairs: int
) -> nn.Module:
    s = settings
    first = (genes, candidates, s.hidden, s.width, s.dropout)
    match s.kind:
        case "mlp":
            return ReverseMLP(*first, s.inputs)
        case "attention":
            return ReverseAttention(*first, s.inputs)
        case "multi-head":
            return ReverseMultiHead(*first, s.heads, s.inputs)
        case "cross-attention":
            return ReverseCrossAttention(*first, s.heads, s.inputs, features, pairs)
        case "graph":
            return ReverseGraph(*first, s.heads, s.layers, s.inputs, features, pairs)
