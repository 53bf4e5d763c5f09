"""One writer at a time, whatever became of the one before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from cellwright.errors import DataError, RunError
from cellwright.training.only_writer import LOCK, only_writer

HOLD = """
import sys, time
from pathlib import Path
from cellwright.training.only_writer import only_writer
with only_writer(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds ``tmp_path / "run"``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_writer_is_refused_and_told_who_holds_it(holder, tmp_path):
    with (
        pytest.raises(RunError, match=rf"run is being written by process {holder.pid}"),
        only_writer(tmp_path / "run"),
    ):
        pass
    assert (tmp_path / "run" / LOCK).exists()


def test_the_lock_of_a_killed_process_is_free(holder, tmp_path):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / LOCK).exists()
    with only_writer(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK).read_text() == str(os.getpid())
    assert not (tmp_path / "run" / LOCK).exists()


def test_a_lock_file_that_nobody_holds_is_taken_over_even_if_its_process_lives(tmp_path):
    (tmp_path / LOCK).write_text(str(os.getppid()))
    with only_writer(tmp_path):
        pass


def test_one_process_cannot_hold_a_folder_twice(tmp_path):
    with only_writer(tmp_path):
        with pytest.raises(RunError, match=f"process {os.getpid()}"), only_writer(tmp_path):
            pass
        assert (tmp_path / LOCK).exists()


def test_of_many_that_come_and_go_never_two_hold_it(tmp_path):
    inside, most, won, failed = [], [], [], []

    def work():
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            try:
                with only_writer(tmp_path / "run"):
                    inside.append(1)
                    most.append(len(inside))
                    won.append(1)
                    inside.pop()
            except RunError:
                pass
            except DataError as error:
                failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) > 10 and max(most) == 1 and not failed


def test_a_folder_made_for_nothing_goes_again(tmp_path):
    with pytest.raises(ValueError, match="x"), only_writer(tmp_path / "a" / "run"):
        raise ValueError("x")
    assert not (tmp_path / "a" / "run").exists()
    with only_writer(tmp_path / "run"):
        (tmp_path / "run" / "file").write_text("")
    assert (tmp_path / "run" / "file").exists()


def test_an_empty_folder_that_was_there_stays(tmp_path):
    with only_writer(tmp_path):
        pass
    assert tmp_path.is_dir()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file/run"), only_writer(tmp_path / "file" / "run"):
        pass
