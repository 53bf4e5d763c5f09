"""Killed, signalled, crowded out of the disk or trained by two: the weights are the same bits."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cellwright.data import atomic
from cellwright.data.reading import write_cells
from cellwright.data.simulate import simulate
from cellwright.errors import CellwrightError, RunError
from cellwright.training import checkpoint, loop
from cellwright.workflows import pretrain as workflow
from cellwright.workflows import pretrain_result
from cellwright.workflows.pretrain import pretrain

SETTINGS = {
    "size": "tiny",
    "width": 16,
    "epochs": 8,
    "batch_size": 16,
    "learning_rate": 5e-3,
    "precision": "float32",
    "accelerator": "cpu",
    "split_by": "none",
}
STEPS = 6
"""Batches per epoch: 84 training cells."""

needs_fork = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="processes are forked here, safely on Linux alone"
)


@pytest.fixture(scope="module")
def cells():
    return simulate(120, 40, seed=2)


@pytest.fixture(scope="module")
def whole(cells, tmp_path_factory):
    """The run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    pretrain(cells, out, **SETTINGS)
    return out


def assert_same_run(out, whole):
    for name in ("model.safetensors", "last.safetensors", "tokenizer.npz", "cells.txt.gz"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name
    timed = ["seconds", "cells_per_second"]
    ours, theirs = (pd.read_csv(path / "history.csv").drop(columns=timed) for path in (out, whole))
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
    ours, theirs = (json.loads((path / "metrics.json").read_text()) for path in (out, whole))
    assert ours["perplexity"] == theirs["perplexity"] and ours["scores"] == theirs["scores"]
    assert not [path for path in out.rglob("*") if ".partial" in path.name]


class Child:
    """Pretraining in a forked process: it starts at once, and it can be killed."""

    def __init__(self, cells, out, before=None, **options):
        resume = (Path(out) / "config.toml").is_file()
        given = (cells, out, before, {**SETTINGS, "resume": resume, **options})
        self.process = multiprocessing.get_context("fork").Process(target=_live, args=given)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
            self.process.start()

    def end(self):
        """Its exit status once it ends."""
        self.process.join(60)
        assert self.process.exitcode is not None
        return self.process.exitcode

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        return self.end()


def _live(cells, out, before, options):
    if before is not None:
        before()
    try:
        pretrain(cells, out, **options)
    except CellwrightError as error:
        (Path(out).parent / "said").write_text(str(error))
        os._exit(error.exit_status)
    os._exit(0)


def slowly(_progress, _steps):
    time.sleep(0.02)


def very_slowly(_progress, _steps):
    time.sleep(0.2)


@needs_fork
def test_killed_at_random_moments_it_continues_to_the_same_bits(cells, whole, tmp_path):
    rng = np.random.default_rng(0)
    state = tmp_path / "run" / "checkpoint" / "state.json"
    killed = 0
    for _ in range(5):
        before = state.stat().st_mtime_ns if state.exists() else 0
        child = Child(cells, tmp_path / "run", on_step=slowly)
        # Some kills come before this process has saved anything, some in the midst of it.
        if rng.random() < 0.7:
            while child.process.is_alive() and (
                not state.exists() or state.stat().st_mtime_ns == before
            ):
                time.sleep(0.002)
        time.sleep(rng.uniform(0.0, 0.1))
        status = child.kill()
        assert status in (-signal.SIGKILL, 0)  # on a busy machine the last one may be too late
        killed += status != 0
    assert killed > 2
    pretrain(cells, tmp_path / "run", **SETTINGS, resume=True)
    assert_same_run(tmp_path / "run", whole)


def die(*_args, **_kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


def nth(call, number, function):
    """``function`` at the ``number``-th call, the real one at the others."""
    count = iter(range(1, 1_000_000))

    def counted(*args, **kwargs):
        return (function if next(count) == number else call)(*args, **kwargs)

    return counted


def between_tensors_and_state():
    checkpoint.json.dumps = nth(json.dumps, 2, die)


def in_the_midst_of_the_tensors():
    def half(path, content):
        with path.open("wb") as handle:
            handle.write(content[: len(content) // 2])
        die()

    Path.write_bytes = nth(Path.write_bytes, 3, half)


def before_the_new_file_gets_its_name():
    real = os.fsync

    def fsync(number):
        real(number)
        if "tensors-" in str(Path(f"/proc/self/fd/{number}").readlink()):
            die()

    atomic.os.fsync = fsync


def before_old_tensors_go():
    checkpoint.Path.glob = die


def before_the_history_is_written():
    loop.RunFolder.write_history = nth(loop.RunFolder.write_history, 2, die)


def before_the_verdict():
    workflow.judged = die


def before_the_last_file():
    pretrain_result.draw = die


@needs_fork
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="files are told by /proc")
def test_killed_inside_the_save_it_continues_to_the_same_bits(cells, whole, tmp_path):
    for moment in (
        between_tensors_and_state,
        in_the_midst_of_the_tensors,
        before_the_new_file_gets_its_name,
        before_old_tensors_go,
        before_the_history_is_written,
        before_the_verdict,
        before_the_last_file,
    ):
        child = Child(cells, tmp_path / "run", before=moment)
        assert child.end() == -signal.SIGKILL, moment.__name__
        assert not (tmp_path / "run" / "metrics.json").exists()
    pretrain(cells, tmp_path / "run", **SETTINGS, resume=True)
    assert_same_run(tmp_path / "run", whole)


@needs_fork
def test_a_second_writer_is_refused_while_the_first_one_lives(cells, whole, tmp_path):
    out = tmp_path / "run"
    child = Child(cells, out, on_step=very_slowly)
    while child.process.is_alive() and not (out / "history.csv").exists():
        time.sleep(0.01)
    for options in ({"resume": True}, {"force": True}):
        with pytest.raises(RunError, match=rf"is being written by process {child.process.pid}"):
            pretrain(cells, out, **SETTINGS, **options)
    assert (out / "history.csv").exists()
    assert child.kill() == -signal.SIGKILL
    pretrain(cells, out, **SETTINGS, resume=True)
    assert_same_run(out, whole)


def nearly_no_disk():
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))


@needs_fork
def test_with_the_disk_full_it_ends_in_one_sentence_and_can_continue(cells, whole, tmp_path):
    out = tmp_path / "run"
    assert Child(cells, out, before=nearly_no_disk).end() == 1
    said = (tmp_path / "said").read_text()
    assert said.startswith(f"cannot write {out}/checkpoint/tensors-000000006.safetensors: ")
    left = {path.name for path in out.rglob("*") if path.is_file()}
    assert {name for name in left if "tfevents" not in name} == {
        "config.toml",
        "vocabulary.tsv",
        "tokenizer.npz",
        "split.toml",
        "cells.txt.gz",
        "provenance.json",
        "run.log",
    }
    pretrain(cells, out, **SETTINGS, resume=True)
    assert_same_run(out, whole)


@pytest.fixture(scope="module")
def file(cells, tmp_path_factory):
    path = tmp_path_factory.mktemp("file") / "cells.h5ad"
    write_cells(cells, path)
    return path


def command(file, out, *more):
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
    return ["pretrain", str(file), "-o", str(out), *flags, *more]


def wait_for(path, process):
    end = time.monotonic() + 90
    while not path.exists():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.005)


