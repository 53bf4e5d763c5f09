"""Two processes train as one does, stop together, and say what became of a lost one."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from functools import partial
from operator import methodcaller

import pytest
import torch
from lightning_fabric import Fabric

from cellwright.errors import Interrupted, RunError, SettingsError
from cellwright.models.build import build_encoder
from cellwright.training.hardware import check_accelerator
from cellwright.training.loop import assist, fit
from cellwright.training.masked_bins import MaskedBins
from cellwright.training.processes import is_first_process, processes, with_started_processes
from cellwright.training.run_folder import RunFolder
from cellwright.training.settings import PretrainSettings

from .conftest import GENES, VALUES, make_cells

# A last batch of one cell, of which the second process has none.
TRAIN, VAL = make_cells(33, seed=0), make_cells(12, seed=1)
ALONE = PretrainSettings(
    seed=3,
    epochs=3,
    batch_size=8,
    learning_rate=1e-2,
    precision="float32",
    accelerator="cpu",
    size="tiny",
    width=16,
    latents=4,
    dropout=0.0,
)
TWO = replace(ALONE, devices=2)
LOG = torch.full((GENES, VALUES), 1 / VALUES).log()
BUILD = partial(build_encoder, ALONE.encoder, LOG, ALONE.seed)
LEARNED = MaskedBins(TRAIN, VAL, ALONE.mask_rule, ALONE.seed)


def fitted(path, settings, fabric, **options):
    path.mkdir(exist_ok=True)
    return fit(BUILD(), LEARNED, settings, fabric, RunFolder(path), **options)


def on_two(path, **options):
    helper = partial(assist, BUILD, LEARNED, TWO, path, options.get("resume", False))
    with processes(TWO, helper) as fabric:
        return fitted(path, TWO, fabric, **options)


def assert_same(two, one):
    assert len(two.history) == len(one.history)
    for ours, theirs in zip(two.history, one.history, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], abs=1e-5)
        assert ours["val_loss"] == pytest.approx(theirs["val_loss"], abs=1e-5)
    # A constant added to every key cancels in the softmax: its gradient is rounding, which Adam
    # blows up to steps of full size.
    for name, tensor in one.last.items():
        if name.endswith(("in_proj_bias", "to_key.bias")):
            continue
        torch.testing.assert_close(two.last[name], tensor, rtol=0, atol=1e-4, msg=name)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    fabric = Fabric(accelerator="cpu", devices=1)
    return fitted(tmp_path_factory.mktemp("alone") / "run", ALONE, fabric)


def test_two_processes_stop_together_and_train_as_one(alone, tmp_path):
    """The first one hears a signal in the midst of an epoch; both stop, and both continue."""

    def on_step(progress, _steps):
        if progress.step == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    address = os.environ.get("MASTER_ADDR")
    with pytest.raises(Interrupted) as caught:
        on_two(tmp_path / "run", on_step=on_step)
    assert caught.value.exit_status == 143
    assert not torch.distributed.is_initialized()
    assert_same(on_two(tmp_path / "run", resume=True), alone)
    assert not torch.distributed.is_initialized()
    assert os.environ.get("MASTER_ADDR") == address


def test_a_helper_that_is_lost_is_one_sentence(tmp_path):
    with (
        pytest.raises(
            RunError, match=r"process 1 of 2 ended with status 1 during.*--resume continues"
        ),
        processes(TWO, methodcaller("no such thing")) as fabric,
    ):
        fitted(tmp_path / "run", TWO, fabric)
    assert not torch.distributed.is_initialized()


class Fatal:
    """Ends the process that unpickles it, as a script without a main guard does."""

    def __reduce__(self):
        return os._exit, (7,)


def test_a_helper_that_cannot_start_is_one_sentence():
    with (
        pytest.raises(
            RunError,
            match=r"process 1 of 2 ended with status 7 before.*if __name__ == '__main__'",
        ),
        processes(TWO, Fatal()),
    ):
        pass


def test_alone_it_is_the_first_and_starts_nothing():
    assert is_first_process()
    assert with_started_processes(TWO) == TWO
    with pytest.raises(SettingsError, match="num_nodes is 2, but nothing started"):
        with_started_processes(replace(ALONE, num_nodes=2))


@pytest.fixture
def torchrun(monkeypatch):
    """The environment that torchrun gives the last of four processes, two on a machine."""
    for name, value in {
        "TORCHELASTIC_RUN_ID": "none",
        "RANK": "3",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "4",
        "LOCAL_WORLD_SIZE": "2",
        "GROUP_RANK": "1",
    }.items():
        monkeypatch.setenv(name, value)


def test_the_number_of_processes_is_that_of_torchrun(torchrun):
    assert not is_first_process()
    found = with_started_processes(ALONE)
    assert (found.devices, found.num_nodes) == (2, 2)
    assert with_started_processes(found) == found
    with pytest.raises(SettingsError, match=r"devices is 3 and num_nodes is 1, but 4 processes"):
        with_started_processes(replace(ALONE, devices=3))


def test_hardware_that_is_not_there_is_named():
    check_accelerator("cpu", 64)
    if not torch.cuda.is_available():
        with pytest.raises(SettingsError, match="accelerator is 'cuda'"):
            check_accelerator("cuda")
    else:
        with pytest.raises(SettingsError, match="devices is 999"):
            check_accelerator("cuda", 999)
    if not torch.backends.mps.is_available():
        with pytest.raises(SettingsError, match="accelerator is 'mps'"):
            check_accelerator("mps")
