"""A file for HDF5 to write to that stays calm when the disk is full.

HDF5 cannot close a file whose last writes failed: it complains on standard error and crashes the
interpreter at its end. So failed writes are kept from it, and raised once it is done.
"""

from __future__ import annotations

import io
from typing import Any


class CalmFile(io.FileIO):
    """An unbuffered file that remembers the first OSError of a write and lets later ones pass.

    Use as ``h5py.File(calm_file, "w")``, then call :meth:`verify`.
    """

    error: OSError | None = None

    def verify(self) -> None:
        """Raise the first error a write met, if any."""
        if self.error is not None:
            raise self.error

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        written = 0
        while self.error is None and written < view.nbytes:
            try:
                written += super().write(view[written:]) or 0
            except OSError as error:
                self.error = error
        return view.nbytes

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = self.error or error
            return size or 0

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer; what was never written reads as zeros."""
        view = memoryview(buffer).cast("B")
        got = super().readinto(view) or 0
        view[got:] = bytes(view.nbytes - got)
        return view.nbytes