SLOWLY = """
import sys, time
from cellwright.cli.main import main
from cellwright.training import masked_bins
real = masked_bins.masked_loss
def slow(*given):
    time.sleep(0.05)
    return real(*given)
masked_bins.masked_loss = slow
sys.argv[0] = "cellwright"
main()
"""
"""The command, slow enough to be caught in its first epochs; the training is the same."""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_signal_ends_the_command_with_the_checkpoint_saved(cells, whole, file, tmp_path):
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", SLOWLY, *command(file, out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for(out / "history.csv", process)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    printed, said = process.communicate(timeout=60)
    assert process.returncode == 143, said
    last = said.strip().splitlines()[-1]
    assert "checkpoint is saved" in last and "--resume continues" in last
    assert printed == "" and "Traceback" not in said
    progress = json.loads((out / "checkpoint" / "state.json").read_text())["facts"]["progress"]
    assert 0 < progress["step"] < 8 * STEPS
    assert last.split(": ")[-1] in (out / "run.log").read_text().splitlines()[-1]
    pretrain(cells, out, **SETTINGS, resume=True)
    assert_same_run(out, whole)


@needs_fork
def test_an_interrupt_in_the_midst_of_an_epoch_loses_no_step(cells, whole, tmp_path):
    out = tmp_path / "run"
    child = Child(cells, out, on_step=very_slowly)
    while child.process.is_alive() and not (out / "history.csv").exists():
        time.sleep(0.005)
    time.sleep(0.3)
    os.kill(child.process.pid, signal.SIGINT)
    assert child.end() == 130
    assert "the same command with --resume continues" in (tmp_path / "said").read_text()
    progress = json.loads((out / "checkpoint" / "state.json").read_text())["facts"]["progress"]
    assert progress["batch"] == progress["step"] - progress["epoch"] * STEPS > 0
    pretrain(cells, out, **SETTINGS, resume=True)
    assert_same_run(out, whole)


def test_torchrun_with_two_processes_trains_as_one_does(cells, file, tmp_path):
    alone = pretrain(cells, tmp_path / "alone", **(SETTINGS | {"dropout": 0.0, "epochs": 3}))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    more = ["--dropout=0", "--epochs=3", "--json"]
    done = subprocess.run(
        [*torchrun, "-m", "cellwright", *command(file, tmp_path / "two", *more)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    # One process prints, and what it prints is JSON.
    metrics = json.loads(done.stdout)
    for name, value in alone.metrics["perplexity"].items():
        assert metrics["perplexity"][name] == pytest.approx(value, abs=1e-4), name
    history = pd.read_csv(tmp_path / "two" / "history.csv")
    for column in ("train_loss", "val_loss"):
        np.testing.assert_allclose(history[column], alone.history[column], atol=1e-5)
    assert "devices = 2" in (tmp_path / "two" / "config.toml").read_text()
