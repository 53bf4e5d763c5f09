"""A network of the reverse problem from its settings; all that its weights belong to."""

from __future__ import annotations

import torch
from torch import nn

from cellwright.errors import SettingsError
from cellwright.models.reverse_attention import ReverseAttention, ReverseMultiHead
from cellwright.models.reverse_candidates import ReverseCrossAttention, ReverseGraph
from cellwright.models.reverse_encoder import ReverseEncoder
from cellwright.models.reverse_mlp import ReverseMLP
from cellwright.models.reverse_network import ReverseNetwork
from cellwright.training.reverse_encoder import EncoderShape, build_groups
from cellwright.training.reverse_settings import ENCODERS, NETWORKS, NetworkSettings


def build_network(
    settings: NetworkSettings,
    *,
    genes: int,
    candidates: int,
    features: int = 0,
    pairs: int = 0,
    encoder: EncoderShape | None = None,
) -> ReverseNetwork:
    """Members with weights drawn from the seed; what they are told of data stands in their state.

    A network saved as its state is built again with the same settings and sizes, then loaded.

    Parameters
    ----------
    features, pairs
        Columns of gene knowledge, and of what is known of pairs of candidates.
    encoder
        What networks of the kinds ``encoder`` and ``encoder-untrained`` are built around.

    Raises
    ------
    SettingsError
        If such a network is asked for without one.
    """
    if settings.kind in ENCODERS and encoder is None:
        raise SettingsError(
            f"a network of the kind {settings.kind} is made of a pretrained run: give its folder "
            "with --pretrained"
        )
    with torch.random.fork_rng([]):
        members: list[nn.Module] = []
        for member in range(settings.members):
            seed = settings.seed + 7919 * member
            torch.manual_seed(seed)
            if encoder is not None and settings.kind in ENCODERS:
                members.append(_around(encoder, settings, genes, candidates, seed))
            else:
                members.append(_member(settings, genes, candidates, features, pairs))
    return ReverseNetwork(members, candidates, sets=settings.loss == "sets")


def _around(
    shape: EncoderShape, settings: NetworkSettings, genes: int, candidates: int, seed: int
) -> ReverseEncoder:
    s = settings
    cells = build_groups(shape, seed)
    profile = 0 if s.encoder_alone else genes
    return ReverseEncoder(
        cells, shape.vector, profile, candidates, s.hidden, s.width, s.dropout, s.inputs
    )


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
        case _:
            raise SettingsError(f"the kind is {s.kind!r}, expected one of {', '.join(NETWORKS)}")
