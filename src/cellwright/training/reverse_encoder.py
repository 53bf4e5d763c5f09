"""What the network around a pretrained encoder is built and set up from: plain numbers and arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from cellwright.config import resolve, to_dict
from cellwright.errors import DataError
from cellwright.models.build import EncoderSettings, build_encoder
from cellwright.models.rank_encoder import RankShape, random_rank_encoder
from cellwright.models.reverse_encoder import BinGroups, RankGroups
from cellwright.training.reverse_groups import ReverseCells

# Control groups that levels are bounded by, and of which at most so many are encoded at once.
CONTROL_GROUPS = 1000
# Levels of a gene in an encoder of ranks: more would tell values of few control cells apart.
LEVELS = 64


@dataclass(frozen=True)
class EncoderShape:
    """All that an encoder is built from but its weights.

    tokens: ``bins`` or ``ranks``; sizes: of the encoder, :class:`EncoderSettings` or
    :class:`RankShape` as a mapping; vocabulary: genes of an encoder of bins, 0 for ranks; bins: of
    a gene; genes: those of the vocabulary that the network may look at; vector: length of a
    cell's vector; special_ids, frame_ids: as :class:`RankGroups` takes them.
    """

    tokens: Literal["bins", "ranks"]
    sizes: Mapping[str, Any]
    pooling: str
    genes: int
    vector: int
    vocabulary: int = 0
    bins: int = 0
    special_ids: tuple[int, ...] = ()
    frame_ids: tuple[int, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> EncoderShape:
        """What :meth:`to_dict` gave.

        Raises
        ------
        KeyError, TypeError
            If something is missing.
        """
        lists = {name: tuple(found[name]) for name in ("special_ids", "frame_ids")}
        return cls(**{**found, **lists})


@dataclass(frozen=True)
class EncoderStart:
    """A pretrained encoder and where its genes stand among g measured ones.

    name: of the run; weights: pretrained, by the names of the encoder's state; row_g: the gene of
    the vocabulary that each measured gene is, -1 for one it lacks; token_g, median_g: of encoders of
    ranks, the token and the median of each measured gene.
    """

    name: str
    shape: EncoderShape
    weights: Mapping[str, torch.Tensor]
    row_g: NDArray[np.int64]
    token_g: NDArray[np.int64]
    median_g: NDArray[np.float64]

    def only(self, kept_g: NDArray[np.bool_] | None) -> EncoderStart:
        """The same for fewer measured genes; None keeps all."""
        if kept_g is None:
            return self
        parts = (self.row_g[kept_g], self.token_g[kept_g], self.median_g[kept_g])
        shape = replace(self.shape, genes=int((parts[0] >= 0).sum()))
        return EncoderStart(self.name, shape, self.weights, *parts)


def encoder_sizes(settings: EncoderSettings | RankShape) -> dict[str, Any]:
    """The shape of an encoder as plain numbers and words."""
    return to_dict(settings)


def build_groups(shape: EncoderShape, seed: int) -> BinGroups | RankGroups:
    """The encoder with random weights of a seed, ready to take groups once it is set up."""
    if shape.tokens == "bins":
        settings = resolve(EncoderSettings, shape.sizes)
        frequencies_gk = torch.zeros(shape.vocabulary, shape.bins)
        encoder = build_encoder(settings, frequencies_gk, seed)
        return BinGroups(encoder, shape.genes, shape.pooling)
    known = {f.name for f in fields(RankShape)}
    sizes = RankShape(**{k: v for k, v in shape.sizes.items() if k in known})
    return RankGroups(
        random_rank_encoder(sizes, seed, head=False),
        shape.genes,
        LEVELS - 1,
        shape.pooling,
        shape.special_ids,
        shape.frame_ids,
    )


def control_groups(cells: ReverseCells, k: int, seed: int) -> NDArray[np.float32]:
    """Shifts of groups of k control cells from the means of their batches, (groups, g).

    Groups are drawn without replacement where there are cells enough. They know no perturbation.

    Raises
    ------
    DataError
        If there are no control cells.
    """
    rows = np.flatnonzero(cells.condition_n == -1)
    if not len(rows):
        raise DataError("there are no control cells, among which an encoder places every group")
    rng = np.random.default_rng([seed, k])
    taken_qk = np.stack([rng.choice(rows, k, replace=len(rows) < k) for _ in range(CONTROL_GROUPS)])
    q = np.repeat(np.arange(CONTROL_GROUPS), k)
    weight = np.full(len(q), 1 / k)
    flat = taken_qk.ravel()
    n, b = len(cells.condition_n), len(cells.control_bg)
    averaging_qn = sp.csr_matrix((weight, (q, flat)), shape=(CONTROL_GROUPS, n))
    control_qb = sp.csr_matrix((weight, (q, cells.batch_n[flat])), shape=(CONTROL_GROUPS, b))
    shift_qg = (averaging_qn @ cells.expression_ng).toarray() - control_qb @ cells.control_bg
    return np.asarray(shift_qg, dtype=np.float32)


def bounds(shift_qm: NDArray[np.float32], share_mb: NDArray[np.float64]) -> NDArray[np.float32]:
    """The shift below which a share of control groups lies, for every gene and share, (m, b).

    -inf for a share of nothing, so that all shifts are above it, and inf for a share of all.
    """
    ordered_qm = np.sort(shift_qm, axis=0)
    q = len(ordered_qm)
    place_mb = np.clip((share_mb * q).astype(np.int64), 1, q) - 1
    found = np.take_along_axis(ordered_qm.T, place_mb, axis=1).astype(np.float32)
    found[share_mb <= 1e-9] = -np.inf
    found[share_mb >= 1 - 1e-6] = np.inf
    return found


def bin_shares(log_frequencies_mk: torch.Tensor) -> NDArray[np.float64]:
    """Share of the cells an encoder of bins learned from that lie below each bin but the first."""
    frequency_mk = log_frequencies_mk.double().exp().cpu().numpy()
    frequency_mk = frequency_mk / frequency_mk.sum(axis=1, keepdims=True)
    return np.asarray(np.cumsum(frequency_mk, axis=1)[:, :-1])


def rank_shares(genes: int) -> NDArray[np.float64]:
    """Shares below each level but the first, of an encoder of ranks."""
    return np.tile(np.arange(1, LEVELS) / LEVELS, (genes, 1))


def level_values(
    cells: ReverseCells, columns_m: NDArray[np.int64], median_m: NDArray[np.float64]
) -> NDArray[np.float32]:
    """What control cells have at each level of a gene, over the gene's median, (m, levels)."""
    rows = np.flatnonzero(cells.condition_n == -1)
    ordered_nm = np.sort(cells.expression_ng[rows][:, columns_m].toarray(), axis=0)
    place = ((np.arange(LEVELS) + 0.5) / LEVELS * len(rows)).astype(np.int64)
    value_bm = np.expm1(ordered_nm[np.minimum(place, len(rows) - 1)].astype(np.float64))
    return np.asarray((value_bm / median_m).T, dtype=np.float32)
