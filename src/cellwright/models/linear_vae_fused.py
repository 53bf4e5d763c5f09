"""The linear VAE's ELBO from sparse counts on a CPU: the compiled kernel as autograd functions.

The same numbers as :class:`~cellwright.models.linear_vae.LinearVAE` for negative-binomial counts,
at a fraction of the time and memory: decoder batch norm is folded into the matrix of latent × genes
(the mean and variance of a gene's value follow from those of the latent), and everything behind the
decoder's product happens row by row in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cellwright.errors import RunError
from cellwright.models.linear_vae import Gaussian, LinearDecoder, LinearVAE, Terms, needed
from cellwright.models.nb_kernel import log1p_rows, log1p_rows_bf16, nb_rows


@dataclass(frozen=True)
class SparseRows:
    """Counts of n cells as CSR arrays: offsets_n (n + 1,) int64, columns int32, counts float32."""

    offsets_n: NDArray[np.int64]
    columns: NDArray[np.int32]
    counts: NDArray[np.float32]
    genes: int

    def __len__(self) -> int:
        return len(self.offsets_n) - 1

    def totals(self) -> NDArray[np.float32]:
        """Library sizes, (n,)."""
        nonempty = np.diff(self.offsets_n) > 0
        totals_n = np.zeros(len(self), dtype=np.float32)
        if nonempty.any():
            starts = self.offsets_n[:-1][nonempty]
            totals_n[nonempty] = np.add.reduceat(self.counts, starts, dtype=np.float64)
        return totals_n

    def dense(self) -> Tensor:
        """The counts as a dense matrix (n, g)."""
        shape = (len(self), self.genes)
        out_ng = torch.zeros(shape)
        rows = np.repeat(np.arange(len(self)), np.diff(self.offsets_n))
        out_ng[torch.from_numpy(rows), torch.from_numpy(self.columns.astype(np.int64))] = (
            torch.from_numpy(self.counts)
        )
        return out_ng


class Workspace:
    """Buffers for batches of up to ``cells`` cells, reused from step to step.

    Fresh memory of this size costs as much in page faults as the arithmetic on it. A second batch
    put into the buffers before the backward pass of the first is noticed. ``bf16`` may be switched
    between batches: both precisions take the same memory.
    """

    def __init__(self, cells: int, genes: int, *, bf16: bool, threads: int) -> None:
        self.bf16, self.threads, self.used = bf16, threads, 0
        self._logits_ng = torch.empty(cells, genes)
        self._log1p_ng = torch.empty(cells, genes)
        self.slope = np.empty((threads, genes), dtype=np.float32)
        self.log = np.empty((threads, genes), dtype=np.float32)
        self.theta = np.empty((threads, genes), dtype=np.float32)

    def logits(self, n: int) -> Tensor:
        return self._logits_ng[:n]

    def log1p(self, rows: SparseRows) -> Tensor:
        """log1p of the counts, dense, in the precision of the first layer."""
        self.used += 1
        out_ng = self._log1p_ng[: len(rows)]
        given = (rows.offsets_n, rows.columns, rows.counts)
        if self.bf16:
            half = self._log1p_ng.view(-1).view(torch.bfloat16)
            out_ng = half[: out_ng.numel()].view(out_ng.shape)
            bits_ng = out_ng.view(torch.uint16).numpy()
            self.each(len(rows), lambda _, a, b: log1p_rows_bf16(bits_ng, a, b, *given, _table()))
        else:
            values_ng = out_ng.numpy()
            self.each(len(rows), lambda _, a, b: log1p_rows(values_ng, a, b, *given))
        return out_ng

    def each(self, n: int, work: Callable[[int, int, int], Any]) -> None:
        """``work(thread, first, last)`` for consecutive parts of n rows, one per thread."""
        bounds = np.linspace(0, n, self.threads + 1).astype(int).tolist()
        parts = list(zip(range(self.threads), bounds[:-1], bounds[1:], strict=True))
        if self.threads == 1:
            work(*parts[0])
            return
        waiting = [_pool(self.threads).submit(work, *part) for part in parts[1:]]
        work(*parts[0])
        for one in waiting:
            one.result()


def fused_terms(
    model: LinearVAE,
    rows: SparseRows,
    batches_n: Tensor,
    noise_nd: Tensor,
    library_noise_n1: Tensor | None,
    workspace: Workspace,
) -> Terms:
    """What ``model(...)`` returns for the same counts; negative-binomial likelihood, CPU only."""
    log1p_ng = workspace.log1p(rows)
    encoders = [model.encoder]
    if model.library_encoder is not None:
        encoders.append(model.library_encoder)
    weight = torch.cat([one.first.weight for one in encoders]) if len(encoders) > 1 else None
    first_nh: Tensor = _apply(
        _FirstLayer, model.encoder.first.weight if weight is None else weight, log1p_ng, workspace
    )
    found: list[Gaussian] = []
    hidden = model.size.hidden
    for at, one in enumerate(encoders):
        part_nh = first_nh[:, at * hidden : (at + 1) * hidden]
        found.append(one.after(part_nh + one.first.bias))
    latent, library = found[0], (found[1] if len(found) > 1 else None)
    if library is None:
        log_library_n = torch.from_numpy(rows.totals()).log()
    else:
        log_library_n = library.at(needed(library_noise_n1))[:, 0]
    inputs_nc = model.decoder_inputs(latent.at(noise_nd), batches_n)
    inputs_nc, weight_gc, shift_g = _folded(model.decoder, inputs_nc)
    reconstruction: Tensor = _apply(
        _Reconstruction,
        inputs_nc,
        weight_gc,
        shift_g,
        model.log_dispersion_g,
        log_library_n,
        rows,
        workspace,
    )
    return Terms(reconstruction, *model.kl(latent, library, batches_n))


def _folded(decoder: LinearDecoder, inputs_nc: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, matrix and shift whose product is the decoder's value behind its batch norm.

    In training, mean and variance of W z over the batch are W mean(z) and diag(W cov(z) Wᵀ); the
    running ones are updated as ``BatchNorm1d`` does.
    """
    weight_gc, norm = decoder.linear.weight, decoder.norm
    if norm is None:
        return inputs_nc, weight_gc, torch.zeros(len(weight_gc))
    running_mean_g, running_var_g = norm.running_mean, norm.running_var
    if running_mean_g is None or running_var_g is None or norm.num_batches_tracked is None:
        raise RunError("the decoder's batch norm keeps no running statistics, expected some")
    if not norm.training:
        scale_g = norm.weight / (running_var_g + norm.eps).sqrt()
        return inputs_nc, weight_gc * scale_g[:, None], norm.bias - running_mean_g * scale_g
    n = len(inputs_nc)
    mean_c = inputs_nc.mean(0)
    centred_nc = inputs_nc - mean_c
    covariance_cc = centred_nc.T @ centred_nc / n
    variance_g, folded_gc = _apply(_Fold, weight_gc, covariance_cc, norm.weight, norm.eps)
    with torch.no_grad():
        momentum = float(norm.momentum or 0.0)
        running_mean_g.lerp_(weight_gc @ mean_c, momentum)
        running_var_g.lerp_(variance_g * (n / max(n - 1, 1)), momentum)
        norm.num_batches_tracked += 1
    return centred_nc, folded_gc, norm.bias


