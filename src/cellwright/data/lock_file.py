"""A file that one process at a time can hold, by a lock of the system that ends with its process."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

_FAR = 1 << 30  # Windows locks bytes: one beyond the text, so that others can read who holds it.


def held(path: Path) -> IO[str] | None:
    """The lock file, open and locked, its folder made if needed; None if another process has it.

    Raises
    ------
    OSError
        If the place cannot be written.
    """
    in_the_way = 0
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            # A file stands there, or a folder stood there and has just been removed by its writer.
            in_the_way += 1
            if in_the_way > 100:
                raise
            continue
        try:
            handle = path.open("a+", encoding="utf-8")
        except FileNotFoundError:
            continue  # a writer that left nothing has just removed the folder
        try:
            if not _lock(handle):
                handle.close()
                return None
            # Its last holder may have removed it between our opening and our locking it.
            if os.path.samestat(os.fstat(handle.fileno()), path.stat()):
                handle.truncate(0)
                handle.write(str(os.getpid()))
                handle.flush()
                return handle
        except FileNotFoundError:
            pass
        except BaseException:
            handle.close()
            raise
        handle.close()


def _lock(handle: IO[str]) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            handle.seek(_FAR)
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)
            handle.seek(0)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
            raise
        log.warning("This file system has no locks: nothing keeps a second process out.")
    return True


def release(handle: IO[str], path: Path) -> None:
    """Remove the file while it is locked, so that nobody can lock one that is about to go."""
    if sys.platform == "win32":  # Windows does not remove a file that is open.
        handle.close()
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    handle.close()


def holder(path: Path) -> str:
    """Who has locked the file, in words."""
    try:
        return f"process {int(path.read_text(encoding='utf-8'))}"
    except (OSError, ValueError):
        return "another process"
