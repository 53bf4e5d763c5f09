"""Training of the linear VAE: packed counts, KL warm-up, stopping, exact continuation, planted axes."""

from __future__ import annotations

import os
import signal
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from cellwright.errors import DataError, Interrupted, SettingsError
from cellwright.representations.scvi_model import linear_vae_of
from cellwright.training.linear_vae_cells import count_batches
from cellwright.training.linear_vae_fit import fit_ldvae, library_prior, prepared, trained
from cellwright.training.linear_vae_objective import LinearVAEObjective
from cellwright.training.linear_vae_settings import LDVAESettings
from cellwright.training.packed_counts import PackedCounts, totals
from cellwright.training.run_folder import RunFolder

CELLS, GENES, AXES = 400, 250, 3


@pytest.fixture(scope="module")
def planted() -> tuple[sp.csr_matrix, np.ndarray]:
    """Counts of cells on three axes, a block of genes for each, and where the cells stand."""
    rng = np.random.default_rng(0)
    z_nd = rng.normal(size=(CELLS, AXES))
    w_gd = np.zeros((GENES, AXES))
    for axis in range(AXES):
        w_gd[axis * 40 : (axis + 1) * 40, axis] = 1.0
    p_ng = np.exp(z_nd @ w_gd.T + rng.normal(0, 0.7, GENES))
    p_ng /= p_ng.sum(1, keepdims=True)
    rate_ng = p_ng * rng.gamma(4, 250, (CELLS, 1)) * rng.gamma(4, 0.25, (CELLS, GENES))
    return sp.csr_matrix(rng.poisson(rate_ng).astype(np.float32)), z_nd


def test_an_epoch_holds_every_cell_and_no_batch_of_one(
    planted: tuple[sp.csr_matrix, np.ndarray],
) -> None:
    packed = PackedCounts.of_matrix(planted[0][:33])
    codes_n = np.arange(33)
    given = {"batch_size": 8, "epoch": 2, "seed": 1, "kl_weight": 0.5}
    batches = list(count_batches(packed, codes_n, **given))
    sizes = [len(batch.rows) for batch in batches]
    assert sizes == [8, 8, 8, 8, 2]
    seen = np.concatenate([batch.batches_n.numpy() for batch in batches])
    assert sorted(seen[:33].tolist()) == list(range(33))
    later = list(count_batches(packed, codes_n, first=3, **given))
    assert torch.equal(later[0].batches_n, batches[3].batches_n)


@pytest.mark.parametrize("library", ["observed", "latent"])
def test_planted_axes_are_found(planted: tuple[sp.csr_matrix, np.ndarray], library: str) -> None:
    counts_ng, z_nd = planted
    settings = LDVAESettings(
        latent=AXES, epochs=40, batch_size=32, learning_rate=1e-2, library=library
    )
    found = fit_ldvae(counts_ng, settings)
    latent_nd = found.transform(counts_ng)
    design = np.c_[latent_nd, np.ones(CELLS)]
    left = np.linalg.lstsq(design, z_nd, rcond=None)[1] / ((z_nd - z_nd.mean(0)) ** 2).sum(0)
    assert (1 - left > 0.8).all()  # share of each planted axis that the latent explains
    # Genes that belong to an axis have loadings, the others hardly any.
    size_g = np.abs(found.loadings()).max(1)
    assert np.median(size_g[:120]) > 3 * np.median(size_g[120:])


def test_the_weight_of_the_kl_grows_and_patience_begins_behind_it(
    planted: tuple[sp.csr_matrix, np.ndarray],
) -> None:
    settings = LDVAESettings(
        latent=2, epochs=30, kl_warmup=8, patience=2, batch_size=32, learning_rate=0.05
    )
    found = fit_ldvae(planted[0][:120], settings)
    weights = [row["kl_weight"] for row in found.history]
    np.testing.assert_allclose(weights, np.minimum(np.arange(len(weights)) / 8, 1))
    assert found.fitted.stopped_early
    assert 10 <= len(weights) < 30
    for row in found.history:
        parts = row["val_reconstruction"] + row["val_kl_latent"] + row["val_kl_library"]
        assert row["val_loss"] == pytest.approx(parts)
        weighted = row["train_reconstruction"] + row["kl_weight"] * row["train_kl_latent"]
        assert row["train_loss"] == pytest.approx(weighted, rel=1e-5)


def test_defaults_of_epochs_and_warmup() -> None:
    assert LDVAESettings().epochs_for(9_000) == 400
    assert LDVAESettings().epochs_for(100_000) == 80
    assert LDVAESettings().warmup_epochs(9_000) == 200
    assert LDVAESettings(epochs=1000).warmup_epochs(9_000) == 400
    assert LDVAESettings(kl_warmup=7).warmup_epochs(9_000) == 7


def test_a_run_that_was_stopped_continues_bit_for_bit(
    planted: tuple[sp.csr_matrix, np.ndarray], tmp_path
) -> None:
    settings = LDVAESettings(latent=2, epochs=4, batch_size=32, library="latent", dropout=0.2)
    train, val = (
        PackedCounts.of_matrix(planted[0][part]) for part in (slice(200), slice(200, 260))
    )

    def run(name: str, stop_at: int | None = None, resume: bool = False):
        path = tmp_path / name
        path.mkdir(exist_ok=True)
        codes = np.zeros(200, np.int64), np.zeros(60, np.int64)
        model, objective = prepared(train, val, *codes, settings)

        def on_step(progress, _):
            if progress.step == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)

        return trained(model, objective, RunFolder(path), resume=resume, on_step=on_step)

    whole = run("whole")
    with pytest.raises(Interrupted):
        run("cut", stop_at=10)
    continued = run("cut", resume=True)
    for name, value in whole.fitted.last.items():
        assert torch.equal(value, continued.fitted.last[name]), name
    assert [r["val_loss"] for r in whole.history] == [r["val_loss"] for r in continued.history]