def _apply(function: Any, *given: Any) -> Any:
    return function.apply(*given)


class _Fold(torch.autograd.Function):
    """Rows of W scaled by gamma / sqrt(w cov wᵀ + eps), and w cov wᵀ (which takes no gradient)."""

    @staticmethod
    def forward(
        ctx: Any, weight_gc: Tensor, covariance_cc: Tensor, gamma_g: Tensor, eps: float
    ) -> tuple[Tensor, Tensor]:
        spread_gc = weight_gc @ covariance_cc
        variance_g = torch.einsum("gc,gc->g", spread_gc, weight_gc)
        inverse_g = (variance_g + eps).rsqrt()
        ctx.save_for_backward(weight_gc, spread_gc, inverse_g, gamma_g)
        ctx.mark_non_differentiable(variance_g)
        return variance_g, weight_gc * (gamma_g * inverse_g)[:, None]

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        slope_gc = slopes[1]
        weight_gc, spread_gc, inverse_g, gamma_g = ctx.saved_tensors
        scale_slope_g = torch.einsum("gc,gc->g", slope_gc, weight_gc)
        variance_slope_g = -0.5 * scale_slope_g * gamma_g * inverse_g**3
        weight_slope_gc = slope_gc * (gamma_g * inverse_g)[:, None]
        weight_slope_gc.addcmul_(spread_gc, variance_slope_g[:, None], value=2.0)
        covariance_slope_cc = weight_gc.T @ (weight_gc * variance_slope_g[:, None])
        return weight_slope_gc, covariance_slope_cc, scale_slope_g * inverse_g, None


