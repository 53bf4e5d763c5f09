"""The objective of the linear VAE: the negative ELBO with a growing weight of the latent's KL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cellwright.models.linear_vae import LinearVAE, Terms
from cellwright.models.linear_vae_fused import Workspace, fused_terms
from cellwright.training.linear_vae_cells import CountBatch, count_batches
from cellwright.training.linear_vae_settings import LDVAESettings
from cellwright.training.packed_counts import Counts

_NAMES = ("reconstruction", "kl_latent", "kl_library")


class LinearVAEObjective:
    """Negative ELBO in nats per cell; validation cells keep their noise, and have the KL in full.

    The weight of the latent's KL grows in steps of an epoch from 0 to 1 over
    ``settings.warmup_epochs``; the loop stops early only behind them. On a CPU, negative-binomial
    counts take the compiled kernel; everything else plain PyTorch.

    Parameters
    ----------
    train, val
        Counts; ``train_codes_n`` and ``val_codes_n`` are their int64 batch codes.
    bf16
        Whether training multiplies the first layer in bfloat16 (validation never does).
    """

    def __init__(
        self,
        train: Counts,
        val: Counts,
        train_codes_n: NDArray[np.int64],
        val_codes_n: NDArray[np.int64],
        settings: LDVAESettings,
        *,
        bf16: bool,
    ) -> None:
        self.train, self.val = train, val
        self.train_codes_n, self.val_codes_n = train_codes_n, val_codes_n
        self.settings, self.bf16 = settings, bf16
        self.warmup_epochs = settings.warmup_epochs(len(train))
        self._held: Workspace | None = None
        self._sums, self._cells, self._weight = np.zeros(3), 0, 0.0

    def __len__(self) -> int:
        return len(self.train)

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Adam as scvi-tools sets it (its epsilon of 0.01 keeps genes without signal still)."""
        where = next(model.parameters()).device.type
        return torch.optim.Adam(
            [p for p in model.parameters() if p.requires_grad],
            lr=self.settings.learning_rate,
            eps=0.01,
            weight_decay=self.settings.weight_decay,
            fused=where in ("cpu", "cuda"),
        )

    def kl_weight(self, epoch: int) -> float:
        """Weight of the latent's KL in an epoch, counted from 0."""
        return min(1.0, epoch / self.warmup_epochs) if self.warmup_epochs else 1.0

    def training_batches(
        self,
        *,
        batch_size: int,
        epoch: int,
        seed: int,
        first: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> Iterator[CountBatch]:
        self._sums, self._cells, self._weight = np.zeros(3), 0, self.kl_weight(epoch)
        return count_batches(
            self.train,
            self.train_codes_n,
            batch_size=batch_size,
            epoch=epoch,
            seed=seed,
            kl_weight=self._weight,
            first=first,
        )

    def loss(self, model: nn.Module, batch: CountBatch) -> Tensor:
        bare: Any = getattr(model, "module", model)  # Fabric's wrapper knows only forward
        n = len(batch.rows)
        noise_nd = torch.randn(n, bare.size.latent)
        library_noise_n1 = torch.randn(n, 1) if bare.library_encoder is not None else None
        terms = self._terms(bare, batch, noise_nd, library_noise_n1, bf16=self.bf16)
        self._sums += n * np.array([float(term.detach()) for term in terms])
        self._cells += n
        return terms.loss(batch.kl_weight)

    def measure(self, model: nn.Module, device: torch.device) -> dict[str, float]:
        """The full-KL negative ELBO of the validation cells and its parts; those of the epoch's
        training batches beside it (of a run that continues, of the batches since)."""
        found = dict(zip(_NAMES, self.held_out(model, device), strict=True))
        trained = self._sums / max(self._cells, 1)
        return {
            "val_loss": sum(found.values()),
            **{f"val_{name}": value for name, value in found.items()},
            **{f"train_{n}": float(v) for n, v in zip(_NAMES, trained, strict=True)},
            "train_elbo_loss": float(trained.sum()),
            "kl_weight": self._weight,
        }

    @torch.no_grad()
    def held_out(
        self,
        model: Any,
        device: torch.device,
        cells: Counts | None = None,
        codes_n: NDArray[np.int64] | None = None,
    ) -> tuple[float, float, float]:
        """Mean reconstruction, KL of the latent and of the library over cells (default validation).

        In float32 without dropout, one draw a cell from a generator of its own.
        """
        cells = self.val if cells is None else cells
        codes_n = self.val_codes_n if codes_n is None else codes_n
        generator = torch.Generator().manual_seed(self.settings.seed)
        training = model.training
        model.eval()
        sums = np.zeros(3)
        for start in range(0, len(cells), self.settings.batch_size):
            rows = np.arange(start, min(start + self.settings.batch_size, len(cells)))
            codes = torch.from_numpy(codes_n[rows])
            batch = CountBatch(cells.rows(rows), codes, 1.0, 1.0).to(device)
            noise_nd = torch.randn(len(rows), model.size.latent, generator=generator)
            library_noise_n1 = torch.randn(len(rows), 1, generator=generator)
            terms = self._terms(model, batch, noise_nd, library_noise_n1, bf16=False)
            sums += len(rows) * np.array([float(term) for term in terms])
        model.train(training)
        reconstruction, kl_latent, kl_library = (sums / max(len(cells), 1)).tolist()
        return reconstruction, kl_latent, kl_library

    def _terms(
        self,
        model: LinearVAE,
        batch: CountBatch,
        noise_nd: Tensor,
        library_noise_n1: Tensor | None,
        *,
        bf16: bool,
    ) -> Terms:
        if batch.dense_ng is None and model.zero_decoder is None:
            space = self._space(len(batch.rows), bf16)
            return fused_terms(
                model, batch.rows, batch.batches_n, noise_nd, library_noise_n1, space
            )
        counts_ng = batch.rows.dense() if batch.dense_ng is None else batch.dense_ng
        noise_nd = noise_nd.to(counts_ng.device)
        if library_noise_n1 is not None:
            library_noise_n1 = library_noise_n1.to(counts_ng.device)
        found: Terms = model(counts_ng, batch.batches_n, noise_nd, library_noise_n1)
        return found

    def _space(self, n: int, bf16: bool) -> Workspace:
        if self._held is None or self._held.logits(n).shape[0] < n:
            # A last batch of one takes a second cell, so two is the least.
            cells, threads = max(self.settings.batch_size, n, 2), torch.get_num_threads()
            self._held = Workspace(cells, self.train.genes, bf16=bf16, threads=threads)
        self._held.bf16 = bf16
        return self._held


@torch.no_grad()
def latent_means(
    model: LinearVAE, cells: Counts, *, device: str = "cpu", batch_size: int = 512
) -> NDArray[np.float32]:
    """The mean of each cell's latent, (n, d) float32; batches are not asked for."""
    model = model.to(device).eval()
    threads = torch.get_num_threads()
    space = Workspace(min(batch_size, max(len(cells), 1)), cells.genes, bf16=False, threads=threads)
    out = [np.empty((0, model.size.latent), dtype=np.float32)]
    for start in range(0, len(cells), batch_size):
        rows = np.arange(start, min(start + batch_size, len(cells)))
        log1p_ng = space.log1p(cells.rows(rows)).to(device)
        out.append(model.encoder(log1p_ng).mean_nd.cpu().numpy())
    return np.concatenate(out)
