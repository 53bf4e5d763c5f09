"""The compiled ELBO: loss and every gradient against float64 autograd of the plain model."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from scipy import special

from cellwright.models.linear_vae import LinearVAE, LinearVAESize
from cellwright.models.linear_vae_fused import SparseRows, Workspace, fused_terms
from cellwright.models.nb_kernel import _count_terms, exp32, log1p_rows_bf16, log32

CELLS, GENES, BATCHES = 37, 5000, 3


def sparse_rows(counts_ng: sp.csr_matrix) -> SparseRows:
    return SparseRows(
        counts_ng.indptr.astype(np.int64),
        counts_ng.indices.astype(np.int32),
        counts_ng.data.astype(np.float32),
        counts_ng.shape[1],
    )


@pytest.fixture(scope="module")
def counts_ng() -> sp.csr_matrix:
    """Sparse counts with large ones, rows of different depth and one empty gene."""
    rng = np.random.default_rng(0)
    dense = rng.negative_binomial(0.2, 0.15, (CELLS, GENES)) * (rng.random((CELLS, GENES)) < 0.4)
    dense[3, :20] = rng.integers(500, 9000, 20)
    dense[:, 7] = 0
    return sp.csr_matrix(dense.astype(np.float32))


def drawn_model(library: str, batches: int, norm: bool) -> LinearVAE:
    torch.manual_seed(2)
    size = LinearVAESize(
        GENES,
        latent=6,
        hidden=16,
        batches=batches,
        dropout=0.0,
        library=library,
        decoder_norm=norm,
    )
    model = LinearVAE(size, torch.full((batches,), 6.0), torch.full((batches,), 0.4))
    with torch.no_grad():
        model.log_dispersion_g.mul_(2)
        if model.decoder.norm is not None:
            model.decoder.norm.weight.uniform_(0.5, 1.5)
            model.decoder.norm.bias.normal_(0, 0.7)
            model.decoder.norm.running_var.uniform_(0.5, 1.5)
            model.decoder.norm.running_mean.normal_(0, 0.5)
    return model


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize(
    ("library", "batches", "norm"),
    list(itertools.product(("observed", "latent"), (1, BATCHES), (True, False))),
)
def test_loss_and_gradients_equal_float64_autograd(
    library: str, batches: int, norm: bool, training: bool, threads: int, counts_ng: sp.csr_matrix
) -> None:
    model = drawn_model(library, batches, norm).train(training)
    exact = copy.deepcopy(model).double()
    codes_n = torch.arange(CELLS) % batches
    noise, library_noise = torch.randn(CELLS, 6), torch.randn(CELLS, 1)
    workspace = Workspace(CELLS, GENES, bf16=False, threads=threads)
    terms = fused_terms(model, sparse_rows(counts_ng), codes_n, noise, library_noise, workspace)
    dense = torch.from_numpy(counts_ng.toarray()).double()
    expected = exact(dense, codes_n, noise.double(), library_noise.double())
    for ours, other in zip(terms, expected, strict=True):
        assert ours.item() == pytest.approx(other.item(), rel=2e-6, abs=1e-9)
    (0.7 * terms.loss(0.3)).backward()
    (0.7 * expected.loss(0.3)).backward()
    named = dict(exact.named_parameters())
    for name, parameter in model.named_parameters():
        slope = named[name].grad
        assert parameter.grad is not None, name
        assert slope is not None, name
        # A bias that a batch norm takes away again leaves the rounding of what its weight gets.
        beside = named[name.replace("bias", "weight")].grad
        assert beside is not None
        size = max(slope.abs().max().item(), beside.abs().max().item())
        np.testing.assert_allclose(parameter.grad, slope, atol=1e-5 * size, rtol=0, err_msg=name)
    for name, buffer in dict(exact.named_buffers()).items():
        ours = dict(model.named_buffers())[name]
        np.testing.assert_allclose(ours, buffer, rtol=2e-5, atol=1e-6, err_msg=name)


def test_bfloat16_first_layer_is_near_float32(counts_ng: sp.csr_matrix) -> None:
    model = drawn_model("observed", 1, True).eval()
    noise, codes_n = torch.randn(CELLS, 6), torch.zeros(CELLS).long()
    losses = []
    for bf16 in (False, True):
        workspace = Workspace(CELLS, GENES, bf16=bf16, threads=1)
        with torch.no_grad():
            terms = fused_terms(model, sparse_rows(counts_ng), codes_n, noise, None, workspace)
        losses.append(terms.loss().item())
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)
    assert losses[1] != losses[0]


def test_bfloat16_bits_are_those_of_torch(counts_ng: sp.csr_matrix) -> None:
    rows = sparse_rows(counts_ng)
    rows.counts[:5] = (0.37, 2.5, 70_000.0, 4_096.0, 1.0)
    bits = np.empty((CELLS, GENES), dtype=np.uint16)
    few = torch.arange(100.0).log1p().to(torch.bfloat16).view(torch.uint16).numpy()
    log1p_rows_bf16(bits, 0, CELLS, rows.offsets_n, rows.columns, rows.counts, few)
    expected = rows.dense().log1p().to(torch.bfloat16).view(torch.uint16).numpy()
    assert (bits == expected).mean() > 0.9999  # log1p itself may round the other way


def test_a_batch_without_counts_is_nothing_to_trip_over() -> None:
    model = drawn_model("observed", 1, True)
    rows = sparse_rows(sp.csr_matrix((4, GENES), dtype=np.float32))
    workspace = Workspace(4, GENES, bf16=False, threads=1)
    codes_n = torch.zeros(4).long()
    terms = fused_terms(model, rows, codes_n, torch.randn(4, 6), None, workspace)
    terms.loss().backward()
    assert terms.reconstruction.item() == pytest.approx(0, abs=1e-4)
    assert model.log_dispersion_g.grad is not None
    assert torch.isfinite(model.log_dispersion_g.grad).all()


def test_a_backward_pass_that_comes_too_late_is_noticed(counts_ng: sp.csr_matrix) -> None:
    model, rows = drawn_model("observed", 1, True), sparse_rows(counts_ng)
    workspace = Workspace(CELLS, GENES, bf16=False, threads=1)
    codes_n, noise = torch.zeros(CELLS).long(), torch.randn(CELLS, 6)
    early = fused_terms(model, rows, codes_n, noise, None, workspace)
    fused_terms(model, rows, codes_n, noise, None, workspace)
    with pytest.raises(RuntimeError, match="another batch"):
        early.loss().backward()


@pytest.mark.parametrize("theta", [1e-4, 0.3, 2.0, 40.0, 1e4, 1e7])
def test_count_terms_equal_scipy(theta: float) -> None:
    for x in (1.0, 2.0, 5.0, 12.0, 13.0, 300.0, 1e5, 0.4, 7.5):
        value, digamma = _count_terms(x, theta, 0.2)
        gamma = special.gammaln(x + theta) - special.gammaln(theta)
        assert value == pytest.approx(x * np.log(0.2) + gamma, rel=1e-7, abs=1e-7)
        slope = special.digamma(x + theta) - special.digamma(theta)
        assert digamma == pytest.approx(slope, rel=1e-6, abs=1e-9)


def test_polynomials_are_exp_and_log() -> None:
    x = -np.geomspace(1e-6, 80, 3000).astype(np.float32)
    found = np.array([exp32(v) for v in x])
    np.testing.assert_allclose(found, np.exp(x.astype(np.float64)), rtol=2e-7)
    y = np.geomspace(1e-12, 1e12, 3000).astype(np.float32)
    found = np.array([log32(v) for v in y])
    np.testing.assert_allclose(found, np.log(y.astype(np.float64)), rtol=2e-7, atol=2e-7)
