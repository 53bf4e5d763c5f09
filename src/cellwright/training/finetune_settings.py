"""Settings of fine-tuning, checked as a whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from lightning_fabric import Fabric

from cellwright.errors import SettingsError
from cellwright.training.hardware import (
    accelerator_in_use,
    check_accelerator,
    fabric_precision,
)
from cellwright.training.processes import calm


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
