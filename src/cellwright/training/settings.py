"""Every setting of a pretraining run, with its default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cellwright.errors import SettingsError
from cellwright.models.build import EncoderSettings, Size
from cellwright.tokens.binned import BinnedTokenizer
from cellwright.tokens.cell_binned import CellBinnedTokenizer
from cellwright.tokens.masking import MaskRule
from cellwright.tokens.rank_masking import RankMaskRule
from cellwright.tokens.ranked import RankedTokenizer


@dataclass(frozen=True)
class PretrainSettings:
    """Settings of pretraining on masked bins, or on masked ranks (``tokenizer = "ranked"``).

    The groups in order: the split, the tokenizer, the mask, the encoder (None takes what ``size``
    sets), the optimisation, the hardware, the embedding. ``precision = "auto"`` trains in bf16
    where the hardware multiplies it natively and in float32 elsewhere; evaluation is always in
    float32. ``patience`` stops after so many epochs without a better validation loss. ``devices``
    is processes per machine, each with its own GPU where there are GPUs; ``batch_size`` is that
    of all of them together. With ranks, ``vocabulary`` names a table of genes with medians (or
    ``"fit"``: nonzero medians of the training cells), ``max_tokens`` and ``sort_dtype`` default to
    those of the vocabulary, ``pooling`` is ``mean`` or ``cls``, and what belongs to bins must be
    left alone.

    Raises
    ------
    SettingsError
        If a value cannot work; the sentence holds it.
    """

    seed: int = 0

    split_by: str = "auto"
    stratify: str | None = None
    val: float = 0.1
    test: float = 0.2

    tokenizer: Literal["binned", "cell-binned", "ranked"] = "binned"
    num_bins: int = 20
    target_sum: float = 1e4
    log1p: bool = True
    zero_bin: bool = True
    vocabulary: str = "fit"
    max_tokens: int | None = None
    sort_dtype: Literal["float64", "float32"] | None = None
    with_cls: bool = False

    mask_share: float = 0.15
    mask_nonzero_share: float = 0.5
    mask_nonzero: Literal["bin", "count"] = "bin"

    size: Size = "small"
    attention: Literal["latent", "full"] = "latent"
    width: int | None = None
    latents: int | None = None
    layers: int | None = None
    heads: int | None = None
    feedforward: int | None = None
    dropout: float = 0.1

    epochs: int = 30
    batch_size: int = 32
    val_batch_size: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    schedule: Literal["one-cycle", "constant"] = "one-cycle"
    warmup_share: float = 0.15
    clip_norm: float = 1.0
    patience: int | None = None

    precision: Literal["auto", "bf16", "float32"] = "auto"
    accelerator: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    devices: int = 1
    num_nodes: int = 1

    pooling: Literal["mean", "concat", "cls"] = "mean"

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "val_batch_size", "devices", "num_nodes"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected at least 1")
        for name in ("learning_rate", "clip_norm", "target_sum"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected above 0")
        if self.seed < 0:
            raise SettingsError(f"seed is {self.seed}, expected 0 or more")
        if not self.weight_decay >= 0:
            raise SettingsError(f"weight_decay is {self.weight_decay}, expected 0 or more")
        if not 0 <= self.warmup_share < 1:
            raise SettingsError(f"warmup_share is {self.warmup_share}, expected 0 up to below 1")
        if self.patience is not None and self.patience < 1:
            raise SettingsError(f"patience is {self.patience}, expected at least 1")
        self._check_kind()
        # These check their own settings: before any data are read rather than in the middle.
        _ = self.encoder
        if self.ranks:
            _ = self.rank_rule, RankedTokenizer(max_tokens=self.max_tokens)
        else:
            _ = self.mask_rule, self.new_tokenizer()

    @property
    def ranks(self) -> bool:
        """Whether cells are ranked genes rather than bins."""
        return self.tokenizer == "ranked"

    @property
    def mask_rule(self) -> MaskRule:
        return MaskRule(self.mask_share, self.mask_nonzero_share, self.mask_nonzero)

    @property
    def rank_rule(self) -> RankMaskRule:
        return RankMaskRule(self.mask_share)

    def new_tokenizer(self) -> BinnedTokenizer | CellBinnedTokenizer:
        """The tokenizer of bins to fit."""
        if self.tokenizer == "cell-binned":
            return CellBinnedTokenizer(self.num_bins)
        return BinnedTokenizer(self.num_bins, self.target_sum, self.log1p, self.zero_bin)

    def _check_kind(self) -> None:
        """Refuse what the tokenizer would not heed."""
        foreign = _OF_BINS if self.ranks else _OF_RANKS
        kind = "binned" if self.ranks else "ranked"
        for name, default in foreign.items():
            if getattr(self, name) != default:
                raise SettingsError(
                    f"{name} is {getattr(self, name)!r}, but it belongs to {kind} tokens and "
                    f"tokenizer is {self.tokenizer!r}"
                )
        poolings = ("mean", "cls") if self.ranks else ("mean", "concat")
        if self.pooling not in poolings:
            raise SettingsError(
                f"pooling is {self.pooling!r}, expected {' or '.join(poolings)} with "
                f"{self.tokenizer} tokens"
            )

    @property
    def encoder(self) -> EncoderSettings:
        return EncoderSettings(
            size=self.size,
            attention=self.attention,
            width=self.width,
            latents=self.latents,
            layers=self.layers,
            heads=self.heads,
            feedforward=self.feedforward,
            dropout=self.dropout,
        )


_OF_BINS: dict[str, object] = {
    "target_sum": 1e4,
    "num_bins": 20,
    "log1p": True,
    "zero_bin": True,
    "mask_nonzero_share": 0.5,
    "mask_nonzero": "bin",
    "attention": "latent",
    "latents": None,
}
_OF_RANKS: dict[str, object] = {
    "vocabulary": "fit",
    "max_tokens": None,
    "sort_dtype": None,
    "with_cls": False,
}

PRESETS: dict[str, dict[str, object]] = {
    # The published rules for split, bins and mask; the encoder and its optimisation are ours.
    "neurons-2025": {
        "seed": 42,
        "split_by": "none",
        "zero_bin": False,
        "mask_nonzero": "bin",
    },
    # The published encoder and optimisation too: full attention, about 9 minutes an epoch.
    "neurons-2025-published": {
        "seed": 42,
        "split_by": "none",
        "zero_bin": False,
        "mask_nonzero": "bin",
        "attention": "full",
        "width": 64,
        "heads": 4,
        "layers": 3,
        "feedforward": 2048,
        "batch_size": 64,
        "val_batch_size": 128,
        "learning_rate": 5e-4,
        "schedule": "constant",
        "epochs": 30,
    },
}
"""Settings by name; ``cellwright pretrain --preset NAME``."""
