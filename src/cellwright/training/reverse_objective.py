"""Which genes were perturbed, as an objective of the training loop."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from types import MappingProxyType
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor, nn

from cellwright.models.reverse_network import ReverseNetwork
from cellwright.models.reverse_sets import SetHead, SetScores, gene_loss, gene_scores, set_loss
from cellwright.training.batches import batches_per_epoch
from cellwright.training.reverse_groups import (
    Groups,
    ReverseCells,
    draw_groups,
    examples_per_epoch,
    held_out_groups,
)
from cellwright.training.reverse_settings import NetworkSettings

# Groups of a condition on which validation is measured.
_MOST = 16
# Queries answered at once, and numbers in their tables of pairs of genes.
_AT_ONCE = 256
_TABLE = 16_000_000
# Factors of the first sharpness that are tried, on so many batches.
_SHARPER = tuple(2.0 ** (step / 2) for step in range(-6, 9))
_SHARPEN_ON = 6


@dataclass(frozen=True)
class GroupBatch:
    """Training groups of one step."""

    shift_qg: Tensor
    mean_qg: Tensor
    target_qc: Tensor
    share: float = 1.0

    @classmethod
    def of(cls, groups: Groups, share: float = 1.0) -> Self:
        """From arrays."""
        return cls(
            torch.from_numpy(groups.shift_qg),
            torch.from_numpy(groups.mean_qg),
            torch.from_numpy(groups.target_qc),
            share,
        )

    def to(self, device: torch.device) -> GroupBatch:
        """The same on a device."""
        return GroupBatch(
            self.shift_qg.to(device), self.mean_qg.to(device), self.target_qc.to(device), self.share
        )


class NamedGenes:
    """Groups of training conditions and synthetic doubles; measured on validation conditions.

    Without validation conditions ``val_loss`` is not a number and nothing is chosen by it.

    Parameters
    ----------
    watched
        Groups that only the curves are for; their columns are ``NAME_loss``, ``NAME_mrr`` and
        ``NAME_f1``: of as many genes named as were perturbed.
    """

    def __init__(
        self,
        cells: ReverseCells,
        settings: NetworkSettings,
        watched: Mapping[str, Groups] = MappingProxyType({}),
    ) -> None:
        self.cells, self.settings = cells, settings
        self._measured = {
            name: GroupBatch.of(groups) for name, groups in watched.items() if len(groups)
        }
        if len(cells.val_p):
            drawn = held_out_groups(
                cells, cells.val_p, k=settings.k, most=_MOST, seed=settings.seed
            )
            self._measured["val"] = GroupBatch.of(drawn)

    def __len__(self) -> int:
        return examples_per_epoch(self.cells, self.settings.groups, self.settings.sums)

    def training_batches(
        self,
        *,
        batch_size: int,
        epoch: int,
        seed: int,
        first: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> Iterator[GroupBatch]:
        """The batches of one epoch, examples in an order of that epoch."""
        order = np.random.default_rng([seed, epoch]).permutation(len(self))
        for number in range(first, batches_per_epoch(len(self), batch_size)):
            whole = order[number * batch_size : (number + 1) * batch_size]
            mine = whole[rank::world]
            if not len(mine):  # every process takes every step; this one weighs nothing
                mine = whole[:1]
            groups = draw_groups(
                self.cells,
                mine,
                k=self.settings.k,
                groups=self.settings.groups,
                epoch=epoch,
                seed=seed,
            )
            share = len(whole[rank::world]) / len(whole)
            yield GroupBatch.of(groups, share)

    def loss(self, model: nn.Module, batch: GroupBatch) -> Tensor:
        """Mean over groups and members."""
        return self._loss_q(model, batch).mean()

    def _loss_q(self, model: nn.Module, batch: GroupBatch) -> Tensor:
        scores = model(batch.shift_qg, batch.mean_qg)
        return _losses(self.settings.loss, scores, batch.target_qc, _network(model).seen_c)

    def measure(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """Loss, mean reciprocal rank and F1 of every measured set of groups."""
        model.eval()
        out: dict[str, float] = {"val_loss": math.nan}
        with torch.no_grad():
            for name, batch in self._measured.items():
                loss, mrr, f1 = self._measure(model, batch, device)
                out |= {f"{name}_loss": loss, f"{name}_mrr": mrr, f"{name}_f1": f1}
        model.train()
        return out

    def _measure(
        self, model: nn.Module, batch: GroupBatch, device: torch.device
    ) -> tuple[float, float, float]:
        network = _network(model)
        losses, reciprocal, hits = [], [], []
        step = _at_once(network)
        for start in range(0, len(batch.shift_qg), step):
            at = slice(start, start + step)
            part = GroupBatch(batch.shift_qg[at], batch.mean_qg[at], batch.target_qc[at]).to(device)
            # A gene that training never saw perturbed has no loss of its own.
            known_q = (part.target_qc & ~network.seen_c).sum(dim=1) == 0
            losses.append(self._loss_q(model, part)[known_q].cpu())
            logit_qc = network.logits(part.shift_qg, part.mean_qg)
            order_qc = logit_qc.argsort(dim=1, descending=True)
            hit_qc = part.target_qc.gather(1, order_qc)
            found_qc = hit_qc & torch.isfinite(logit_qc).gather(1, order_qc)
            place_q = found_qc.int().argmax(dim=1) + 1
            reciprocal.append(torch.where(found_qc.any(dim=1), 1 / place_q, 0.0).cpu())
            size_q = part.target_qc.sum(dim=1)
            first_qc = torch.arange(hit_qc.shape[1], device=device) < size_q[:, None]
            hits.append(((found_qc & first_qc).sum(dim=1) / size_q).cpu())
        loss = torch.cat(losses)
        return (
            float(loss.mean()) if len(loss) else math.nan,
            float(torch.cat(reciprocal).mean()),
            float(torch.cat(hits).mean()),
        )


def _losses(kind: str, members: Sequence[SetScores], target_qc: Tensor, seen_c: Tensor) -> Tensor:
    """Loss of each group, the mean over members, (q,)."""
    if kind == "sets":
        found = [set_loss(scores, target_qc, seen_c) for scores in members]
    else:
        found = [
            gene_loss(kind, gene_scores(scores)[:, seen_c], target_qc[:, seen_c])
            for scores in members
        ]
    return torch.stack(found).mean(dim=0)


def sharpen(model: ReverseNetwork, cells: ReverseCells, settings: NetworkSettings) -> None:
    """Make an untrained network as sure of its sets as training groups bear out.

    How far apart the scores of sets have to lie depends on the noise of the cells and the number of
    genes; steps of training alone are slow to find it.
    """
    batches = NamedGenes(replace(cells, val_p=cells.val_p[:0]), settings).training_batches(
        batch_size=settings.batch_size, epoch=0, seed=settings.seed
    )
    model.eval()
    with torch.no_grad():
        loss_f = torch.zeros(len(_SHARPER))
        for batch in islice(batches, _SHARPEN_ON):
            members = model(batch.shift_qg, batch.mean_qg)
            for i, factor in enumerate(_SHARPER):
                scaled = [one._replace(gene_qc=factor * one.gene_qc) for one in members]
                loss_f[i] += _losses(settings.loss, scaled, batch.target_qc, model.seen_c).sum()
        sharper = math.log(_SHARPER[int(loss_f.argmin())])
        for module in model.modules():
            if isinstance(module, SetHead):
                module.log_scale.add_(sharper)
    model.train()


def _at_once(network: ReverseNetwork) -> int:
    return max(1, min(_AT_ONCE, _TABLE // max(1, len(network.seen_c) ** 2)))


def _network(model: nn.Module) -> ReverseNetwork:
    """The network itself, out of what a process may have wrapped around it."""
    bare: Any = getattr(model, "module", model)
    return cast("ReverseNetwork", bare)


def predict_logits(
    model: ReverseNetwork,
    shift_qg: np.ndarray,
    mean_qg: np.ndarray,
    device: torch.device,
) -> np.ndarray:
    """Log-odds of each candidate, (q, c) float64; -inf where the network cannot score."""
    model.to(device).eval()
    out = []
    with torch.no_grad():
        step = _at_once(model)
        for start in range(0, len(shift_qg), step):
            parts = [
                torch.from_numpy(np.ascontiguousarray(x[start : start + step], np.float32))
                for x in (shift_qg, mean_qg)
            ]
            out.append(model.logits(*(p.to(device) for p in parts)).cpu().numpy())
    return np.concatenate(out) if out else np.zeros((0, len(model.seen_c)))
