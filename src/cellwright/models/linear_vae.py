"""A variational autoencoder with a linear decoder: latent axes that are read off as gene loadings.

Svensson, Gayoso, Yosef & Pachter 2020; the law of counts, the priors and the layers are those of
scvi-tools' ``LDVAE``, whose ELBO this one equals with the same weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from cellwright.errors import SettingsError

EPSILON = 1e-8
VARIANCE_FLOOR = 1e-4
Library = Literal["observed", "latent"]
Likelihood = Literal["nb", "zinb"]


@dataclass(frozen=True)
class LinearVAESize:
    """Shape and law of the model.

    library: ``observed`` (each cell's own total) or ``latent`` (log-normal, prior per batch);
    likelihood: negative binomial with a dispersion per gene, zero-inflated or not.

    Raises
    ------
    SettingsError
        If a number cannot work; the sentence holds it.
    """

    genes: int
    latent: int = 10
    hidden: int = 128
    batches: int = 1
    dropout: float = 0.1
    library: Library = "observed"
    likelihood: Likelihood = "nb"
    decoder_norm: bool = True

    def __post_init__(self) -> None:
        for name in ("genes", "latent", "hidden", "batches"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.latent > self.genes:
            raise SettingsError(
                f"latent is {self.latent}, but there are only {self.genes} genes; a latent space "
                "larger than the data explains nothing"
            )
        if not 0 <= self.dropout < 1:
            raise SettingsError(f"dropout is {self.dropout}, expected 0 up to below 1")

    @property
    def covariates(self) -> int:
        """Columns of the decoder that stand for batches; one batch needs none."""
        return self.batches if self.batches > 1 else 0


class Gaussian(NamedTuple):
    """Independent normals: mean and variance, (n, d) each."""

    mean_nd: Tensor
    variance_nd: Tensor

    def at(self, noise_nd: Tensor) -> Tensor:
        """The value that standard normal noise stands for."""
        return self.mean_nd + self.variance_nd.sqrt() * noise_nd


class Terms(NamedTuple):
    """Per-cell means over a batch, in nats: reconstruction (negative log likelihood) and the KLs.

    The negative ELBO is their sum (lower is better).
    """

    reconstruction: Tensor
    kl_latent: Tensor
    kl_library: Tensor

    def loss(self, kl_weight: float = 1.0) -> Tensor:
        """The negative ELBO, the KL of the latent weighted; that of the library never is."""
        return self.reconstruction + kl_weight * self.kl_latent + self.kl_library


class GaussianEncoder(nn.Module):
    """log1p counts through one hidden layer to a Gaussian; the first layer may be given from outside."""

    def __init__(self, genes: int, hidden: int, out: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(genes, hidden)
        self.norm = nn.BatchNorm1d(hidden, eps=1e-3, momentum=0.01)
        self.dropout = nn.Dropout(dropout)
        self.mean = nn.Linear(hidden, out)
        self.log_variance = nn.Linear(hidden, out)

    def forward(self, log1p_ng: Tensor) -> Gaussian:
        return self.after(self.first(log1p_ng))

    def after(self, first_nh: Tensor) -> Gaussian:
        """The rest of the way from the output of the first layer."""
        hidden_nh = self.dropout(functional.relu(self.norm(first_nh)))
        variance_nd = self.log_variance(hidden_nh).exp() + VARIANCE_FLOOR
        return Gaussian(self.mean(hidden_nh), variance_nd)


class LinearDecoder(nn.Module):
    """Latent and batch to one value per gene: a matrix without bias, then batch norm where wanted."""

    def __init__(self, inputs: int, genes: int, *, norm: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, genes, bias=False)
        self.norm = nn.BatchNorm1d(genes, eps=1e-3, momentum=0.01) if norm else None

    def forward(self, inputs_nc: Tensor) -> Tensor:
        values_ng = self.linear(inputs_nc)
        return values_ng if self.norm is None else self.norm(values_ng)

    def loadings(self) -> Tensor:
        """Genes × inputs, scaled as the batch norm scales them in evaluation."""
        weight_gc = self.linear.weight
        if self.norm is None or self.norm.running_var is None:
            return weight_gc
        scale_g = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
        return weight_gc * scale_g[:, None]


class LinearVAE(nn.Module):
    """The model: counts in, the terms of its ELBO out.

    log_library_mean_b, log_library_variance_b: the prior of the log library size in each batch
    (used where ``size.library`` is ``latent``).
    """

    log_library_mean_b: Tensor
    log_library_variance_b: Tensor

    def __init__(
        self,
        size: LinearVAESize,
        log_library_mean_b: Tensor | None = None,
        log_library_variance_b: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        genes, hidden = size.genes, size.hidden
        self.encoder = GaussianEncoder(genes, hidden, size.latent, size.dropout)
        self.library_encoder = (
            GaussianEncoder(genes, hidden, 1, size.dropout) if size.library == "latent" else None
        )
        inputs = size.latent + size.covariates
        self.decoder = LinearDecoder(inputs, genes, norm=size.decoder_norm)
        self.zero_decoder = (
            LinearDecoder(inputs, genes, norm=size.decoder_norm)
            if size.likelihood == "zinb"
            else None
        )
        self.log_dispersion_g = nn.Parameter(torch.randn(genes))
        mean_b, variance_b = torch.zeros(size.batches), torch.ones(size.batches)
        if log_library_mean_b is not None and log_library_variance_b is not None:
            mean_b, variance_b = log_library_mean_b.float(), log_library_variance_b.float()
        self.register_buffer("log_library_mean_b", mean_b)
        self.register_buffer("log_library_variance_b", variance_b)

    def forward(
        self,
        counts_ng: Tensor,
        batches_n: Tensor,
        noise_nd: Tensor,
        library_noise_n1: Tensor | None = None,
    ) -> Terms:
        """The ELBO's terms for dense counts.

        Parameters
        ----------
        counts_ng
            Counts, float.
        batches_n
            int64 batch codes, 0 where there is one batch.
        noise_nd, library_noise_n1
            Standard normal: the draw of the latent, and of the log library size where that is latent.
        """
        log1p_ng = counts_ng.log1p()
        latent = self.encoder(log1p_ng)
        if self.library_encoder is None:
            library, log_library_n1 = None, counts_ng.sum(1, keepdim=True).log()
        else:
            library = self.library_encoder(log1p_ng)
            log_library_n1 = library.at(needed(library_noise_n1))
        inputs_nc = self.decoder_inputs(latent.at(noise_nd), batches_n)
        scale_ng = self.decoder(inputs_nc).softmax(-1)
        mean_ng = log_library_n1.exp() * scale_ng
        dispersion_g = self.log_dispersion_g.exp()
        if self.zero_decoder is None:
            log_ng = log_nb(counts_ng, mean_ng, dispersion_g)
        else:
            log_ng = log_zinb(counts_ng, mean_ng, dispersion_g, self.zero_decoder(inputs_nc))
        return Terms(-log_ng.sum(-1).mean(), *self.kl(latent, library, batches_n))

    def kl(
        self, latent: Gaussian, library: Gaussian | None, batches_n: Tensor
    ) -> tuple[Tensor, Tensor]:
        """KL from the standard normal, and of the log library size from its batch's prior."""
        zero = torch.zeros((), device=latent.mean_nd.device)
        kl_latent = kl_normal(latent, zero, zero + 1).sum(-1).mean()
        if library is None:
            return kl_latent, zero
        mean_n1 = self.log_library_mean_b[batches_n, None]
        variance_n1 = self.log_library_variance_b[batches_n, None]
        return kl_latent, kl_normal(library, mean_n1, variance_n1).sum(-1).mean()

    def decoder_inputs(self, latent_nd: Tensor, batches_n: Tensor) -> Tensor:
        """The latent, with a column per batch where there are several."""
        if not self.size.covariates:
            return latent_nd
        one_hot_nb = functional.one_hot(batches_n, self.size.batches).to(latent_nd.dtype)
        return torch.cat([latent_nd, one_hot_nb], dim=-1)

    def loadings(self) -> Tensor:
        """Genes × latent axes, as scvi-tools' ``get_loadings``: weights times the batch norm's scale."""
        return self.decoder.loadings()[:, : self.size.latent].detach()


def kl_normal(found: Gaussian, mean: Tensor, variance: Tensor) -> Tensor:
    """KL divergence of independent normals from others, per dimension, in nats."""
    ratio = found.variance_nd / variance
    return 0.5 * (ratio + (found.mean_nd - mean) ** 2 / variance - 1 - ratio.log())


def log_nb(counts_ng: Tensor, mean_ng: Tensor, dispersion_g: Tensor) -> Tensor:
    """Log probability of counts under NB(mean, dispersion θ): variance mean + mean²/θ."""
    log_sum_ng = (dispersion_g + mean_ng + EPSILON).log()
    return (
        dispersion_g * ((dispersion_g + EPSILON).log() - log_sum_ng)
        + counts_ng * ((mean_ng + EPSILON).log() - log_sum_ng)
        + torch.lgamma(counts_ng + dispersion_g)
        - torch.lgamma(dispersion_g)
        - torch.lgamma(counts_ng + 1)
    )


def log_zinb(
    counts_ng: Tensor, mean_ng: Tensor, dispersion_g: Tensor, zero_logits_ng: Tensor
) -> Tensor:
    """As :func:`log_nb`, a share sigmoid(``zero_logits``) of the values being zero beside it."""
    not_zero_ng = -functional.softplus(zero_logits_ng)
    log_no_count_ng = dispersion_g * (
        (dispersion_g + EPSILON).log() - (dispersion_g + mean_ng + EPSILON).log()
    )
    of_zero_ng = functional.softplus(log_no_count_ng - zero_logits_ng) + zero_logits_ng
    of_count_ng = log_nb(counts_ng, mean_ng, dispersion_g)
    return not_zero_ng + torch.where(counts_ng > 0, of_count_ng, of_zero_ng)


def needed(noise: Tensor | None) -> Tensor:
    if noise is None:
        raise SettingsError("a latent library size needs noise of its own; none was given")
    return noise
