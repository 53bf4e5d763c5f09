"""Bytes put aside on disk while a file is made; nothing is left of them whatever becomes of the process."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from cellwright.errors import DataError


class AsideFile:
    """A file without a name in ``folder``, open until ``close`` or the end of the ``with``.

    Raises
    ------
    DataError
        If the folder cannot be written, or the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._end = folder, 0
        with _told(folder):
            # Unbuffered: pieces are large, and closing must not fail for want of room.
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115

    def add(self, data: bytes) -> int:
        """Write at the end; returns where."""
        at = self._end
        with _told(self._folder):
            self._file.seek(at)
            left = memoryview(data)
            while left.nbytes:
                left = left[self._file.write(left) :]
        self._end += len(data)
        return at

    def get(self, at: int, n: int) -> bytearray:
        """The ``n`` bytes at ``at``."""
        data = bytearray(n)
        left = memoryview(data)
        with _told(self._folder):
            self._file.seek(at)
            while left.nbytes:
                left = left[self._file.readinto(left) :]
        return data

    def close(self) -> None:
        """Give the room on the disk back."""
        self._file.close()

    def __enter__(self) -> AsideFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@contextlib.contextmanager
def shared_folder(folder: Path) -> Iterator[Path]:
    """Yield a new folder inside ``folder`` that several processes write to; it goes at the end.

    Raises
    ------
    DataError
        If the folder cannot be written, or the disk is full.
    """
    with _told(folder):
        made = Path(tempfile.mkdtemp(prefix=".blocks.", suffix=".partial", dir=folder))
        try:
            yield made
        finally:
            # A process that is still at it cannot add to a folder of another name.
            gone = made.with_suffix(".gone")
            made.replace(gone)
            shutil.rmtree(gone, ignore_errors=True)


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot put data aside in {folder} while working: {error.strerror or error}; make room "
            "there, or write to another disk"
        ) from error
