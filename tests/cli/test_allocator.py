"""Freed memory stays with a process that asked for it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from cellwright.cli.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
held = np.ones(25_000_000)  # 200 MB
del held
print(int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) // 1024)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="for glibc only")
def test_freed_memory_is_kept_where_it_was_asked_for() -> None:
    held = {
        how: int(
            subprocess.run(
                [sys.executable, "-c", PROGRAM, how], capture_output=True, check=True
            ).stdout
        )
        for how in ("keep", "leave")
    }
    assert held["keep"] - held["leave"] > 150
