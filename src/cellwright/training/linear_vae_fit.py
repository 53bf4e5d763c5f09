"""Fit a linear VAE on counts in memory: the model, its latent and its loadings, without a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.models.linear_vae import LinearVAE
from cellwright.training.hardware import accelerator_in_use, check_accelerator, has_native_bf16
from cellwright.training.linear_vae_objective import LinearVAEObjective, latent_means
from cellwright.training.linear_vae_settings import LDVAESettings, LinearVAEOptimisation
from cellwright.training.loop import Fitted, Progress, Row, fit
from cellwright.training.one_device import OneDevice
from cellwright.training.packed_counts import Counts, PackedCounts, totals
from cellwright.training.run_folder import RunFolder


@dataclass(frozen=True)
class FittedLinearVAE:
    """A fitted model, the best weights on validation in it, and what the loop says of the training."""

    model: LinearVAE
    settings: LDVAESettings
    fitted: Fitted

    @property
    def history(self) -> list[Row]:
        """One row per epoch."""
        return self.fitted.history

    def transform(self, counts_ng: sp.csr_matrix) -> NDArray[np.float32]:
        """Latent means (n, d) of cells with the same genes; batches are not asked for."""
        return latent_means(self.model, PackedCounts.of_matrix(sp.csr_matrix(counts_ng)))

    def loadings(self) -> NDArray[np.float32]:
        """Genes × axes, as scvi-tools' ``get_loadings`` defines them."""
        return self.model.loadings().cpu().numpy()


def fit_ldvae(
    counts_ng: sp.csr_matrix,
    settings: LDVAESettings | None = None,
    batch_codes: NDArray[np.int64] | None = None,
    val_counts: sp.csr_matrix | None = None,
    val_batch_codes: NDArray[np.int64] | None = None,
    *,
    on_epoch: Callable[[Row], None] | None = None,
) -> FittedLinearVAE:
    """Fit a linear VAE on raw counts, the best epoch chosen by the ELBO of other cells.

    Parameters
    ----------
    counts_ng
        Training counts, cells × genes.
    settings
        What concerns cells, split and state columns is not used, but for ``val``.
    batch_codes
        int64 codes from 0 of each training cell's batch; None for one batch.
    val_counts, val_batch_codes
        Cells that choose the epoch; None sets a share ``settings.val`` of the training cells
        aside, at random.

    Raises
    ------
    DataError
        If there are too few cells, or a batch has a single one.
    SettingsError
        If the latent is larger than the genes.
    """
    settings = settings or LDVAESettings()
    counts_ng = sp.csr_matrix(counts_ng)
    n = counts_ng.shape[0]
    codes_n = np.zeros(n, np.int64) if batch_codes is None else np.asarray(batch_codes, np.int64)
    if val_counts is None:
        order = np.random.default_rng(settings.seed).permutation(n)
        cut = max(1, round(n * settings.val))
        held, kept = np.sort(order[:cut]), np.sort(order[cut:])
        val_counts, val_codes_n = counts_ng[held], codes_n[held]
        counts_ng, codes_n = counts_ng[kept], codes_n[kept]
    elif val_batch_codes is None:
        val_codes_n = np.zeros(val_counts.shape[0], np.int64)
    else:
        val_codes_n = np.asarray(val_batch_codes, np.int64)
    train = PackedCounts.of_matrix(counts_ng)
    val = PackedCounts.of_matrix(sp.csr_matrix(val_counts))
    model, objective = prepared(train, val, codes_n, val_codes_n, settings)
    return trained(model, objective, None, on_epoch=on_epoch)


def prepared(
    train: Counts,
    val: Counts,
    train_codes_n: NDArray[np.int64],
    val_codes_n: NDArray[np.int64],
    settings: LDVAESettings,
    batch_names: tuple[str, ...] = (),
) -> tuple[LinearVAE, LinearVAEObjective]:
    """The untrained model and its objective.

    Raises
    ------
    DataError
        If there are fewer than two training cells or no validation cell, or a batch has no more
        than one training cell (``batch_names`` names it).
    """
    if len(train) < 2 or len(val) < 1:
        raise DataError(
            f"there are {len(train)} training and {len(val)} validation cells, expected at least 2 "
            "and 1; give more cells"
        )
    batches = 1 + int(max(train_codes_n.max(), val_codes_n.max()))
    sizes_b = np.bincount(train_codes_n, minlength=batches)
    if batches > 1 and sizes_b.min() < 2:
        at = int(sizes_b.argmin())
        name = batch_names[at] if batch_names else str(at)
        raise DataError(
            f"batch {name!r} has {sizes_b[at]} training cell{'' if sizes_b[at] == 1 else 's'}, "
            "expected at least 2; leave it out, or merge batches"
        )
    mean_b, variance_b = library_prior(totals(train), train_codes_n, batches)
    model = new_model(settings, train.genes, batches, mean_b, variance_b)
    on = accelerator_in_use(settings.accelerator)
    bf16 = settings.precision == "bf16" or (settings.precision == "auto" and has_native_bf16(on))
    objective = LinearVAEObjective(
        train, val, train_codes_n, val_codes_n, settings, bf16=bf16 and on == "cpu"
    )
    return model, objective


def new_model(
    settings: LDVAESettings,
    genes: int,
    batches: int = 1,
    mean_b: NDArray[np.float64] | None = None,
    variance_b: NDArray[np.float64] | None = None,
) -> LinearVAE:
    """The model with the random weights of the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return LinearVAE(
            settings.size(genes, batches),
            None if mean_b is None else torch.from_numpy(mean_b),
            None if variance_b is None else torch.from_numpy(variance_b),
        )


def library_prior(
    totals_n: NDArray[np.float64], codes_n: NDArray[np.int64], batches: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance of the log library sizes in each batch, as scvi-tools takes them.

    A cell without counts counts as log size 0. Equal sizes have no variance to be a prior: 1e-4.
    """
    log_n = np.log(np.maximum(totals_n, 1.0))
    mean_b = np.array([log_n[codes_n == b].mean() for b in range(batches)])
    variance_b = np.array([log_n[codes_n == b].var() for b in range(batches)])
    return mean_b, np.maximum(variance_b, 1e-4)


def trained(
    model: LinearVAE,
    objective: LinearVAEObjective,
    folder: RunFolder | None,
    *,
    resume: bool = False,
    on_epoch: Callable[[Row], None] | None = None,
    on_step: Callable[[Progress, int], None] | None = None,
) -> FittedLinearVAE:
    """Train through the shared loop on one device; the best weights on validation come back."""
    settings = objective.settings
    check_accelerator(settings.accelerator)
    fitted = fit(
        model,
        objective,
        LinearVAEOptimisation.of(settings, len(objective)),
        OneDevice(accelerator_in_use(settings.accelerator)),
        folder,
        resume=resume,
        on_epoch=on_epoch,
        on_step=on_step,
    )
    model = model.cpu()
    model.load_state_dict(fitted.best)
    return FittedLinearVAE(model.eval(), settings, fitted)
