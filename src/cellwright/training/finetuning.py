"""Fine-tune an encoder on labels: a linear head first, then the whole from there."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import Tensor

from cellwright.errors import DataError, SettingsError
from cellwright.models.freezing import Encoder, freeze_layers, quick_copy
from cellwright.models.heads import BinClassifier, ClassHead, RankClassifier, TokenClassifier
from cellwright.models.lora import add_lora, merge_lora
from cellwright.models.rank_encoder import RankEncoder
from cellwright.training.hardware import (
    accelerator_in_use,
    check_accelerator,
    fabric_precision,
)
from cellwright.training.labelled import (
    CellLabels,
    CellTokens,
    RankTokens,
    answers,
    class_weights,
    pooled,
)
from cellwright.training.loop import fit
from cellwright.training.processes import calm
from cellwright.training.run_folder import RunFolder
from cellwright.training.token_labels import (
    IGNORED,
    TokenLabels,
    gene_probability,
    token_means,
)

__all__ = [
    "CellClassifier",
    "CellLabels",
    "FinetuneSettings",
    "FittedCellClassifier",
    "FittedGeneClassifier",
    "TokenLabels",
    "finetune_cells",
    "finetune_genes",
]

log = logging.getLogger("cellwright.training.finetuning")

CellClassifier = BinClassifier | RankClassifier
# Inverse strengths of the penalty that the starting head is chosen from, on validation cells.
_STRENGTHS = (0.001, 0.01, 0.1, 1.0)
_HEAD_ROWS, _HEAD_CELLS = 10_000, 500


@dataclass(frozen=True)
class FinetuneSettings:
    """Settings of fine-tuning.

    freeze_layers: the embedding and so many of the lowest layers stay as they are (0: nothing
    does); lora_rank: train a low-rank change of the other layers instead of their weights (None:
    the weights); head_start: ``probe`` starts the head at a linear classifier of the frozen
    vectors, ``zeros`` at nothing; class_weight: ``balanced`` or None; val: share of the training
    cells that chooses when to stop; patience: stops after so many epochs without a better
    validation loss; max_cells: most cells that ``finetune_genes`` learns from.

    Raises
    ------
    SettingsError
        If a value cannot work; the sentence holds it.
    """

    seed: int = 0
    freeze_layers: int = 0
    lora_rank: int | None = None
    lora_alpha: float = 16.0
    head_start: Literal["probe", "zeros"] = "probe"
    head_dropout: float = 0.1
    class_weight: str | None = "balanced"
    val: float = 0.2
    epochs: int = 10
    batch_size: int = 16
    learning_rate: float = 5e-4
    weight_decay: float = 1e-2
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    warmup_share: float = 0.1
    clip_norm: float = 1.0
    patience: int | None = 3
    precision: Literal["auto", "bf16", "float32"] = "auto"
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    max_cells: int = 10_000

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "max_cells"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("learning_rate", "clip_norm", "lora_alpha"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected above 0")
        for name in ("seed", "freeze_layers", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected 0 or more")
        for name in ("val", "warmup_share", "head_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected 0 up to below 1")
        for name in ("lora_rank", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{name} is {value}, expected at least 1")
        for name, known in (
            ("head_start", ("probe", "zeros")),
            ("class_weight", ("balanced", None)),
            ("schedule", ("one-cycle", "constant")),
            ("precision", ("auto", "bf16", "float32")),
            ("accelerator", ("auto", "cpu", "cuda", "mps")),
        ):
            if getattr(self, name) not in known:
                listed = " or ".join(map(repr, known))
                raise SettingsError(f"{name} is {getattr(self, name)!r}, expected {listed}")

    def fabric(self) -> Fabric:
        """One process on the hardware asked for."""
        check_accelerator(self.accelerator)
        on = accelerator_in_use(self.accelerator)
        precision: Any = fabric_precision(self.precision, on)
        with calm():
            return Fabric(accelerator=on, devices=1, precision=precision)


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
    _start_head(model.head, x_md, codes_n[head_rows], val_md, codes_n[val], settings)
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
    _start_head(
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


def _start_head(
    head: ClassHead,
    x_md: Tensor,
    codes_m: NDArray[np.int64],
    val_md: Tensor | None,
    val_codes: NDArray[np.int64],
    settings: FinetuneSettings,
) -> None:
    """Standardise the head on the training vectors, and start it at the probe validated best."""
    head.standardise(x_md.to(head.centre_d.device))
    if settings.head_start == "zeros":
        return
    centre_d, spread_d = head.centre_d.cpu(), head.spread_d.cpu()
    scaled = ((x_md - centre_d) / spread_d).double().numpy()
    present = np.unique(codes_m)
    probes = []
    for strength in _STRENGTHS if val_md is not None else (0.1,):
        probe = LogisticRegression(C=strength, class_weight=settings.class_weight, max_iter=500)
        probes.append(probe.fit(scaled, codes_m))
    best = probes[0]
    known = np.isin(val_codes, present)
    if val_md is not None and known.any():
        val = ((val_md - centre_d) / spread_d).double().numpy()[known]
        losses = [log_loss(val_codes[known], p.predict_proba(val), labels=present) for p in probes]
        best = probes[int(np.argmin(losses))]
    weight_kd = torch.zeros_like(head.linear.weight.cpu())
    # A class without training examples: far below the others.
    bias_k = torch.full_like(head.linear.bias.cpu(), -10.0)
    coef, intercept = best.coef_, best.intercept_
    if len(present) == 2:  # one row in scikit-learn: half of it on each side
        coef, intercept = np.vstack([-coef, coef]) / 2, np.r_[-intercept, intercept] / 2
    weight_kd[present] = torch.from_numpy(coef).float()
    bias_k[present] = torch.from_numpy(intercept).float()
    head.start(weight_kd, bias_k)


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
