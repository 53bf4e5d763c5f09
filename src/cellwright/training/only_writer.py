"""One writer per folder, by a lock of the operating system: it ends with its process, however."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from cellwright.errors import DataError, RunError

log = logging.getLogger(__name__)

LOCK = ".lock"
_FAR = 1 << 30  # Windows locks bytes: one beyond the text, so that others can read who holds it.


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
        handle = _held(folder / LOCK)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror or error}") from None
    if handle is None:
        raise RunError(f"{folder} is being written by {_holder(folder / LOCK)}; wait for it")
    try:
        yield
    finally:
        _release(handle, folder / LOCK)
        if made:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _held(path: Path) -> IO[str] | None:
    """The lock file, open and locked; None if another process has locked it."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
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
        log.warning("This file system has no locks: nothing keeps a second writer out.")
    return True


def _release(handle: IO[str], path: Path) -> None:
    if sys.platform == "win32":  # Windows does not remove a file that is open.
        handle.close()
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
    handle.close()


def _holder(path: Path) -> str:
    try:
        return f"process {int(path.read_text(encoding='utf-8'))}"
    except (OSError, ValueError):
        return "another process"
