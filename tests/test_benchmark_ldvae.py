"""The comparison with scvi-tools trains and judges both sides on the same cells."""

from __future__ import annotations

import argparse
import importlib.util
import warnings
from pathlib import Path
from types import ModuleType

import anndata as ad
import numpy as np
import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "ldvae.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_ldvae", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_scvi_tools_trains_on_the_training_cells_and_on_no_other(script: ModuleType) -> None:
    rng = np.random.default_rng(0)
    # Without shuffling, scvi-tools would take the first cells for validation.
    train, val = (ad.AnnData(rng.poisson(2.0, (n, 12)).astype(np.float32)) for n in (30, 50))
    given = argparse.Namespace(
        latent=2,
        library="observed",
        max_epochs=6,
        batch=10,
        warmup=3,
        patience=45,
        learning_rate=1e-3,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script.quiet_scvi(0)
        model, best, best_epoch = script.scvi_stopped(train, val, given)
    np.testing.assert_array_equal(np.sort(model.train_indices), np.arange(30))
    np.testing.assert_array_equal(np.sort(model.validation_indices), np.arange(30, 80))
    np.testing.assert_array_equal(model.adata.X[:30], train.X)
    losses = model.history["elbo_validation"]["elbo_validation"].astype(float)
    assert best_epoch == 1 + int(np.argmin(losses))
    assert best.keys() == model.module.state_dict().keys()
