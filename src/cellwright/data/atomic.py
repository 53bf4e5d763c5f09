"""Write to a temporary name, flush to disk, then rename: nothing half-written keeps a final name."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from cellwright.errors import DataError, RunError


@contextlib.contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it replaces ``path``, on failure it goes.

    Raises
    ------
    DataError
        If the folder does not exist, cannot be written, or the disk is full.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise DataError(f"cannot write {path}: the folder {path.parent} does not exist")
    temporary = path.parent / f".{path.name}.{os.getpid()}.partial{path.suffix}"
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path | str, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; on success it becomes ``path``.

    An existing ``path`` is refused unless ``force``; then it is moved aside first and removed
    only after the new folder stands in its place.

    Raises
    ------
    RunError
        If ``path`` exists and ``force`` is False.
    DataError
        If the place cannot be written.
    """
    path = Path(path)
    refuse_existing(path, force=force)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(
            tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
        )
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        temporary.chmod(0o755)
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _flush(file)
        old = temporary.with_suffix(".old")
        if path.exists():
            path.replace(old)
        temporary.replace(path)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        _remove(temporary)


def refuse_existing(path: Path | str, *, force: bool) -> None:
    """Raise RunError if ``path`` is there already and is not an empty folder, unless ``force``."""
    path = Path(path)
    if force or not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    raise RunError(f"{path} exists already; choose another place with -o or pass --force")


def _remove(folder: Path) -> None:
    """Remove a folder; after an interrupt a thread may still be writing the last file to it."""
    for seconds in (0.0, 0.05, 0.2):
        if folder.exists() or seconds > 0:
            time.sleep(seconds)
            shutil.rmtree(folder, ignore_errors=True)
        else:
            return


def _flush(file: Path) -> None:
    with file.open("rb+") as handle:
        os.fsync(handle.fileno())
