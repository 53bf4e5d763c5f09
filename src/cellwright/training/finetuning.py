"""Fine-tune an encoder on labels: a linear head first, then the whole from there."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.models.freezing import Encoder, freeze_layers, quick_copy
from cellwright.models.heads import BinClassifier, ClassHead, RankClassifier, TokenClassifier
from cellwright.models.lora import add_lora, merge_lora
from cellwright.models.rank_encoder import RankEncoder
from cellwright.training.finetune_settings import FinetuneSettings
from cellwright.training.head_start import start_head
from cellwright.training.labelled import (
    CellLabels,
    CellTokens,
    RankTokens,
    answers,
    class_weights,
    pooled,
)
from cellwright.training.loop import fit
from cellwright.training.run_folder import RunFolder
from cellwright.training.token_labels import (
    IGNORED,
    TokenLabels,
    gene_probability,
    token_means,
)

log = logging.getLogger("cellwright.training.finetuning")

CellClassifier = BinClassifier | RankClassifier
_HEAD_ROWS, _HEAD_CELLS = 10_000, 500


@dataclass(frozen=True)
class FittedCellClassifier:
    """model: the best weights on validation cells, in evaluation mode, on the CPU; history: a row
    per epoch, epoch 0 being the starting head on the untouched encoder; best_epoch: 0 where no
    epoch of fine-tuning was better than that; seconds: of training."""

    model: CellClassifier
    history: list[dict[str, float]]
    best_epoch: int
    seconds: float
    trained: int

    def probability(
        self, tokens: CellTokens, rows: NDArray[np.int64] | None = None
    ) -> NDArray[np.float64]:
        """Class probabilities of cells (default all), (n, k)."""
        rows = np.arange(len(tokens)) if rows is None else rows
        logits = answers(self.model, tokens, rows, torch.device("cpu"))
        return np.asarray(logits.double().softmax(-1).numpy(), dtype=np.float64)


@dataclass(frozen=True)
class FittedGeneClassifier:
    """As :class:`FittedCellClassifier`, for tokens."""

    model: TokenClassifier
    history: list[dict[str, float]]
    best_epoch: int
    seconds: float
    trained: int

    def gene_probability(self, packed: Packed) -> NDArray[np.float64]:
        """(tokens of the vocabulary, k): mean over the cells that hold the token; NaN where none does."""
        tokens = RankTokens(packed.ids_t, packed.offsets_n)
        return gene_probability(self.model, tokens, torch.device("cpu"))


class Packed(Protocol):
    """Cells by rank: token ids one after another, and (n + 1,) where each cell begins."""

    @property
    def ids_t(self) -> NDArray[np.int32]: ...
    @property
    def offsets_n(self) -> NDArray[np.int64]: ...


class RankRun(Protocol):
    """A run with an encoder of ranks."""

    @property
    def model(self) -> RankEncoder: ...


def finetune_cells(
    model: CellClassifier,
    tokens: CellTokens,
    codes_n: NDArray[np.int64],
    train: NDArray[np.int64],
    val: NDArray[np.int64],
    settings: FinetuneSettings,
    *,
    fabric: Fabric | None = None,
    folder: RunFolder | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> FittedCellClassifier:
    """Fine-tune a classifier of cells; ``val`` chooses the head's start and when to stop.

    Parameters
    ----------
    model
        An encoder with a new head; left as it is.
    codes_n
        Class of each cell, of which ``train`` and ``val`` (rows) are looked at.

    Raises
    ------
    SettingsError
        If the encoder has fewer layers than are to be frozen.
    RunError
        If the loss stops being a number.
    """
    classes = model.head.classes
    weight_k = class_weights(codes_n[train], classes, settings.class_weight)
    objective = CellLabels(tokens, codes_n, train, val, weight_k)
    model = copy.deepcopy(model)
    fabric = settings.fabric() if fabric is None else fabric
    model.to(fabric.device)
    head_rows = train
    if len(train) > _HEAD_ROWS:
        rng = np.random.default_rng(settings.seed)
        head_rows = np.sort(rng.choice(train, _HEAD_ROWS, replace=False))
    x_md = pooled(model, tokens, head_rows, fabric.device)
    val_md = pooled(model, tokens, val, fabric.device) if len(val) else None
    start_head(model.head, x_md, codes_n[head_rows], val_md, codes_n[val], settings)
    fitted, history, best_epoch, seconds, trained = _fit(
        model, objective, settings, fabric, folder, on_epoch, stop=len(val) > 0
    )
    return FittedCellClassifier(fitted, history, best_epoch, seconds, trained)


def finetune_genes(
    run: RankRun,
    packed: Packed,
    label_of_token: NDArray[np.int64],
    classes: int,
    settings: FinetuneSettings,
    *,
    hidden_layer: int = -1,
    fabric: Fabric | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> FittedGeneClassifier:
    """Fine-tune a classifier of genes on the cells that hold them.

    Parameters
    ----------
    run
        Its encoder is left as it is.
    packed
        Cells by rank, none longer than the encoder has positions.
    label_of_token
        (tokens of the vocabulary,) class of each token, -100 none. Of each class the share
        ``settings.val`` of the genes validates: it chooses when to stop and nothing else.
    hidden_layer
        The hidden states that the head reads, as ``RankEncoder.forward`` counts them.

    Raises
    ------
    DataError
        If no cell holds a labelled gene, or fewer than two classes are held.
    SettingsError
        If the encoder has fewer layers than are to be frozen.
    """
    tokens = RankTokens(packed.ids_t, packed.offsets_n)
    held = np.bincount(packed.ids_t, minlength=len(label_of_token))[: len(label_of_token)] > 0
    label_v = np.where(held, label_of_token, IGNORED)
    if len(np.unique(label_v[label_v >= 0])) < 2:
        raise DataError(
            f"the {len(tokens):,} cells hold genes of {len(np.unique(label_v[label_v >= 0]))} of "
            f"the {classes} classes, expected at least two; give cells that express more of them"
        )
    val_v = _validation_genes(label_v, settings)
    learn_v = np.where(val_v, IGNORED, label_v)
    val_label_v = np.where(val_v, label_v, IGNORED)
    rng = np.random.default_rng(settings.seed)
    cells = _cells_with(tokens, learn_v >= 0, settings.max_cells, rng)
    val_cells = _cells_with(tokens, val_v if val_v.any() else learn_v >= 0, 500, rng)
    weight_k = class_weights(learn_v[learn_v >= 0], classes, settings.class_weight)
    objective = TokenLabels(tokens, learn_v, val_label_v, cells, val_cells, weight_k)
    head = ClassHead(run.model.shape.width, classes, settings.head_dropout)
    model = TokenClassifier(quick_copy(run.model), head, hidden_layer)
    fabric = settings.fabric() if fabric is None else fabric
    model.to(fabric.device)
    looked_at = cells if len(cells) <= _HEAD_CELLS else rng.choice(cells, _HEAD_CELLS, False)
    means_vd = token_means(
        model, model.vectors, tokens, fabric.device, wanted=label_v >= 0, cells=looked_at
    )
    finite_v = torch.isfinite(means_vd).all(1).numpy()
    known = np.flatnonzero((learn_v >= 0) & finite_v)
    validating = np.flatnonzero(val_v & finite_v)
    start_head(
        model.head,
        means_vd[known],
        learn_v[known],
        means_vd[validating] if len(validating) else None,
        label_v[validating],
        settings,
    )
    fitted, history, best_epoch, seconds, trained = _fit(
        model, objective, settings, fabric, None, on_epoch, stop=bool(val_v.any())
    )
    return FittedGeneClassifier(fitted, history, best_epoch, seconds, trained)


def _fit(
    model: Any,
    objective: CellLabels | TokenLabels,
    settings: FinetuneSettings,
    fabric: Fabric,
    folder: RunFolder | None,
    on_epoch: Callable[[dict[str, float]], None] | None,
    *,
    stop: bool,
) -> tuple[Any, list[dict[str, float]], int, float, int]:
    """Train; the model with its best weights, the history, the best epoch, seconds, parameters."""
    encoder: Encoder = model.encoder
    freeze_layers(encoder, settings.freeze_layers)
    if settings.lora_rank is not None:
        add_lora(encoder, settings.lora_rank, settings.lora_alpha, seed=settings.seed)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    begun = objective.measure(model, fabric.device)
    start = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
    how = settings if stop else replace(settings, patience=None)
    fitted = fit(model, objective, how, fabric, folder, on_epoch=on_epoch)
    best_epoch, best = fitted.best_epoch, fitted.best
    if not stop:
        best_epoch, best = settings.epochs, fitted.last
    elif begun["val_loss"] <= min(row["val_loss"] for row in fitted.history):
        best_epoch, best = 0, start
    model.load_state_dict(best)
    merge_lora(encoder)
    model.requires_grad_(True)
    history = [{"epoch": 0.0, **begun}, *fitted.history]
    return model.cpu().eval(), history, best_epoch, fitted.seconds, trained


def _validation_genes(label_v: NDArray[np.int64], settings: FinetuneSettings) -> NDArray[np.bool_]:
    """Of each class with at least five genes the share ``val``, drawn from the seed."""
    val_v = np.zeros(len(label_v), dtype=bool)
    rng = np.random.default_rng([settings.seed, 1])
    for code in np.unique(label_v[label_v >= 0]):
        genes = rng.permutation(np.flatnonzero(label_v == code))
        if settings.val > 0 and len(genes) >= 5:
            val_v[genes[: max(1, round(len(genes) * settings.val))]] = True
    return val_v


def _cells_with(
    tokens: RankTokens, wanted_v: NDArray[np.bool_], most: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows that hold a wanted token, at most so many, sorted."""
    cell_t = np.repeat(np.arange(len(tokens)), tokens.lengths_n)
    cells = np.unique(cell_t[wanted_v[tokens.ids_t]]).astype(np.int64)
    return cells if len(cells) <= most else np.sort(rng.choice(cells, most, replace=False))
