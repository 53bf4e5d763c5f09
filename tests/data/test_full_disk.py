"""The file that HDF5 writes to: a signal inside one of its calls raises outside of them."""

import signal
import threading
import time

import numpy as np
import pytest

from cellwright.data import full_disk
from cellwright.data.full_disk import CalmHDF5


def end(number, frame):
    raise SystemExit(128 + number)


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def number(request):
    before = signal.signal(request.param, end)
    yield request.param
    signal.signal(request.param, before)


def wait():
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        time.sleep(0.001)


@pytest.mark.parametrize("call", ["write", "truncate", "close"])
def test_a_signal_inside_a_call_is_raised_outside_of_it(call, number, tmp_path, capfd, monkeypatch):
    struck = []

    class Struck(full_disk._CalmBytes):
        pass

    def strike(self, *words):
        if not struck:
            struck.append(call)
            signal.raise_signal(number)
        return getattr(super(Struck, self), call)(*words)

    setattr(Struck, call, strike)
    monkeypatch.setattr(full_disk, "_CalmBytes", Struck)
    with pytest.raises(SystemExit) as stopped:
        with CalmHDF5(tmp_path / "a.h5") as file:
            file["x"] = np.arange(100_000)
            if call == "write":
                wait()
        wait()
    assert signal.getsignal(number) is end
    assert stopped.value.code == 128 + number
    assert struck and capfd.readouterr().err == ""


def test_a_signal_as_the_file_is_opened_leaves_none_open(number, tmp_path, capfd, monkeypatch):
    class Struck(full_disk.h5py.File):
        def __init__(self, *words):
            super().__init__(*words)
            signal.raise_signal(number)

    monkeypatch.setattr(full_disk.h5py, "File", Struck)
    with pytest.raises(SystemExit), CalmHDF5(tmp_path / "a.h5"):
        wait()
    assert capfd.readouterr().err == ""


def test_a_handler_put_in_meanwhile_stays(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    try:
        with CalmHDF5(tmp_path / "a"):
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_outside_the_main_thread_no_handler_is_touched(tmp_path):
    def write():
        with CalmHDF5(tmp_path / "a") as file:
            handlers.append(signal.getsignal(signal.SIGTERM))
            file["x"] = 1

    handlers = []
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    assert handlers == [before]
    assert (tmp_path / "a").exists()
