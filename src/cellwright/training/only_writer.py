"""One writer per folder, by a lock of the operating system: it ends with its process, however."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from cellwright.data.lock_file import held, holder, release
from cellwright.errors import DataError, RunError

LOCK = ".lock"


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold ``folder`` for this process, making it where it is not there.

    Where this process made the folder and leaves nothing in it, the folder goes again.

    Raises
    ------
    RunError
        If another process, or this one, holds it already.
    DataError
        If the place cannot be written.
    """
    made = not folder.exists()
    try:
        handle = held(folder / LOCK)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror or error}") from None
    if handle is None:
        raise RunError(f"{folder} is being written by {holder(folder / LOCK)}; wait for it")
    try:
        yield
    finally:
        release(handle, folder / LOCK)
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()
