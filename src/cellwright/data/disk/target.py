"""A new .h5ad or .zarr that appears under its name only when it is complete."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata
import zarr

from cellwright.data.atomic import atomic_file, atomic_folder, refuse_existing
from cellwright.data.full_disk import CalmHDF5
from cellwright.errors import CellwrightError, DataError

ENDINGS = (".h5ad", ".zarr")


def check_target(out: Path | str, source: Path | str | None = None, *, force: bool = False) -> Path:
    """The place to write to, if it can be written.

    Raises
    ------
    DataError
        If the ending is neither .h5ad nor .zarr, ``out`` is the source, or its folder is missing
        or may not be written.
    RunError
        If ``out`` exists and ``force`` is False.
    """
    out = Path(out)
    if out.suffix not in ENDINGS:
        raise DataError(
            f"cannot write {out}: the ending is {out.suffix!r}, expected .h5ad or .zarr"
        )
    if source is not None and Path(source).exists():
        _keep_apart(out, Path(source))
    refuse_existing(out, force=force)
    if out.suffix == ".h5ad" and out.is_dir():
        raise DataError(f"cannot write {out}: it is a folder, expected a file such as cells.h5ad")
    if out.suffix == ".zarr" and out.is_file():
        raise DataError(f"cannot write {out}: it is a file, expected a folder such as cells.zarr")
    folder = out.absolute().parent
    if not folder.is_dir():
        raise DataError(f"cannot write {out}: the folder {folder} does not exist")
    if not os.access(folder, os.W_OK):
        raise DataError(f"cannot write {out}: the folder {folder} may not be written to")
    return out


def _keep_apart(out: Path, source: Path) -> None:
    if out.exists() and out.samefile(source):
        raise DataError(f"cannot write {out}: it is the file being read; name another one with -o")
    place, read = out.resolve(), source.resolve()
    if read.is_dir() and read in place.parents:
        raise DataError(f"cannot write {out}: it is in the folder being read; name another place")
    if place in read.parents:
        raise DataError(f"cannot write {out}: the file being read lies in it; name another place")


@contextlib.contextmanager
def open_target(out: Path, *, force: bool = False) -> Iterator[Any]:
    """Yield the empty root of a new AnnData; on success it becomes ``out``.

    Raises
    ------
    DataError
        If the disk is full, or something has a type that the file cannot hold.
    """
    try:
        with (
            warnings.catch_warnings(),
            anndata.settings.override(allow_write_nullable_strings=True),
        ):
            # anndata announces the next zarr format at each writing.
            warnings.simplefilter("ignore")
            with _zarr(out, force) if out.suffix == ".zarr" else _h5ad(out) as root:
                root.attrs["encoding-type"] = "anndata"
                root.attrs["encoding-version"] = "0.1.0"
                yield root
    except CellwrightError:
        raise
    except OSError as error:
        raise DataError(f"cannot write {out}: {error.strerror or error}") from error


@contextlib.contextmanager
def _h5ad(out: Path) -> Iterator[Any]:
    with atomic_file(out) as temporary, CalmHDF5(temporary) as root:
        yield root


@contextlib.contextmanager
def _zarr(out: Path, force: bool) -> Iterator[Any]:
    with atomic_folder(out, force=force) as temporary:
        yield zarr.open_group(temporary, mode="w", zarr_format=anndata.settings.zarr_write_format)
