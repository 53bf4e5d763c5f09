"""What is there of a file that is being fetched: ``NAME.partial`` and a note of what it is part of."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from requests import Response


@dataclass(frozen=True)
class Note:
    """Which version of the file the bytes are from: the address, and what the server said of it."""

    url: str
    length: int | None = None
    etag: str | None = None
    modified: str | None = None

    @property
    def validator(self) -> str | None:
        """For If-Range: a strong ETag, else the date (RFC 9110, section 13.1.5)."""
        if self.etag and not self.etag.startswith("W/"):
            return self.etag
        return self.modified

    def names_a_version(self) -> bool:
        return bool(self.etag or self.modified)

    def same_version(self, other: Note) -> bool:
        """Nothing that both know differs."""
        pairs = [(getattr(self, f), getattr(other, f)) for f in ("length", "etag", "modified")]
        return all(a == b for a, b in pairs if a is not None and b is not None)


class Partial:
    """``NAME.partial`` beside ``target``, and ``NAME.partial.json``, its note."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.partial")
        self._note = target.with_name(f"{target.name}.partial.json")

    def size(self) -> int:
        """Bytes that are there."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def note(self) -> Note | None:
        """What the bytes are part of; None where that is not known."""
        try:
            found: Any = json.loads(self._note.read_text(encoding="utf-8"))
            return Note(**found)
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def begin(self, note: Note) -> None:
        """Start anew. The old bytes go before the new note comes: never are both there."""
        self.discard()
        fresh = self._note.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(note)), encoding="utf-8")
        fresh.replace(self._note)

    def discard(self) -> None:
        """Remove what is there."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def finish(self, target: Path) -> None:
        """Give the whole file its final name."""
        self.path.replace(target)
        with contextlib.suppress(OSError):
            self._note.unlink(missing_ok=True)


def note_of(response: Response, url: str, length: int | None) -> Note:
    """What the server says of the version it sends."""
    return Note(
        url=url,
        length=length,
        etag=response.headers.get("ETag"),
        modified=response.headers.get("Last-Modified"),
    )
