"""Killed, interrupted, out of room: what came is kept, and the same call ends with the same bytes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from cellwright.errors import RunError

BODY = b"cell_label,x\n" + b"".join(b"cell%d,1\n" % i for i in range(120_000))

FETCH = [sys.executable, "-m", "cellwright", "fetch", "toy", "--registry"]

FULL_DISK = """
import resource, signal, sys
from cellwright.data.datasets.fetch import fetch
from cellwright.errors import DataError

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for limit in (10, 20_000, 300_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        fetch("toy", sys.argv[2], registry=sys.argv[1])
    except DataError as error:
        said = str(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    print(said)
"""


@pytest.fixture
def started(shop, tmp_path, folder):
    """A fetch in another process, with some bytes of BODY there."""
    served = shop.serve("table.csv", BODY, pause=0.05)
    registry = shop.registry(tmp_path / "toys.toml", {"name": "table.csv"})
    process = subprocess.Popen(
        [*FETCH, str(registry), "-o", str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    partial = folder / "table.csv.partial"
    deadline = time.monotonic() + 60
    while not (partial.exists() and partial.stat().st_size > 100_000):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    yield process
    process.kill()
    process.communicate()
    served.pause = 0


def there(folder):
    return (folder / "table.csv.partial").stat().st_size


def test_killed_it_goes_on_to_the_same_bytes(shop, started, bring, folder, left):
    started.send_signal(signal.SIGKILL)
    started.wait(30)
    had = there(folder)
    assert 100_000 < had < len(BODY)
    assert not (folder / "table.csv").exists()
    shop.files["table.csv"].pause = 0
    shop.asked.clear()
    got = bring({"name": "table.csv"})
    assert shop.got()[0] == f"bytes={had}-"
    assert got.files[0].how == "continued"
    assert (folder / "table.csv").read_bytes() == BODY
    assert left() == ["table.csv"]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT is sent in another way there")
def test_interrupted_it_says_what_is_there_and_exits_130(shop, started, bring, folder, left):
    started.send_signal(signal.SIGINT)
    out, err = started.communicate(timeout=30)
    assert (started.returncode, out) == (130, "")
    had = there(folder)
    assert err.splitlines()[-1] == (
        f"cellwright: stopped: {had:,} bytes of table.csv in {folder}; the same command continues"
    )
    assert left() == ["table.csv.partial", "table.csv.partial.json"]
    shop.files["table.csv"].pause = 0
    assert bring({"name": "table.csv"}).files[0].how == "continued"
    assert (folder / "table.csv").read_bytes() == BODY


def test_two_at_once_are_refused(started, bring, folder):
    told = rf"toy is being fetched into {re.escape(str(folder))} by process {started.pid}; wait"
    with pytest.raises(RunError, match=told):
        bring({"name": "table.csv"})


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a thing of Unix")
def test_a_disk_that_fills_up_keeps_what_came(shop, tmp_path, folder, bring, left):
    # A limit on the size of files makes writes fail in the middle, as a full disk does.
    shop.serve("table.csv", BODY)
    registry = shop.registry(tmp_path / "toys.toml", {"name": "table.csv"})
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(registry), str(folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.splitlines()
    assert [line.split("; ")[1] for line in said] == [
        "0 bytes are there",
        "20,000 bytes are there",
        "300,000 bytes are there",
    ]
    for line in said:
        assert line.startswith(f"cannot write {folder / 'table.csv'}.partial: File too large; ")
        assert line.endswith("make room, and the same command continues")
    assert (folder / "table.csv.partial").read_bytes() == BODY[:300_000]
    assert bring({"name": "table.csv"}).files[0].how == "continued"
    assert (folder / "table.csv").read_bytes() == BODY
    assert left() == ["table.csv"]
