"""Is this the file, or something else that came in its place?"""

from __future__ import annotations

import gzip
import hashlib
import html
import re
import zlib
from collections.abc import Callable
from pathlib import Path

from cellwright.data.datasets.registry import RemoteFile
from cellwright.data.opening import open_h5ad
from cellwright.errors import DataError

LOOKED_AT = 2048
_BLOCK = 1 << 22

_BEGINNINGS = {
    ".h5ad": (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    ".h5": (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    ".gz": (b"\x1f\x8b", "a gzip archive"),
    ".zip": (b"PK", "a zip archive"),
}
_TABLES = (".csv", ".tsv", ".txt")


def refuse_beginning(file: RemoteFile, start: bytes, host: str) -> None:
    """Refuse what cannot be the file, from its first bytes.

    Raises
    ------
    DataError
        For a web page, an error in JSON or XML, a pointer of Git LFS, or another kind of file.
    """
    found = _other(start.lstrip(b"\xef\xbb\xbf \t\r\n"))
    ending = Path(file.name).suffix.lower()
    if found is None and ending in _BEGINNINGS:
        mark, kind = _BEGINNINGS[ending]
        if not start.startswith(mark):
            found = f"something that does not begin like {kind} but with {start[:12]!r}"
    if found is None and ending in _TABLES and b"\x00" in start:
        found = f"something that is no text (it begins with {start[:12]!r})"
    if found is not None:
        raise DataError(
            f"{host} sent {found} instead of {file.name}: nothing is kept; try again later, open "
            f"{file.url} in a browser to see what it says, or ask whether a proxy answers in its place"
        )


def _other(start: bytes) -> str | None:
    lower = start[:LOOKED_AT].lower()
    if lower.startswith((b"<!doctype html", b"<html")) or (
        lower.startswith(b"<") and b"<html" in lower
    ):
        title = re.search(rb"<title[^>]*>(.*?)</title>", start, re.IGNORECASE | re.DOTALL)
        text = html.unescape(title[1].decode("utf-8", "replace")) if title else ""
        text = " ".join(text.split())[:100]
        return f"a web page ({text!r})" if text else "a web page"
    if lower.startswith(b"<"):
        return f"an answer in XML ({start[:60].decode('utf-8', 'replace')!r})"
    if lower.startswith((b"{", b"[{")):
        return f"an answer in JSON ({start[:60].decode('utf-8', 'replace')!r})"
    if lower.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS"
    return None


def checksum_of(path: Path, kind: str, progress: Callable[[int], None] | None = None) -> str:
    """Hexadecimal checksum of a file; ``progress`` gets the bytes read so far."""
    digest = hashlib.new(kind, usedforsecurity=False)
    done = 0
    with path.open("rb") as handle:
        while block := handle.read(_BLOCK):
            digest.update(block)
            done += len(block)
            if progress is not None:
                progress(done)
    return digest.hexdigest()


def refuse_contents(file: RemoteFile, path: Path) -> None:
    """Refuse a file that ends too early or is damaged, where its format tells.

    An .h5ad knows its own length and must have tables of cells and genes; a .gz ends in a
    checksum. Of other kinds nothing is known.

    Raises
    ------
    DataError
        If it is not whole.
    """
    if file.name.lower().endswith(".h5ad"):
        with open_h5ad(path):
            return
    if file.name.lower().endswith(".gz"):
        try:
            with gzip.open(path) as unpacked:
                while unpacked.read(_BLOCK):
                    pass
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{path} is not a whole gzip archive: {error}") from error


def is_cut_off(file: RemoteFile, path: Path) -> bool:
    """A table ends without the end of a line, which some do by themselves."""
    if not file.name.lower().endswith(_TABLES):
        return False
    with path.open("rb") as handle:
        handle.seek(-1, 2)
        return handle.read(1) not in (b"\n", b"\r")
