"""Killed or stopped at any moment: the source is as it was, and a name holds all or nothing."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sys
import time
import warnings

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

from cellwright.cli.main import main
from cellwright.data.disk import rows as rows_module
from cellwright.data.disk import sink

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="processes are forked here, safely on Linux alone"
)
COMMANDS = {
    "crop": ("crop", "--cells", "300", "--genes", "60", "-q"),
    "unique": ("unique", "--cells", "drop", "-q"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("killed")
    rng = np.random.default_rng(0)
    for storage in ("csr", "csc"):
        cells = ad.AnnData(sp.random(600, 200, 0.3, storage, np.float32, rng))
        cells.obsm["X_pca"] = rng.random((600, 3))
        cells.write_h5ad(folder / f"{storage}.h5ad", compression="gzip")
    return folder


def type_in(words):
    """A command, in blocks so small that it takes a while."""
    rows_module._LARGEST = 8000
    sink.CHUNK = 2500
    sys.argv = ["cellwright", *words]
    status = 0
    try:
        main()
    except SystemExit as stop:
        status = int(stop.code or 0)
    os._exit(status)


class Child:
    def __init__(self, command, source, out):
        name, *options = COMMANDS[command]
        words = [name, str(source), "-o", str(out), "--memory", "16MB", "--force", *options]
        self.process = multiprocessing.get_context("fork").Process(target=type_in, args=(words,))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
            self.process.start()

    def end(self, number=None):
        if number is not None and self.process.is_alive():
            os.kill(self.process.pid, number)
        self.process.join(60)
        assert self.process.exitcode is not None
        return self.process.exitcode


def contents(path):
    """Every file of an .h5ad or .zarr by name, with a hash."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return {str(p.relative_to(path)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def undisturbed(command, source, out, n):
    """What the command writes, and n waits spread over half of the time it takes."""
    started = time.monotonic()
    assert Child(command, source, out).end() == 0
    took = time.monotonic() - started
    return contents(out), np.random.default_rng(1).uniform(0, took / 2, n)


CASES = [("crop", "csr", ".h5ad"), ("unique", "csr", ".zarr"), ("crop", "csc", ".zarr")]


@pytest.mark.parametrize(("command", "storage", "ending"), CASES)
def test_killed_at_any_moment(command, storage, ending, folder, tmp_path):
    source, out = folder / f"{storage}.h5ad", tmp_path / f"out{ending}"
    before = contents(source)
    whole, waits = undisturbed(command, source, out, 4)
    killed = 0
    for number, wait in enumerate(waits):
        if number == 2:
            remove(out)  # from here on nothing stands in its place
        for sooner in (1, 2, 4, 8):  # a machine that has become faster is done before
            child = Child(command, source, out)
            time.sleep(wait / sooner)
            if child.end(signal.SIGKILL) == -signal.SIGKILL:
                killed += 1
                break
        assert contents(source) == before
        if out.exists():  # under its name it is complete
            assert contents(out) == whole
        left = [p.name for p in tmp_path.iterdir() if p.name != out.name]
        assert all(name.startswith(".") for name in left)
    assert killed > 2
    assert Child(command, source, out).end() == 0
    assert contents(out) == whole


@pytest.mark.parametrize(
    ("number", "command", "storage", "ending"),
    [
        (number, *case)
        for number, case in zip((signal.SIGTERM, signal.SIGINT, signal.SIGTERM), CASES, strict=True)
    ],
)
def test_stopped_at_any_moment_nothing_half_written_is_left(
    number, command, storage, ending, folder, tmp_path, capfd
):
    source, out = folder / f"{storage}.h5ad", tmp_path / f"out{ending}"
    before = contents(source)
    whole, waits = undisturbed(command, source, out, 3)
    remove(out)
    stopped = 0
    for wait in [0, *waits]:
        child = Child(command, source, out)
        # Before it hears signals it dies as any process does; so it is given the time to begin.
        while child.process.is_alive() and not list(tmp_path.iterdir()):
            time.sleep(0.001)
        time.sleep(wait / 2)
        status = child.end(number)
        assert status in (0, 128 + number)
        assert contents(source) == before
        left = [p.name for p in tmp_path.iterdir()]
        stopped += status != 0 and not left
        # A signal may come when the name is given already and nothing is left to do but to end.
        assert left == [out.name] or (status and not left)
        if left:
            assert contents(out) == whole
            remove(out)
    assert stopped > 0
    said = capfd.readouterr().err
    assert "Traceback" not in said and "HDF5" not in said and "Exception" not in said


def remove(path):
    for file in sorted(path.rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    path.unlink() if path.is_file() else path.rmdir()