class _FirstLayer(torch.autograd.Function):
    """log1p counts times the first layer's matrix, in bfloat16 where the workspace says so."""

    @staticmethod
    def forward(ctx: Any, weight_hg: Tensor, log1p_ng: Tensor, workspace: Workspace) -> Tensor:
        ctx.log1p_ng, ctx.workspace, ctx.used = log1p_ng, workspace, workspace.used
        return (log1p_ng @ weight_hg.to(log1p_ng.dtype).T).float()

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        if ctx.workspace.used != ctx.used:
            raise RuntimeError("the workspace holds another batch by now; backward came too late")
        slope_nh = slopes[0].to(ctx.log1p_ng.dtype)
        return (slope_nh.T @ ctx.log1p_ng).float(), None, None


class _Reconstruction(torch.autograd.Function):
    """Mean negative log likelihood of the counts; the gradients are made in the same pass."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs_nc: Tensor,
        weight_gc: Tensor,
        shift_g: Tensor,
        log_dispersion_g: Tensor,
        log_library_n: Tensor,
        rows: SparseRows,
        workspace: Workspace,
    ) -> Tensor:
        n = len(rows)
        logits_ng = torch.addmm(shift_g, inputs_nc, weight_gc.T, out=workspace.logits(n))
        theta_g = log_dispersion_g.exp()
        loss_n = np.empty(n)
        library_n, library_slope_n = log_library_n.exp().numpy(), np.empty(n, dtype=np.float32)
        workspace.theta[:] = 0

        def work(thread: int, first: int, last: int) -> None:
            nb_rows(
                logits_ng.numpy(),
                first,
                last,
                rows.offsets_n,
                rows.columns,
                rows.counts,
                library_n,
                theta_g.numpy(),
                1.0 / n,
                workspace.slope[thread],
                workspace.log[thread],
                loss_n,
                library_slope_n,
                workspace.theta[thread],
            )

        workspace.each(n, work)
        if any(ctx.needs_input_grad):
            theta_slope_g = torch.from_numpy(workspace.theta.sum(0)) * theta_g / n
            ctx.save_for_backward(
                logits_ng @ weight_gc,
                logits_ng.T @ inputs_nc,
                logits_ng.sum(0),
                theta_slope_g,
                torch.from_numpy(library_slope_n),
            )
        return torch.tensor(loss_n.mean(), dtype=torch.float32)

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> Any:
        return (*(slopes[0] * one for one in ctx.saved_tensors), None, None)


@lru_cache(maxsize=1)
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads - 1, thread_name_prefix="cellwright-rows")


@lru_cache(maxsize=1)
def _table() -> NDArray[np.uint16]:
    """The bits of log1p of 0 to 4,095 in bfloat16."""
    values = torch.arange(4096, dtype=torch.float32).log1p().to(torch.bfloat16)
    return values.view(torch.uint16).numpy()
