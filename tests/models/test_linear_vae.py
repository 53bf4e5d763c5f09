"""The linear VAE: its ELBO is that of scvi-tools with the same weights, in every configuration."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from cellwright.errors import DataError, SettingsError
from cellwright.models.linear_vae import (
    Gaussian,
    LinearVAE,
    LinearVAESize,
    kl_normal,
    log_nb,
    log_zinb,
)
from cellwright.representations.scvi_model import linear_vae_of

GENES, CELLS, BATCHES = 60, 33, 3
CONFIGURATIONS = list(
    itertools.product(("nb", "zinb"), ("observed", "latent"), (1, BATCHES), (True, False))
)


def scvi_module(likelihood: str, library: str, batches: int, norm: bool) -> Any:
    """scvi-tools' module with every number in it drawn, batch norms included."""
    from scvi.module import LDVAE

    rng = np.random.default_rng(5)
    module = LDVAE(
        GENES,
        n_batch=batches,
        n_latent=7,
        n_hidden=16,
        gene_likelihood=likelihood,
        use_batch_norm=norm,
        use_observed_lib_size=library == "observed",
        library_log_means=rng.normal(5, 0.2, (1, batches)),
        library_log_vars=rng.uniform(0.1, 0.6, (1, batches)),
    )
    generator = torch.Generator().manual_seed(3)
    for name, value in module.state_dict().items():
        if "running_var" in name or name.endswith("1.weight"):
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
        elif "running_mean" in name or name.endswith("1.bias"):
            value.copy_(0.3 * torch.randn(value.shape, generator=generator))
    return module


@pytest.fixture
def counts_ng() -> torch.Tensor:
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.negative_binomial(0.6, 0.2, (CELLS, GENES)).astype(np.float32))


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize(("likelihood", "library", "batches", "norm"), CONFIGURATIONS)
def test_elbo_equals_scvi_tools(
    likelihood: str,
    library: str,
    batches: int,
    norm: bool,
    training: bool,
    counts_ng: torch.Tensor,
) -> None:
    module = scvi_module(likelihood, library, batches, norm)
    codes_n = torch.arange(CELLS) % batches
    model = linear_vae_of(module)
    for part in (*module.modules(), *model.modules()):  # their dropouts would draw differently
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    module.train(training)
    model.train(training)
    tensors = {"X": counts_ng, "batch": codes_n[:, None], "labels": torch.zeros(CELLS, 1).long()}
    inference, _, theirs = module(tensors)
    qz, ql = inference["qz"], inference["ql"]
    noise = ((inference["z"] - qz.loc) / qz.scale).detach()
    library_noise = None
    if ql is not None:
        library_noise = ((inference["library"] - ql.loc) / ql.scale).detach()
    terms = model(counts_ng, codes_n, noise, library_noise)
    local = {name: value.mean().item() for name, value in theirs.kl_local.items()}
    reconstruction = next(iter(theirs.reconstruction_loss.values())).mean()
    assert terms.reconstruction.item() == pytest.approx(reconstruction.item(), rel=1e-5)
    assert terms.kl_latent.item() == pytest.approx(local["kl_divergence_z"], rel=1e-5)
    assert terms.kl_library.item() == pytest.approx(local["kl_divergence_l"], rel=1e-5, abs=1e-7)
    assert terms.loss().item() == pytest.approx(theirs.loss.item(), rel=1e-5)
    np.testing.assert_allclose(model.loadings().numpy(), module.get_loadings(), rtol=1e-5)


@pytest.mark.parametrize("library", ["observed", "latent"])
def test_gradients_equal_scvi_tools(library: str, counts_ng: torch.Tensor) -> None:
    module = scvi_module("nb", library, BATCHES, True)
    codes_n = torch.arange(CELLS) % BATCHES
    model = linear_vae_of(module)
    for part in (*module.modules(), *model.modules()):
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    module.train()
    model.train()
    tensors = {"X": counts_ng, "batch": codes_n[:, None], "labels": torch.zeros(CELLS, 1).long()}
    inference, _, theirs = module(tensors, loss_kwargs={"kl_weight": 0.25})
    theirs.loss.backward()
    qz, ql = inference["qz"], inference["ql"]
    noise = ((inference["z"] - qz.loc) / qz.scale).detach()
    library_noise = None
    if ql is not None:
        library_noise = ((inference["library"] - ql.loc) / ql.scale).detach()
    model(counts_ng, codes_n, noise, library_noise).loss(0.25).backward()
    layer = module.decoder.factor_regressor.fc_layers[0]
    for ours, other in (
        (model.decoder.linear.weight, layer[0].weight),
        (model.decoder.norm.weight, layer[1].weight),
        (model.encoder.first.weight, module.z_encoder.encoder.fc_layers[0][0].weight),
        (model.log_dispersion_g, module.px_r),
    ):
        size = other.grad.abs().max().item()
        np.testing.assert_allclose(ours.grad.numpy(), other.grad.numpy(), atol=2e-5 * size)


def test_log_nb_is_the_negative_binomial() -> None:
    x, mu, theta = torch.arange(40.0).double(), torch.tensor(6.5).double(), torch.tensor(1.7)
    ours = log_nb(x, mu, theta.double()).numpy()
    expected = stats.nbinom.logpmf(np.arange(40), float(theta), float(theta) / (float(theta) + 6.5))
    np.testing.assert_allclose(ours, expected, rtol=1e-6)


def test_log_zinb_sums_to_one_and_has_the_zeros_asked_for() -> None:
    x = torch.arange(4000.0).double()
    mu, theta, logit = (torch.tensor(v).double() for v in (3.0, 0.8, 0.4))
    p = log_zinb(x, mu, theta, logit).exp().numpy()
    share = 1 / (1 + np.exp(-0.4))
    zero = share + (1 - share) * stats.nbinom.pmf(0, 0.8, 0.8 / 3.8)
    assert p.sum() == pytest.approx(1, abs=1e-6)
    assert p[0] == pytest.approx(zero, rel=1e-6)


def test_kl_of_normals_equals_torch() -> None:
    mean, variance = torch.tensor([0.3, -2.0]), torch.tensor([0.5, 3.0])
    there = torch.distributions.Normal(mean, variance.sqrt())
    prior = torch.distributions.Normal(torch.tensor(1.0), torch.tensor(2.0).sqrt())
    found = kl_normal(Gaussian(mean, variance), torch.tensor(1.0), torch.tensor(2.0))
    expected = torch.distributions.kl_divergence(there, prior)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-6)


def test_loadings_have_one_column_per_axis_and_none_per_batch() -> None:
    model = LinearVAE(LinearVAESize(20, latent=4, batches=3))
    assert model.loadings().shape == (20, 4)


@pytest.mark.parametrize(
    ("given", "said"), [({"latent": 21}, "21"), ({"dropout": 1.5}, "1.5"), ({"hidden": 0}, "0")]
)
def test_sizes_that_cannot_work_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        LinearVAESize(**{"genes": 20, **given})


def test_a_scvi_model_of_another_build_is_refused() -> None:
    from scvi.module import LDVAE

    with pytest.raises(DataError, match="poisson"):
        linear_vae_of(LDVAE(GENES, gene_likelihood="poisson", use_observed_lib_size=True))
