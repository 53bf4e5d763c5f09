"""Networks that name perturbed genes, trained on the cells of training conditions alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from cellwright.models.reverse_candidates import KnownGenes, ReverseCrossAttention
from cellwright.models.reverse_mlp import GroupInput, StartsLinear
from cellwright.models.reverse_network import ReverseNetwork
from cellwright.perturbation.gene_knowledge import GeneKnowledge, pair_features
from cellwright.perturbation.queries import control_means
from cellwright.perturbation.reverse import Screen
from cellwright.perturbation.reverse_audit import control_spread
from cellwright.training.loop import Row, fit
from cellwright.training.one_device import OneDevice
from cellwright.training.reverse_build import build_network
from cellwright.training.reverse_encoder import EncoderStart
from cellwright.training.reverse_groups import Groups, ReverseCells
from cellwright.training.reverse_objective import NamedGenes, predict_logits, sharpen
from cellwright.training.reverse_settings import ENCODERS, NetworkSettings
from cellwright.training.reverse_start import linear_start
from cellwright.training.run_folder import RunFolder
from cellwright.workflows.reverse_encoder import SHAPE, start_encoder, tell_encoder

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Kinds of network that are told of gene knowledge; the others see cells alone.
USE_KNOWLEDGE = ("graph", "cross-attention")


@dataclass(frozen=True)
class FittedNetwork:
    """A trained network; history: a row per epoch, best_epoch: the one whose weights it has."""

    model: ReverseNetwork
    settings: NetworkSettings
    history: list[Row]
    best_epoch: int
    seconds: float

    def logits(
        self, shift_qg: NDArray[np.floating], mean_qg: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        """Log-odds of each candidate, (q, c); -inf where it cannot score."""
        device = next(self.model.parameters()).device
        return predict_logits(self.model, shift_qg, mean_qg, device)


def network_cells(
    expression_ng: Any,
    screen: Screen,
    train: tuple[str, ...],
    val: tuple[str, ...] = (),
    *,
    kept_g: NDArray[np.bool_] | None = None,
) -> ReverseCells:
    """What a network may see of a screen: cells of its training and validation conditions, controls.

    Cells of any other condition are not there at all.
    """
    codes = [screen.index(name) for name in (*train, *val)]
    rows = np.flatnonzero(np.isin(screen.condition_n, [-1, *codes]))
    expression = sp.csr_matrix(expression_ng)[rows].astype(np.float32)
    means = control_means(expression_ng, screen)
    batches, batch_n = np.unique(screen.batch_n[rows], return_inverse=True)
    control_bg = np.stack([means.get(str(b), means[""]) for b in batches])
    sd_g = control_spread(expression_ng, screen)
    keep = np.ones(expression.shape[1], dtype=bool) if kept_g is None else kept_g
    return ReverseCells(
        expression_ng=expression if kept_g is None else expression[:, keep],
        condition_n=screen.condition_n[rows],
        targets_pc=screen.targets_pc,
        train_p=np.array(codes[: len(train)], dtype=np.int64),
        val_p=np.array(codes[len(train) :], dtype=np.int64),
        batch_n=batch_n.astype(np.int64),
        control_bg=control_bg[:, keep].astype(np.float32),
        sd_g=sd_g[keep].astype(np.float32),
    )


def fit_network(
    cells: ReverseCells,
    settings: NetworkSettings,
    knowledge: GeneKnowledge | None = None,
    *,
    folder: RunFolder | None = None,
    resume: bool = False,
    fabric: Fabric | OneDevice | None = None,
    on_epoch: Callable[[Row], None] | None = None,
    watched: Mapping[str, Groups] = MappingProxyType({}),
    encoder: EncoderStart | None = None,
) -> FittedNetwork:
    """Train a network; the epoch is chosen on validation conditions, or is the last without any.

    Parameters
    ----------
    knowledge
        Of measured and candidate genes, for the kinds of network that use it.
    folder, resume, on_epoch
        As in :func:`cellwright.training.loop.fit`.
    fabric
        Where it is trained; default this process on the CPU.
    watched
        Groups that only the curves are for, nothing is chosen by them: columns ``NAME_loss``,
        ``NAME_mrr`` and ``NAME_f1`` of the history.
    encoder
        What the kinds ``encoder`` and ``encoder-untrained`` are made of, for the genes of ``cells``.
    """
    model = network_of(cells, settings, knowledge, encoder)
    start_linear(model, cells, settings)
    if folder is not None and encoder is not None:
        folder.write_json(SHAPE, encoder.shape.to_dict())
    stops = len(cells.val_p) > 0
    found = fit(
        model,
        NamedGenes(cells, settings, watched),
        settings if stops else replace(settings, patience=None),
        OneDevice("cpu") if fabric is None else fabric,
        folder,
        resume=resume,
        on_epoch=on_epoch,
    )
    # No validation condition may be one that the network can name.
    chosen = found.best_epoch > 0
    model.load_state_dict(found.best if chosen else found.last)
    best = found.best_epoch if chosen else len(found.history)
    return FittedNetwork(model.eval(), settings, found.history, best, found.seconds)


def network_of(
    cells: ReverseCells,
    settings: NetworkSettings,
    knowledge: GeneKnowledge | None = None,
    encoder: EncoderStart | None = None,
) -> ReverseNetwork:
    """An untrained network that knows the scale of the genes and which of them it may name.

    One made of a pretrained encoder has its weights, and the levels of control groups.
    """
    known = knowledge if settings.kind in USE_KNOWLEDGE else None
    if known is not None and not known.names_d:
        known = None
    pair_ccp = np.zeros((cells.candidates, cells.candidates, 0), dtype=np.float32)
    if known is not None:
        pair_ccp = pair_features(known)[1]
    model = build_network(
        settings,
        genes=cells.genes,
        candidates=cells.candidates,
        features=0 if known is None else len(known.names_d),
        pairs=pair_ccp.shape[2],
        encoder=None if encoder is None else encoder.shape,
    )
    if encoder is not None and settings.kind in ENCODERS:
        tell_encoder(model, cells, settings, encoder)
    centre_g = torch.from_numpy(cells.control_bg.mean(axis=0))
    for module in model.modules():
        if isinstance(module, GroupInput) and module.genes:
            module.standardise(torch.from_numpy(cells.sd_g), centre_g, settings.k)
        if isinstance(module, ReverseCrossAttention):
            module.choose(torch.from_numpy(cells.sd_g))
        if isinstance(module, KnownGenes) and known is not None:
            module.tell(
                torch.from_numpy(known.measured_gd),
                torch.from_numpy(known.candidate_cd),
                torch.from_numpy(pair_ccp),
            )
    model.seen_c.copy_(torch.from_numpy(cells.seen_c))
    if known is None:
        model.scored_c.copy_(model.seen_c)
    return model


def start_linear(model: ReverseNetwork, cells: ReverseCells, settings: NetworkSettings) -> None:
    """Begin where a linear forward model of the training conditions is, if the network looks at shifts.

    This is the first of what is learned: an untrained network knows no label.
    """
    if settings.kind in ENCODERS and settings.encoder_alone:
        start_encoder(model, cells, settings)
        sharpen(model, cells, settings)
        return
    if settings.inputs == "expression":
        return
    start = linear_start(cells, settings.width)
    for module in model.modules():
        if isinstance(module, StartsLinear):
            module.start_at(
                torch.from_numpy(start.project_dg),
                torch.from_numpy(start.common_d),
                torch.from_numpy(start.code_cd),
            )
    sharpen(model, cells, settings)
