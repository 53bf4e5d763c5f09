"""Public data sets by name, into a folder."""

from __future__ import annotations

import contextlib
import logging
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from requests import Session

from cellwright.data.datasets.contents import checksum_of
from cellwright.data.datasets.download import Progress, download, length_of, refuse_full
from cellwright.data.datasets.only_fetcher import only_fetcher
from cellwright.data.datasets.partial import Partial
from cellwright.data.datasets.registry import Dataset, RemoteFile, find, read_registry
from cellwright.data.datasets.server import Patience, new_session
from cellwright.data.inspection_text import size
from cellwright.errors import DataError, Interrupted

log = logging.getLogger(__name__)

_VERIFIED = {
    "sha256": "sha256 as known",
    "md5": "md5 as known",
    "length": "length as said by its source",
    "beginning": "begins as it should, its length is not known",
    "nothing": "not verified: its source could not be asked",
}


@dataclass(frozen=True)
class FetchedFile:
    """One file: where it is, whether it was ``fetched``, ``continued`` or ``there``, how verified."""

    path: Path
    bytes: int
    how: str
    verified: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "bytes": self.bytes,
            "how": self.how,
            "verified": self.verified,
        }


@dataclass(frozen=True)
class Fetched:
    """A data set that is now in ``folder``."""

    dataset: Dataset
    folder: Path
    files: tuple[FetchedFile, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema": "cellwright.fetch/1",
            "dataset": self.dataset.name,
            "folder": str(self.folder),
            "files": [file.to_dict() for file in self.files],
            "licence": self.dataset.licence,
            "citation": self.dataset.citation,
            "source": self.dataset.source,
        }

    def text(self) -> str:
        lines = []
        for file in self.files:
            how = {"there": "was there", "continued": "fetched (continued)"}.get(file.how, file.how)
            lines.append(f"{file.path}: {size(file.bytes)}, {how}, {_VERIFIED[file.verified]}")
        lines += [f"licence: {self.dataset.licence}", f"cite: {self.dataset.citation}"]
        if self.dataset.note:
            lines.append(f"note: {self.dataset.note}")
        return "\n".join(lines)


def fetch(
    name: str,
    out: Path | str,
    *,
    registry: Path | str | None = None,
    force: bool = False,
    progress: Progress | None = None,
    patience: Patience | None = None,
) -> Fetched:
    """Fetch a public data set by name into a folder.

    A file that is there and whole is not fetched again; one that broke off is continued.

    Parameters
    ----------
    name
        A data set of the registry (``cellwright fetch --list``).
    out
        The folder; made where it is not there.
    registry
        Another list of data sets, TOML in the form of the package's ``registry.toml``.
    force
        Replace a file of the same name that is not the one to be fetched.
    progress
        Called with a file's name, the bytes that are there, and its length if known.

    Raises
    ------
    SettingsError
        If there is no data set of this name.
    DataError
        If it must be downloaded by hand, cannot be fetched or written, or is not what was expected.
    RunError
        If another process fetches it into the same folder.
    Interrupted
        If Ctrl-C stopped it; what came is kept.
    """
    dataset = find(name, read_registry(registry))
    if dataset.by_hand:
        raise DataError(f"{name} has to be downloaded by hand from {dataset.steps()}")
    folder, patience = Path(out), patience or Patience()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    with only_fetcher(folder, dataset.name), new_session() as session, _stopped(dataset, folder):
        there = {f.name: _there(f, folder, session, patience, force) for f in dataset.files}
        wanted = [file for file in dataset.files if there[file.name] is None]
        _say_size(dataset, wanted, folder, session, patience)
        for file in wanted:
            target = folder / file.name
            got = download(file, target, session, patience, progress)
            how = "continued" if got.continued else "fetched"
            there[file.name] = FetchedFile(target, got.bytes, how, got.verified)
    return Fetched(dataset, folder, tuple(file for file in there.values() if file is not None))


def _there(
    file: RemoteFile, folder: Path, session: Session, patience: Patience, force: bool
) -> FetchedFile | None:
    """The file as it is there and whole; None if it has to be fetched."""
    target = folder / file.name
    if target.is_dir():
        raise DataError(f"{target} is a folder, expected the file of that name: move it away")
    if not target.exists():
        return None
    found, known = target.stat().st_size, file.bytes
    if known is None and file.checksum is None:
        try:
            known = length_of(file, session, patience)
        except DataError as error:
            log.warning("%s is there, but %s", target, error)
        if known is None:
            return FetchedFile(target, found, "there", "nothing")
    fault = ""
    if known is not None and found != known:
        fault = f"it has {found:,} bytes, expected {known:,}"
    elif file.checksum is not None:
        kind, expected = file.checksum
        if (given := checksum_of(target, kind)) != expected:
            fault = f"its {kind} is {given}, expected {expected}"
    if not fault:
        kind = file.checksum[0] if file.checksum else "length"
        return FetchedFile(target, found, "there", kind)
    if not force:
        raise DataError(
            f"{target} is there and is not the file to be fetched: {fault}; move it away, or pass "
            "--force to replace it"
        )
    return None


def _say_size(
    dataset: Dataset, wanted: list[RemoteFile], folder: Path, session: Session, patience: Patience
) -> None:
    """Say how much will come, and refuse what has no room, before anything comes."""
    if not wanted:
        return
    known = {}
    for file in wanted:
        note = Partial(folder / file.name).note()
        noted = note.length if note and note.url == file.url else None
        known[file.name] = file.bytes or noted or length_of(file, session, patience)
    for file in wanted:
        length = known[file.name]
        text = size(length) if length else "of a length its source does not say"
        have = Partial(folder / file.name).size()
        log.info("%s: %s%s", file.name, text, f", {size(have)} are there" if have else "")
    missing = sum(max((known[f.name] or 0) - Partial(folder / f.name).size(), 0) for f in wanted)
    log.info(
        "%s to fetch, %s free in %s; licence %s",
        size(missing),
        size(shutil.disk_usage(folder).free),
        folder,
        dataset.licence,
    )
    refuse_full(folder, missing, dataset.name)


@contextlib.contextmanager
def _stopped(dataset: Dataset, folder: Path) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        parts = [(f.name, Partial(folder / f.name).size()) for f in dataset.files]
        kept = ", ".join(f"{n:,} bytes of {name}" for name, n in parts if n) or "nothing yet"
        raise Interrupted(
            f"stopped: {kept} in {folder}; the same command continues", signal.SIGINT
        ) from None
