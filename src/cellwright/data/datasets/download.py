"""One file from a server into a folder: continued where it broke off, never half under its name."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from requests import Response, Session

from cellwright.data.datasets.contents import (
    LOOKED_AT,
    checksum_of,
    is_cut_off,
    refuse_beginning,
    refuse_contents,
)
from cellwright.data.datasets.partial import Note, Partial, note_of
from cellwright.data.datasets.registry import RemoteFile
from cellwright.data.datasets.server import Dropped, Patience, asked, persistently, said
from cellwright.data.inspection_text import size
from cellwright.errors import DataError

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int | None], None]

_BLOCK = 1 << 18


@dataclass(frozen=True)
class Received:
    """What came: its length, whether an earlier fetch was continued, and how it was verified."""

    bytes: int
    continued: bool
    verified: str


def download(
    file: RemoteFile,
    target: Path,
    session: Session,
    patience: Patience,
    progress: Progress | None = None,
) -> Received:
    """Fetch ``file`` to ``target``, which is replaced once all of it is there and verified.

    Until then the bytes stand in ``NAME.partial``, with a note of the version they are from; a
    later call continues there if the server has the same version still and sends parts.

    Raises
    ------
    DataError
        If it cannot be reached, found, written or continued, or what comes is not the file.
    """
    errand = _Errand(file, Partial(target), session, patience, progress)
    before = errand.partial.size()
    try:
        with _writing(errand.partial):
            persistently(errand.attempt, errand.partial.size, patience)
            continued = bool(before) and not errand.began_anew
            verified = errand.verify()
            received = Received(errand.partial.size(), continued, verified)
            with errand.partial.path.open("rb+") as handle:
                os.fsync(handle.fileno())
            errand.partial.finish(target)
    except Dropped as dropped:
        raise DataError(f"{dropped}; {errand.what_is_there()}") from dropped
    return received


def length_of(file: RemoteFile, session: Session, patience: Patience) -> int | None:
    """How many bytes the server says the file has; None where it does not say.

    Raises
    ------
    DataError
        If the server cannot be reached.
    """
    try:
        with asked(session, "HEAD", file.url, patience) as response:
            return _length(response) if response.status_code == 200 else None
    except DataError:
        return None  # some servers refuse only this question; the next one finds the reason
    except Dropped as dropped:
        if not dropped.reached:
            raise DataError(str(dropped)) from dropped
        return None


def refuse_full(folder: Path, needed: int, name: str) -> None:
    """Raise DataError if ``folder`` has no room for ``needed`` more bytes."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DataError(
            f"{name} needs {size(needed)} more, {folder} has {size(free)} free: make room, or take "
            "another folder with -o"
        )


