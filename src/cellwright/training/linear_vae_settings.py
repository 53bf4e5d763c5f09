"""Every setting of a linear VAE's run, with its default."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from cellwright.errors import SettingsError
from cellwright.models.linear_vae import Library, LinearVAESize
from cellwright.training.settings import PretrainSettings


@dataclass(frozen=True)
class LDVAESettings:
    """Settings of the linear VAE; the defaults are scvi-tools', but for the observed library size.

    The groups in order: the cells and their split, the model, the optimisation, the hardware.
    ``fit_on`` is ``normal`` (cells whose ``state_column`` says so, or all without such a column) or
    ``train`` (training cells of every state). ``epochs`` None takes 400 for up to 20,000 cells and
    fewer in proportion beyond; ``kl_warmup`` None takes min(400, half the epochs); ``patience``
    stops after so many epochs without a better validation ELBO, behind the warm-up only.
    ``from_disk`` keeps the counts in a file without a name beside the run and reads each batch from
    it, with the same result; None does so where they would take a quarter of the free memory.

    Raises
    ------
    SettingsError
        If a value cannot work; the sentence holds it.
    """

    seed: int = 0

    fit_on: Literal["normal", "train"] = "normal"
    state_column: str = "state"
    split_by: str = "auto"
    stratify: str | None = None
    val: float = 0.1
    test: float = 0.2

    latent: int = 10
    hidden: int = 128
    dropout: float = 0.1
    library: Library = "observed"
    likelihood: Literal["nb", "zinb"] = "nb"
    decoder_norm: bool = True
    batch_key: str | None = None

    epochs: int | None = None
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-6
    kl_warmup: int | None = None
    patience: int | None = 45

    precision: Literal["auto", "bf16", "float32"] = "auto"
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    from_disk: bool | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{name} is {value}, expected at least 1")
        if self.batch_size < 2:
            raise SettingsError(
                f"batch_size is {self.batch_size}, expected at least 2: batch norm needs a variance"
            )
        if not self.learning_rate > 0:
            raise SettingsError(f"learning_rate is {self.learning_rate}, expected above 0")
        if self.seed < 0:
            raise SettingsError(f"seed is {self.seed}, expected 0 or more")
        if not self.weight_decay >= 0:
            raise SettingsError(f"weight_decay is {self.weight_decay}, expected 0 or more")
        if self.kl_warmup is not None and self.kl_warmup < 0:
            raise SettingsError(f"kl_warmup is {self.kl_warmup}, expected 0 or more epochs")
        if not (0 < self.val < 1 and 0 <= self.test < 1 and self.val + self.test < 1):
            raise SettingsError(
                f"val is {self.val} and test {self.test}, expected shares that leave training cells"
            )
        _ = self.size(max(self.latent, 1)), self.of_split

    def size(self, genes: int, batches: int = 1) -> LinearVAESize:
        """The model for so many genes and batches."""
        return LinearVAESize(
            genes=genes,
            latent=self.latent,
            hidden=self.hidden,
            batches=batches,
            dropout=self.dropout,
            library=self.library,
            likelihood=self.likelihood,
            decoder_norm=self.decoder_norm,
        )

    def epochs_for(self, n_train: int) -> int:
        """The epochs asked for, or scvi-tools' rule for so many training cells."""
        return self.epochs or max(1, min(round(20_000 / max(n_train, 1) * 400), 400))

    def warmup_epochs(self, n_train: int) -> int:
        """Epochs over which the weight of the latent's KL grows."""
        half = self.epochs_for(n_train) // 2
        return min(400, half) if self.kl_warmup is None else self.kl_warmup

    @property
    def of_split(self) -> PretrainSettings:
        """What the split needs to know, in the form it takes."""
        return PretrainSettings(
            seed=self.seed,
            split_by=self.split_by,
            stratify=self.stratify,
            val=self.val,
            test=self.test,
        )


@dataclass(frozen=True)
class LinearVAEOptimisation:
    """What the training loop reads: a constant rate, no clipping."""

    seed: int
    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    patience: int | None
    schedule: Literal["one-cycle", "constant"] = "constant"
    warmup_share: float = 0.0
    clip_norm: float = math.inf

    @classmethod
    def of(cls, settings: LDVAESettings, n_train: int) -> LinearVAEOptimisation:
        return cls(
            seed=settings.seed,
            epochs=settings.epochs_for(n_train),
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            patience=settings.patience,
        )
