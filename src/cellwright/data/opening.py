"""Open an .h5ad file, with every way in which it may be unusable as one sentence."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

import h5py

from cellwright.config import nearest
from cellwright.errors import DataError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_OTHER_STARTS = {
    b"\x1f\x8b": "a gzip archive (unpack it with gunzip)",
    b"PK\x03\x04": "a zip archive (unpack it)",
    b"%%MatrixMarket": "a MatrixMarket table (read it with scanpy.read_mtx and write an .h5ad)",
    b"RDX": "an R file (convert it to .h5ad in R)",
    b"version https://git-lfs": "a Git LFS pointer (fetch the file itself with git lfs pull)",
    b"<": "a web page or XML (the download failed?)",
}
_OTHER_HDF5 = {
    "matrix": "a 10x Genomics file (read it with scanpy.read_10x_h5 and write an .h5ad)",
    "row_attrs": "a loom file (read it with anndata.io.read_loom and write an .h5ad)",
    "mod": "a MuData file (.h5mu; write one of its modalities as .h5ad)",
}


@contextlib.contextmanager
def open_h5ad(path: Path | str) -> Iterator[h5py.File]:
    """Open an .h5ad file for reading; its tables and matrices are not read.

    Raises
    ------
    DataError
        If there is no such file, or it is a folder, may not be read, is another kind of file, is
        truncated, or lacks its tables of cells and genes.
    """
    path = Path(path)
    _look_at_start(path)
    with translated(path):
        file = h5py.File(path, "r")
    with file:
        _check_parts(file, path)
        yield file


@contextlib.contextmanager
def translated(path: Path | str) -> Iterator[None]:
    """Turn what h5py and anndata raise while reading ``path`` into one DataError."""
    try:
        yield
    except DataError as error:
        if str(path) in str(error):
            raise
        raise DataError(f"{path}: {error}") from error
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory") from error
    except (OSError, RuntimeError) as error:
        text = " ".join(str(error).split())
        if "truncated" in text or "addr overflow" in text or "end of file" in text.lower():
            expected = re.search(r"stored_eof = (\d+)", text)
            of = f"of {int(expected[1]):,}" if expected else "and more are expected"
            raise DataError(
                f"{path} is truncated: {Path(path).stat().st_size:,} bytes {of} are there; copy or "
                "download it again"
            ) from error
        raise DataError(f"{path} cannot be read: {text}; copy or write it again") from error
    except Exception as error:  # anndata's own exception for unknown contents is private
        text = " ".join(str(error).strip("'\"").split())
        raise DataError(
            f"{path} is not a readable .h5ad: {type(error).__name__}: {text[:300]}; write it again "
            "with AnnData.write_h5ad"
        ) from error


def _check_parts(file: h5py.File, path: Path) -> None:
    for key, kind in _OTHER_HDF5.items():
        if key in file and "obs" not in file:
            raise DataError(f"{path} is not an .h5ad: it is {kind}")
    missing = [key for key in ("obs", "var") if key not in file]
    if missing:
        there = ", ".join(list(file)[:8]) or "nothing"
        raise DataError(
            f"{path} is not an .h5ad: it has no {' and no '.join(missing)} (it holds {there}); "
            "write it with AnnData.write_h5ad"
        )


def _look_at_start(path: Path) -> None:
    try:
        if path.is_dir():
            kind = (
                "a zarr store"
                if any((path / f).exists() for f in (".zgroup", "zarr.json"))
                else "a folder"
            )
            raise DataError(f"{path} is {kind}, expected an .h5ad file")
        with path.open("rb") as handle:
            start = handle.read(64)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}{_neighbour(path)}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if not start:
        raise DataError(f"{path} is empty (0 bytes); copy or download it again")
    if start.startswith(_HDF5) or h5py.is_hdf5(path):
        return
    for mark, kind in _OTHER_STARTS.items():
        if start.startswith(mark):
            raise DataError(f"{path} is not an .h5ad: it is {kind}")
    raise DataError(
        f"{path} is not an .h5ad: it does not begin like an HDF5 file (but with {start[:12]!r})"
    )


def _neighbour(path: Path) -> str:
    """The most similar .h5ad in the same folder, as a question."""
    if not path.parent.is_dir():
        return f": the folder {path.parent} does not exist"
    if not os.access(path.parent, os.R_OK):
        return ""
    close = nearest(path.name, [p.name for p in path.parent.glob("*.h5ad")])
    return f"; did you mean {path.with_name(close)}?" if close else ""