@dataclass
class _Errand:
    file: RemoteFile
    partial: Partial
    session: Session
    patience: Patience
    progress: Progress | None
    began_anew: bool = False
    ends: list[int] = field(default_factory=list)

    @property
    def host(self) -> str:
        return urlsplit(self.file.url).hostname or self.file.url

    def attempt(self) -> None:
        """One transfer; where it breaks is kept."""
        try:
            self.transfer()
        except Dropped:
            self.ends.append(self.partial.size())
            raise

    def transfer(self) -> None:
        """Fetch what is missing; returns once all bytes are there."""
        note = self._continuable()
        there = self.partial.size()
        if note is not None and there == (note.length or self.file.bytes):
            return
        headers = {"Range": f"bytes={there}-"} if note else {}
        if note and note.validator:
            headers["If-Range"] = note.validator
        allowed = (416,) if note else ()
        with asked(self.session, "GET", self.file.url, self.patience, headers, allowed) as response:
            if note is None or response.status_code == 200:
                self._from_the_beginning(response, note)
                return
            if response.status_code == 416 and _whole(response) == there and note.length:
                self._refuse(
                    f"said that {self.file.name} has {note.length:,} bytes, but it has {there:,}"
                )
            if self._follows(response, note, there):
                self._copy(response, self._blocks(response), there, note.length)
                return
        log.warning("%s has changed on %s: beginning anew", self.file.name, self.host)
        self._discard()
        self.transfer()

    def _continuable(self) -> Note | None:
        """The note of what is there, if it can be continued; else nothing is left there."""
        note, there = self.partial.note(), self.partial.size()
        if not there:
            return None
        known = self.file.checksum is not None
        if (
            note is not None
            and note.url == self.file.url
            and (known or note.names_a_version())  # else two versions could be mixed unseen
            and there <= (note.length or self.file.bytes or there)
        ):
            return note
        log.warning(
            "%s cannot be continued, it is not known what it is part of: beginning anew",
            self.partial.path.name,
        )
        self._discard()
        return None

    def _discard(self) -> None:
        self.began_anew = True
        self.partial.discard()

    def _follows(self, response: Response, note: Note, there: int) -> bool:
        """The answer is the rest of the noted version, and nothing else."""
        span = response.headers.get("Content-Range", "")
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", span.strip())
        if response.status_code != 206 or found is None or int(found[1]) != there:
            return False
        total = None if found[3] == "*" else int(found[3])
        return note.same_version(note_of(response, self.file.url, total))

    def _from_the_beginning(self, response: Response, old: Note | None) -> None:
        if response.status_code != 200:
            raise DataError(
                f"{self.host} answers {response.status_code} ({response.reason}) for "
                f"{self.file.url}, expected 200 with the file: try again later"
            )
        length = _length(response)
        if self.file.bytes and length and length != self.file.bytes:
            raise DataError(
                f"{self.host} offers {length:,} bytes as {self.file.name}, expected "
                f"{self.file.bytes:,}: it has changed or this is an error page; nothing is kept; "
                f"open {self.file.url} in a browser"
            )
        blocks = self._blocks(response)
        # What is there goes only once something that may be the file has come in its place.
        start = b""
        for block in blocks:
            start += block
            if len(start) >= LOOKED_AT:
                break
        if start or not length:
            refuse_beginning(self.file, start, self.host)
        fresh = note_of(response, self.file.url, length)
        if old is not None:
            self._say_why_anew(old, fresh)
        self.partial.begin(fresh)
        if length is not None:
            refuse_full(self.partial.path.parent, length, self.file.name)

        def all_blocks() -> Iterator[bytes]:
            yield start
            yield from blocks

        self._copy(response, all_blocks(), 0, length)

    def _say_why_anew(self, old: Note, fresh: Note) -> None:
        self.began_anew = True
        why = "does not send parts of it" if old.same_version(fresh) else "has another version now"
        log.warning("%s: %s %s, beginning anew", self.file.name, self.host, why)

    def _blocks(self, response: Response) -> Iterator[bytes]:
        # A .gz said to be "encoded" with gzip is meant as it is.
        decode = _encoded(response) and not self.file.name.endswith(".gz")
        with said(self.file.url):
            while block := response.raw.read1(_BLOCK, decode_content=decode):
                yield block

    def _copy(
        self, response: Response, blocks: Iterator[bytes], there: int, length: int | None
    ) -> None:
        expected = length or self.file.bytes
        with self.partial.path.open("ab", buffering=0) as out:
            for block in blocks:
                _write(out, block)
                there += len(block)
                if self.progress is not None:
                    self.progress(self.file.name, there, expected)
                if expected and there > expected:
                    break
        if expected and there > expected:
            self._refuse(f"sends more than the {expected:,} bytes that {self.file.name} has")
        if expected and there < expected:
            raise Dropped(f"the connection to {self.host} broke", reached=True)
        if not there:
            self._refuse(f"sent nothing (0 bytes) for {self.file.name}")

    def verify(self) -> str:
        """How the file was found to be right: ``sha256``, ``md5``, ``length`` or ``beginning``."""
        there, note = self.partial.size(), self.partial.note()
        if self.file.checksum is not None:
            kind, expected = self.file.checksum
            found = checksum_of(self.partial.path, kind)
            if found != expected:
                self._refuse(f"sent {self.file.name} with {kind} {found}, expected {expected}")
            return kind
        try:
            refuse_contents(self.file, self.partial.path)
        except DataError as error:
            self._refuse(f"sent a {self.file.name} that is not whole: {error}")
        if self.file.bytes:
            return "length"
        if is_cut_off(self.file, self.partial.path):
            log.warning("%s ends within a line: has it been cut off?", self.file.name)
        if note is None or note.length is None:
            log.warning(
                "%s: %s does not say how long it is, so that its end cannot be verified",
                self.file.name,
                self.host,
            )
            return "beginning"
        if self._goes_on(there):
            self._refuse(f"said that {self.file.name} has {there:,} bytes, but it has more")
        return "length"

    def _goes_on(self, there: int) -> bool:
        """The server has bytes beyond the length it said."""
        headers = {"Range": f"bytes={there}-"}
        with (
            contextlib.suppress(Dropped, DataError),
            asked(self.session, "GET", self.file.url, self.patience, headers) as response,
        ):
            return response.status_code == 206
        return False

    def _refuse(self, fault: str) -> None:
        self.partial.discard()
        raise DataError(
            f"{self.host} {fault}: nothing is kept; try again, and if it stays so the file has "
            f"changed at its source ({self.file.url})"
        )

    def what_is_there(self) -> str:
        """How much is there and that it can be continued, as the end of a sentence."""
        there, note = self.partial.size(), self.partial.note()
        if not there:
            return "nothing is there yet, the same command tries again"
        whole = (note and note.length) or self.file.bytes
        of = f" of {whole:,}" if whole else ""
        same = len(self.ends) > 1 and len(set(self.ends[-self.patience.tries :])) == 1
        always = "it broke there each time (does the server say a wrong length?), " if same else ""
        return f"{there:,}{of} bytes are there ({self.partial.path}), {always}the same command continues"


def _encoded(response: Response) -> bool:
    return response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity")


def _whole(response: Response) -> int | None:
    """The length of the file in the answer that there is nothing after what is there."""
    found = re.fullmatch(r"bytes \*/(\d+)", response.headers.get("Content-Range", "").strip())
    return int(found[1]) if found else None


def _length(response: Response) -> int | None:
    """Content-Length, where it is the length of the file."""
    given = response.headers.get("Content-Length", "")
    return int(given) if re.fullmatch(r"\d+", given) and not _encoded(response) else None


def _write(out: IO[bytes], block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[out.write(view) :]


@contextlib.contextmanager
def _writing(partial: Partial) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(
            f"cannot write {partial.path}: {error.strerror or error}; {partial.size():,} bytes are "
            "there; make room, and the same command continues"
        ) from error
