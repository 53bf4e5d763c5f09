"""One process without Lightning Fabric: the same weights, bit for bit, and nothing of it imported."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from lightning_fabric import Fabric

from cellwright.training.linear_vae_fit import prepared
from cellwright.training.linear_vae_settings import LDVAESettings, LinearVAEOptimisation
from cellwright.training.loop import fit
from cellwright.training.one_device import OneDevice
from cellwright.training.packed_counts import PackedCounts


@pytest.mark.parametrize("clip_norm", [float("inf"), 10.0])
def test_it_trains_as_fabric_does(clip_norm: float) -> None:
    counts = np.random.default_rng(0).poisson(2.0, (60, 40)).astype(np.float32)
    settings = LDVAESettings(latent=3, epochs=3, batch_size=16, learning_rate=1e-2)
    found = []
    for device in (Fabric(accelerator="cpu", devices=1), OneDevice("cpu")):
        train, val = (PackedCounts.of_matrix(sp.csr_matrix(c)) for c in (counts[:48], counts[48:]))
        codes = np.zeros(48, np.int64), np.zeros(12, np.int64)
        model, objective = prepared(train, val, *codes, settings)
        optimisation = LinearVAEOptimisation.of(settings, 48)
        optimisation = LinearVAEOptimisation(**{**vars(optimisation), "clip_norm": clip_norm})
        found.append(fit(model, objective, optimisation, device, None))
    assert [row["val_loss"] for row in found[0].history] == [
        row["val_loss"] for row in found[1].history
    ]
    for name, tensor in found[0].last.items():
        assert torch.equal(tensor, found[1].last[name]), name


def test_a_linear_decoder_is_trained_without_importing_fabric() -> None:
    words = (
        "import sys, cellwright.training.linear_vae_fit; "
        "print(sorted({'lightning_fabric', 'torchmetrics', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
