"""Large arrays that are made and freed over and over: let the C library keep their memory."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of malloc.h


def keep_freed_memory() -> None:
    """Ask glibc to reuse the memory of freed arrays instead of handing it back to the system.

    Handed back, every new array is filled with zeros page by page: on 15,000 cells that took as
    long as the arithmetic. The process holds on to its peak. Done by commands only, never on
    import; elsewhere than on Linux with glibc nothing happens.
    """
    if sys.platform != "linux":
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_MMAP_THRESHOLD, 1 << 30)
    mallopt(_TRIM_THRESHOLD, (1 << 31) - 1)