def test_the_library_prior_is_that_of_scvi_tools(
    planted: tuple[sp.csr_matrix, np.ndarray],
) -> None:
    from anndata import AnnData
    from scvi.model import LinearSCVI

    cells = AnnData(planted[0])
    codes_n = np.arange(CELLS) % 3
    cells.obs["b"] = codes_n.astype(str)
    LinearSCVI.setup_anndata(cells, batch_key="b")
    theirs = LinearSCVI(cells).module
    mean_b, variance_b = library_prior(totals(PackedCounts.of_matrix(planted[0])), codes_n, 3)
    np.testing.assert_allclose(mean_b, theirs.library_log_means.numpy().ravel(), rtol=1e-6)
    np.testing.assert_allclose(variance_b, theirs.library_log_vars.numpy().ravel(), rtol=1e-5)


@pytest.mark.parametrize("library", ["observed", "latent"])
def test_training_follows_scvi_tools_step_by_step(
    planted: tuple[sp.csr_matrix, np.ndarray], library: str
) -> None:
    """The same start, batches and draws: what is left to differ is optimiser, loss and kernel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from anndata import AnnData
        from scvi.model import LinearSCVI
        from scvi.train import TrainingPlan

        cells = AnnData(planted[0][:70])
        LinearSCVI.setup_anndata(cells)
        observed = library == "observed"
        theirs = LinearSCVI(
            cells, n_latent=3, dropout_rate=0.0, use_observed_lib_size=observed
        ).module.train()
    plan = TrainingPlan(theirs, n_epochs_kl_warmup=3)
    their_adam = plan.configure_optimizers()["optimizer"]
    ours = linear_vae_of(theirs).train()
    start = {name: value.clone() for name, value in ours.state_dict().items()}
    packed, codes_n = PackedCounts.of_matrix(planted[0][:70]), np.zeros(70, np.int64)
    settings = LDVAESettings(latent=3, dropout=0.0, library=library, epochs=10, kl_warmup=3)
    objective = LinearVAEObjective(packed, packed, codes_n, codes_n, settings, bf16=False)
    our_adam = objective.optimizer(ours)
    for epoch in range(6):
        for batch in objective.training_batches(batch_size=16, epoch=epoch, seed=0):
            zeros_n1 = torch.zeros(len(batch.rows), 1, dtype=torch.int64)
            given = {"X": batch.rows.dense(), "batch": zeros_n1, "labels": zeros_n1}
            weight = {"kl_weight": min(1.0, epoch / 3)}
            torch.manual_seed(epoch)
            our_loss = objective.loss(ours, batch)
            torch.manual_seed(epoch)
            their_loss = theirs(given, loss_kwargs=weight)[2].loss
            torch.testing.assert_close(our_loss, their_loss, rtol=1e-5, atol=0)
            for adam, loss in ((our_adam, our_loss), (their_adam, their_loss)):
                adam.zero_grad()
                loss.backward()
                adam.step()
    for name, value in linear_vae_of(theirs).state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value, rtol=1e-3, atol=1e-4)
    moved = ours.decoder.linear.weight - start["decoder.linear.weight"]
    assert float(moved.detach().abs().median()) > 1e-3  # ten times what is allowed to differ


def test_zero_inflation_trains_in_plain_pytorch(
    planted: tuple[sp.csr_matrix, np.ndarray],
) -> None:
    settings = LDVAESettings(
        latent=2, epochs=6, batch_size=64, likelihood="zinb", learning_rate=1e-2
    )
    found = fit_ldvae(planted[0], settings)
    assert found.history[-1]["val_loss"] < found.history[0]["val_loss"]


def test_a_batch_with_one_cell_is_refused(planted: tuple[sp.csr_matrix, np.ndarray]) -> None:
    packed = PackedCounts.of_matrix(planted[0][:20])
    codes_n = np.array([0] * 19 + [1])
    names = ("library-A", "library-B")
    with pytest.raises(DataError, match="'library-B' has 1 training cell,"):
        prepared(packed, packed, codes_n, codes_n, LDVAESettings(latent=2), names)


def test_too_few_cells_and_too_large_a_latent_are_refused(
    planted: tuple[sp.csr_matrix, np.ndarray],
) -> None:
    with pytest.raises(DataError, match="1 training"):
        fit_ldvae(planted[0][:2], LDVAESettings(latent=2))
    with pytest.raises(SettingsError, match="latent is 251, but there are only 250 genes"):
        fit_ldvae(planted[0], LDVAESettings(latent=251))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"epochs": 0}, "0"),
        ({"batch_size": 1}, "1"),
        ({"learning_rate": -1.0}, "-1"),
        ({"kl_warmup": -3}, "-3"),
        ({"latent": 0}, "0"),
        ({"val": 1.2}, "1.2"),
    ],
)
def test_settings_that_cannot_work_are_refused(given, said) -> None:
    with pytest.raises(SettingsError, match=said):
        LDVAESettings(**given)
