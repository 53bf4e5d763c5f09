"""A pretrained run as the start of a network that names perturbed genes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.errors import DataError, RunError, SettingsError
from cellwright.interfaces import Check
from cellwright.models.freezing import freeze_layers
from cellwright.models.reverse_encoder import RankGroups, ReverseEncoder
from cellwright.models.reverse_network import ReverseNetwork
from cellwright.perturbation.reverse_audit import LEAST_GENES
from cellwright.representations.encoder import EncoderRun
from cellwright.representations.finetuned import FinetunedRun, pooled_width
from cellwright.representations.geneformer import GeneformerRun
from cellwright.representations.loading import load_encoder
from cellwright.training.reverse_encoder import (
    EncoderShape,
    EncoderStart,
    bin_shares,
    bounds,
    control_groups,
    encoder_sizes,
    level_values,
    rank_shares,
)
from cellwright.training.reverse_groups import ReverseCells, draw_groups, real_examples
from cellwright.training.reverse_settings import ENCODERS, UNTRAINED, NetworkSettings
from cellwright.training.reverse_start import LinearStart, linear_start

SHAPE = "encoder.json"
"""What the encoder of a run is built from; its weights are with all others."""

# Groups of each training condition on which the linear start is fitted, and those encoded at once.
_START_GROUPS = 16
_AT_ONCE = 64

Base = EncoderRun | GeneformerRun


def load_base(path: Path | str) -> Base:
    """The pretrained run of a folder.

    Raises
    ------
    RunError
        If the folder holds none, or one that has learned labels.
    """
    run = load_encoder(path)
    if isinstance(run, FinetunedRun):
        raise RunError(
            f"{path} was fine-tuned on the labels {run.label!r} of cells, which may tell what was "
            "perturbed in them; give the pretrained run that it came from"
        )
    return run


def read_encoder(path: Path | str, var: pd.DataFrame) -> tuple[EncoderStart, tuple[str, ...]]:
    """A pretrained run as a start for the measured genes, and what a reader must know of it.

    Raises
    ------
    RunError
        As :func:`load_base`.
    DataError
        If it knows too few of the genes.
    """
    run = load_base(path)
    columns_v = run.vocabulary.align(var).columns_g
    row_g = np.full(len(var), -1, dtype=np.int64)
    known_v = np.flatnonzero(columns_v >= 0)
    row_g[columns_v[known_v]] = known_v
    known = int((row_g >= 0).sum())
    if known < LEAST_GENES:
        raise DataError(
            f"the pretrained run {run.name} knows {known} of the {len(var):,} measured genes, "
            f"expected at least {LEAST_GENES}: pretrain one on cells with these genes"
        )
    notes = [
        f"The encoder of {run.name} knows {known:,} of the {len(var):,} measured genes; the others "
        "do not reach it."
        if known < len(var)
        else f"The encoder of {run.name} knows all {known:,} measured genes."
    ]
    missing = len(columns_v) - known
    if missing:
        notes.append(
            f"Of its own {len(columns_v):,} genes {missing:,} are not measured and are hidden from "
            "it."
        )
    return _start(run, row_g), tuple(notes)


def _start(run: Base, row_g: NDArray[np.int64]) -> EncoderStart:
    if isinstance(run, EncoderRun) and hasattr(run.model, "latent_ld"):
        # A mean over latents would leave too little of them to tell genes apart.
        run = run.with_(pooling="concat")
    known_g = row_g >= 0
    token_g = np.full(len(row_g), -1, dtype=np.int64)
    median_g = np.ones(len(row_g))
    weights = {k: v.detach().cpu() for k, v in run.model.state_dict().items()}
    common: dict[str, Any] = {
        "pooling": run.pooling,
        "genes": int(known_g.sum()),
        "vector": pooled_width(run),
    }
    if isinstance(run, GeneformerRun):
        words = run.vocabulary
        token_g[known_g] = words.token_ids_g[row_g[known_g]]
        median_g[known_g] = words.medians_g[row_g[known_g]]
        # Dropping attention weights keeps every group's attention map in memory.
        sizes = {**encoder_sizes(run.model.shape), "attention_dropout": 0.0}
        frame = () if words.cls_id is None or words.eos_id is None else (words.cls_id, words.eos_id)
        shape = EncoderShape(
            "ranks",
            sizes,
            special_ids=tuple(words.special.values()),
            frame_ids=frame,
            **common,
        )
        # The head that predicts masked genes takes no part.
        weights = {k: v for k, v in weights.items() if not k.startswith("head.")}
    else:
        genes, bins = run.model.log_frequencies_gk.shape
        sizes = encoder_sizes(run.settings.encoder)
        shape = EncoderShape("bins", sizes, vocabulary=genes, bins=bins, **common)
    return EncoderStart(run.name, shape, weights, row_g, token_g, median_g)


def refuse_pretrained(kinds: Sequence[str], pretrained: str | None) -> None:
    """Raise where a run is needed and not given, or given and not used.

    Raises
    ------
    SettingsError
        In one sentence.
    """
    wanting = [kind for kind in kinds if kind in ENCODERS]
    if wanting and pretrained is None:
        raise SettingsError(
            f"a network of the kind {wanting[0]} is made of a pretrained run: give its folder with "
            "--pretrained"
        )
    if pretrained is not None and not wanting:
        raise SettingsError(
            f"--pretrained {pretrained} is for networks of the kind {' and '.join(ENCODERS)}, but "
            f"the kind is {', '.join(kinds) or 'none'}"
        )


def tell_encoder(
    model: ReverseNetwork, cells: ReverseCells, settings: NetworkSettings, start: EncoderStart
) -> None:
    """Give every member the pretrained weights, the levels of control groups and what is frozen."""
    column_m = np.flatnonzero(start.row_g >= 0)
    control_qg = control_groups(cells, settings.k, settings.seed)
    for member in model.members:
        if not isinstance(member, ReverseEncoder):
            continue
        groups = member.cells
        state = dict(start.weights)
        if settings.kind == UNTRAINED:
            # What is counted and not learned by gradients stays: how frequent bins are.
            state = {k: v for k, v in state.items() if k == "log_frequencies_gk"}
        groups.encoder.load_state_dict(state, strict=settings.kind != UNTRAINED)
        shift_qm = control_qg[:, column_m]
        if isinstance(groups, RankGroups):
            share_mb = rank_shares(len(column_m))
            groups.token_m.copy_(torch.from_numpy(start.token_g[column_m]))
            value_mb = level_values(cells, column_m, start.median_g[column_m])
            groups.value_mb.copy_(torch.from_numpy(value_mb))
        else:
            row_m = torch.from_numpy(start.row_g[column_m])
            share_mb = bin_shares(groups.encoder.log_frequencies_gk[row_m])
            groups.row_m.copy_(row_m)
        groups.levels.set_bounds(
            torch.from_numpy(column_m), torch.from_numpy(bounds(shift_qm, share_mb))
        )
        freeze_layers(groups.encoder, settings.freeze_layers)
        member.eval()
        member.standardise(torch.from_numpy(control_qg[: 4 * _AT_ONCE]))
        member.train()


def start_encoder(model: ReverseNetwork, cells: ReverseCells, settings: NetworkSettings) -> None:
    """Begin where a linear forward model of the encoder's vectors of training groups is.

    Linear probing before fine-tuning keeps the first steps of a random head from spoiling the
    encoder (Kumar et al. 2022, arXiv:2202.10054).
    """
    for member in model.members:
        if isinstance(member, ReverseEncoder):
            found = _linear_start(member, cells, settings)
            member.start_at(
                torch.from_numpy(found.project_dg),
                torch.from_numpy(found.common_d),
                torch.from_numpy(found.code_cd),
            )


def _linear_start(
    member: ReverseEncoder, cells: ReverseCells, settings: NetworkSettings
) -> LinearStart:
    examples = np.arange(real_examples(cells, _START_GROUPS), dtype=np.int64)
    drawn = draw_groups(
        cells, examples, k=settings.k, groups=_START_GROUPS, epoch=0, seed=settings.seed
    )
    training = member.training
    member.eval()
    with torch.no_grad():
        parts = [
            member.vectors(torch.from_numpy(drawn.shift_qg[at : at + _AT_ONCE])).float()
            for at in range(0, len(drawn), _AT_ONCE)
        ]
    member.train(training)
    vector_qv = torch.cat(parts).numpy()
    dims = vector_qv.shape[1]
    return linear_start(
        ReverseCells(
            expression_ng=sp.csr_matrix(vector_qv),
            condition_n=cells.train_p[examples % len(cells.train_p)],
            targets_pc=cells.targets_pc,
            train_p=cells.train_p,
            val_p=cells.train_p[:0],
            batch_n=np.zeros(len(vector_qv), dtype=np.int64),
            control_bg=np.zeros((1, dims), dtype=np.float32),
            sd_g=np.ones(dims, dtype=np.float32),
        ),
        settings.width,
    )


def seen_check(
    path: Path | str,
    cells: AnnData,
    test: NDArray[np.bool_],
    *,
    layer: str | None = None,
    assume_counts: bool = False,
) -> Check:
    """Whether pretraining saw cells of test perturbations (their counts, not what was perturbed)."""
    run = load_base(path)
    name, total = run.name, int(test.sum())
    status_n = run.seen(cells, layer=layer, assume_counts=assume_counts)[test]
    if (status_n == "unknown").any():
        return Check(
            "pretraining_cells",
            "note",
            f"Nobody can tell whether {name} was trained on these cells.",
        )
    seen = int((status_n != "clean").sum())
    if not seen:
        return Check(
            "pretraining_cells",
            "note",
            f"Pretraining of {name} saw none of the {total:,} cells of test perturbations.",
        )
    return Check(
        "pretraining_cells",
        "warning",
        f"Pretraining of {name} saw {seen:,} of the {total:,} cells of test perturbations (their "
        "counts, not what was perturbed).",
        "pretrain on other cells",
    )
