"""One fetch of a data set into a folder at a time, by a lock that ends with its process."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from cellwright.data.lock_file import held, holder, release
from cellwright.errors import DataError, RunError


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
        handle = held(path)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror or error}") from None
    if handle is None:
        raise RunError(f"{name} is being fetched into {folder} by {holder(path)}; wait for it")
    try:
        yield
    finally:
        release(handle, path)
