"""One fetch of a data set into a folder at a time, by a lock that ends with its process."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from cellwright.errors import DataError, RunError

_FAR = 1 << 30  # Windows locks bytes: one beyond the text, so that others can read who holds it.


@contextlib.contextmanager
def only_fetcher(folder: Path, name: str) -> Iterator[None]:
    """Hold ``folder`` for the fetching of ``name``.

    Raises
    ------
    RunError
        If another process fetches it there already.
    DataError
        If the folder cannot be written.
    """
    path = folder / f".{name}.fetching"
    try:
        handle = _held(path)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror or error}") from None
    if handle is None:
        raise RunError(f"{name} is being fetched into {folder} by {_holder(path)}; wait for it")
    try:
        yield
    finally:
        # Removed while held, so that nobody can lock a file that is about to go.
        if sys.platform == "win32":  # Windows does not remove a file that is open.
            handle.close()
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        handle.close()


def _held(path: Path) -> IO[str] | None:
    """The lock file, open and locked; None if another process has locked it."""
    while True:
        handle = path.open("a+", encoding="utf-8")
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
    return True


def _holder(path: Path) -> str:
    try:
        return f"process {int(path.read_text(encoding='utf-8'))}"
    except (OSError, ValueError):
        return "another process"
