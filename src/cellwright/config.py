"""Settings <-> TOML, with one precedence everywhere: flag > file > preset > default.

A settings class is a frozen dataclass whose field defaults are the defaults. ``resolve`` layers
mappings over it and refuses a key it does not know, naming the nearest one it does.
"""

from __future__ import annotations

import dataclasses
import difflib
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import tomli_w

from cellwright.errors import SettingsError

S = TypeVar("S")


def resolve(settings: type[S], *layers: Mapping[str, Any] | None) -> S:
    """Build ``settings`` from its defaults and ``layers``, later layers winning.

    A value of None in a layer means "not given here". Values are checked against the field's
    annotation (int is accepted for float).

    Raises
    ------
    SettingsError
        For an unknown key (the nearest known key is named) or a value of the wrong type.
    """
    hints = typing.get_type_hints(settings)
    known = [f.name for f in dataclasses.fields(settings)]  # type: ignore[arg-type]
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in (layer or {}).items():
            if key not in known:
                raise SettingsError(_unknown(key, known, settings.__name__))
            if value is not None:
                merged[key] = _checked(key, value, hints[key])
    return settings(**merged)


def to_dict(settings: Any) -> dict[str, Any]:
    """The settings as a plain mapping fit for TOML and JSON (None left out, tuples as lists)."""
    out: dict[str, Any] = {}
    for f in dataclasses.fields(settings):
        value = getattr(settings, f.name)
        if value is None:
            continue
        if dataclasses.is_dataclass(value):
            out[f.name] = to_dict(value)
        else:
            out[f.name] = list(value) if isinstance(value, tuple) else value
    return out


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file.

    Raises
    ------
    SettingsError
        If the file is missing or is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"no settings file at {path}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not a TOML file: {error}") from None


def dump_toml(mapping: Mapping[str, Any]) -> str:
    """The mapping as TOML text."""
    return tomli_w.dumps(dict(mapping))


def nearest(given: str, known: typing.Iterable[str]) -> str | None:
    """The known name closest to what was given, or None if nothing is close."""
    found = difflib.get_close_matches(given, [str(k) for k in known], n=1, cutoff=0.5)
    return found[0] if found else None


def _unknown(key: str, known: list[str], where: str) -> str:
    close = nearest(key, known)
    hint = f"did you mean {close!r}?" if close else f"known: {', '.join(sorted(known))}"
    return f"unknown setting {key!r} in {where}: {hint}"


def _checked(key: str, value: Any, hint: Any) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        options = [a for a in args if a is not type(None)]
        for option in options:
            try:
                return _checked(key, value, option)
            except SettingsError:
                continue
        raise SettingsError(f"setting {key!r} is {value!r}, expected {_name(hint)}")
    if origin is typing.Literal:
        if value not in args:
            close = nearest(str(value), [str(a) for a in args])
            hint_text = f" (did you mean {close!r}?)" if close else ""
            listed = ", ".join(repr(a) for a in args)
            raise SettingsError(
                f"setting {key!r} is {value!r}, expected one of {listed}{hint_text}"
            )
        return value
    if origin is tuple:
        if isinstance(value, str) or not isinstance(value, (list, tuple)):
            raise SettingsError(f"setting {key!r} is {value!r}, expected a list")
        return tuple(_checked(key, v, args[0]) for v in value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path:
        return Path(value)
    if hint is Any or dataclasses.is_dataclass(hint):
        return value
    expected = origin or hint
    if not isinstance(value, expected) or (isinstance(value, bool) and hint is not bool):
        raise SettingsError(f"setting {key!r} is {value!r}, expected {_name(hint)}")
    return value


def _name(hint: Any) -> str:
    return getattr(hint, "__name__", None) or str(hint).replace("typing.", "")
