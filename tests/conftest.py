"""Fixtures every part shares."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

# Before NumPy, PyTorch and numba read them: tests run side by side, one thread each, and
# processes that tests start inherit it.
for _name in (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
):
    os.environ.setdefault(_name, "1")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets; tests that need it skip where it is absent."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("CELLWRIGHT_DATA", root.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set CELLWRIGHT_DATA to run this test")
    return folder


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """A command typed in a test, or in a fixture of a module, takes the package's log for itself.

    Every test has it as it is after an import: no handler, no level of its own.
    """
    log = logging.getLogger("cellwright")

    def fresh() -> None:
        log.handlers.clear()
        log.propagate = True
        log.setLevel(logging.NOTSET)

    fresh()
    yield
    fresh()
