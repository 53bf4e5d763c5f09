"""Which public data sets there are: ``registry.toml`` as objects."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cellwright.config import nearest, read_toml
from cellwright.data.inspection_text import size
from cellwright.errors import SettingsError

REGISTRY = Path(__file__).with_name("registry.toml")

_TEXTS = ("title", "source", "licence", "citation", "note", "evidence")
_DIGITS = {"sha256": 64, "md5": 32}


@dataclass(frozen=True)
class RemoteFile:
    """One file of a data set: its name here, its address, and what is known of it beforehand."""

    name: str
    url: str
    bytes: int | None = None
    about_bytes: int | None = None
    sha256: str | None = None
    md5: str | None = None

    @property
    def checksum(self) -> tuple[str, str] | None:
        """The kind (``sha256``, else ``md5``) and the expected value; None where not known."""
        for kind in _DIGITS:
            if value := getattr(self, kind):
                return kind, value
        return None


@dataclass(frozen=True)
class Dataset:
    """A public data set: where it is, what it may be used for, and what is not verified of it."""

    name: str
    title: str
    source: str
    licence: str
    citation: str
    files: tuple[RemoteFile, ...] = ()
    by_hand: tuple[str, ...] = ()
    note: str = ""
    evidence: str = ""
    not_verified_since: datetime.date | None = None

    @property
    def size(self) -> str:
        """Size of all files for people: ``699 MB``, ``about 33 GB``, ``3 files, size unknown``."""
        if self.by_hand:
            return "by hand"
        known = [f.bytes or f.about_bytes for f in self.files]
        total = sum(n for n in known if n)
        if not total:
            return "size unknown"
        about = "" if all(f.bytes for f in self.files) else "about "
        return f"{about}{size(total)}"

    def steps(self) -> str:
        """How to download it by hand, in one line."""
        steps = "; ".join(f"({i}) {step}" for i, step in enumerate(self.by_hand, start=1))
        return f"{self.source}: {steps}"

    def to_dict(self) -> dict[str, Any]:
        since = self.not_verified_since
        return {
            "name": self.name,
            "title": self.title,
            "source": self.source,
            "licence": self.licence,
            "citation": self.citation,
            "note": self.note,
            "not_verified_since": since and since.isoformat(),
            "evidence": self.evidence,
            "files": [dict(vars(file)) for file in self.files],
            "by_hand": list(self.by_hand),
        }


def read_registry(path: Path | str | None = None) -> dict[str, Dataset]:
    """The data sets by name, of this package or of another file of the same form.

    Raises
    ------
    SettingsError
        If the file is missing, is not TOML, or a data set in it lacks or has what it must not.
    """
    path = REGISTRY if path is None else Path(path)
    tables = read_toml(path)
    return {name: _dataset(name, table, path) for name, table in tables.items()}


def find(name: str, registry: Mapping[str, Dataset]) -> Dataset:
    """The data set of this name.

    Raises
    ------
    SettingsError
        If there is none; the nearest name is given.
    """
    if name in registry:
        return registry[name]
    close = nearest(name.lower(), registry)
    hint = f"did you mean {close!r}?" if close else f"known: {', '.join(registry)}"
    raise SettingsError(f"there is no data set {name!r}: {hint} (cellwright fetch --list)")


def _dataset(name: str, table: Any, path: Path) -> Dataset:
    where = f"{path}: data set {name!r}"
    if not isinstance(table, dict):
        raise SettingsError(f"{where} is {table!r}, expected a table")
    known = {*_TEXTS, "files", "by_hand", "not_verified_since"}
    _refuse_unknown(table, known, where)
    for key in _TEXTS:
        if not isinstance(table.get(key, ""), str):
            raise SettingsError(f"{where}: {key} is {table[key]!r}, expected text")
    for key in ("title", "source", "licence", "citation"):
        if not table.get(key):
            raise SettingsError(f"{where} has no {key}")
    steps, files = table.get("by_hand", []), table.get("files", [])
    if not (isinstance(steps, list) and isinstance(files, list) and bool(steps) != bool(files)):
        raise SettingsError(f"{where} needs either a list of files or a list of steps by_hand")
    since = table.get("not_verified_since")
    if since is not None and type(since) is not datetime.date:
        raise SettingsError(f"{where}: not_verified_since is {since!r}, expected a date")
    found = tuple(_file(entry, where) for entry in files)
    names = [file.name for file in found]
    if twice := {n for n in names if names.count(n) > 1}:
        raise SettingsError(f"{where} has two files of the name {min(twice)!r}")
    return Dataset(
        name=name,
        files=found,
        by_hand=tuple(str(step) for step in steps),
        not_verified_since=since,
        **{key: table[key] for key in _TEXTS if key in table},
    )


def _file(entry: Any, where: str) -> RemoteFile:
    if not isinstance(entry, dict):
        raise SettingsError(f"{where}: a file is {entry!r}, expected a table")
    _refuse_unknown(entry, set(RemoteFile.__dataclass_fields__), where)
    name, url = entry.get("name"), entry.get("url")
    # A name from a file that someone passed on must not lead out of the folder.
    if not isinstance(name, str) or not re.fullmatch(r"[\w][\w.+-]*", name):
        raise SettingsError(f"{where}: a file's name is {name!r}, expected one without a folder")
    if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
        raise SettingsError(f"{where}: the url of {name} is {url!r}, expected http:// or https://")
    for key in ("bytes", "about_bytes"):
        value = entry.get(key)
        if value is not None and (type(value) is not int or value <= 0):
            raise SettingsError(f"{where}: {key} of {name} is {value!r}, expected a whole number")
    for key, digits in _DIGITS.items():
        value = entry.get(key)
        if value is not None and not re.fullmatch(rf"[0-9a-f]{{{digits}}}", str(value)):
            raise SettingsError(
                f"{where}: {key} of {name} is {value!r}, expected {digits} hexadecimal digits"
            )
    return RemoteFile(**entry)


def _refuse_unknown(table: Mapping[str, Any], known: set[str], where: str) -> None:
    for key in table:
        if key not in known:
            close = nearest(key, known)
            hint = f"did you mean {close!r}?" if close else f"known: {', '.join(sorted(known))}"
            raise SettingsError(f"{where}: unknown key {key!r}, {hint}")
