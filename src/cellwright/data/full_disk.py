"""An HDF5 file that stays calm when the disk is full or a signal arrives.

HDF5 cannot close a file whose last writes failed: it complains on standard error and crashes the
interpreter at its end. So failed writes are kept from it, and raised once it is done; and a signal
that would raise inside one of its calls is delivered again a moment later, outside of them.
"""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import h5py

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class CalmHDF5:
    """A context that yields a new ``h5py.File``.

    The first error that a write met is raised by :meth:`verify`, and at the end.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> h5py.File:
        self._hold_signals()
        self._bytes = _CalmBytes(self.path, "w+b")
        self._file = h5py.File(self._bytes, "w")
        return self._file

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        self._bytes.close()
        for number, (ours, handler) in self._handlers.items():
            if signal.getsignal(number) is ours:  # a handler may have put another in its place
                signal.signal(number, handler)
        self.verify()

    def verify(self) -> None:
        """Raise the first error a write met, if any.

        Raises
        ------
        OSError
            As the system gave it.
        """
        if self._bytes.error is not None:
            raise self._bytes.error

    def _hold_signals(self) -> None:
        self._handlers: dict[signal.Signals, tuple[Any, Any]] = {}
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                handler = signal.getsignal(number)
                if callable(handler):
                    ours = _outside_calls(handler)
                    self._handlers[number] = (ours, handler)
                    signal.signal(number, ours)


class _CalmBytes(io.FileIO):
    """An unbuffered file that remembers the first OSError of a write and lets later ones pass."""

    error: OSError | None = None

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


def _outside_calls(
    handler: Callable[[int, FrameType | None], Any],
) -> Callable[[int, FrameType | None], Any]:
    def later(number: int, frame: FrameType | None) -> Any:
        inner = frame
        while inner is not None:
            if isinstance(inner.f_locals.get("self"), CalmHDF5 | _CalmBytes):
                again = threading.Timer(0.001, os.kill, (os.getpid(), number))
                again.daemon = True
                again.start()
                return None
            inner = inner.f_back
        return handler(number, frame)

    return later
