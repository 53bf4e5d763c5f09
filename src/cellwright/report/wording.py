"""Numbers as people read them; a missing or undefined one is a dash."""

from __future__ import annotations

import math
from typing import Any

DASH = "–"


def finite(value: Any) -> float | None:
    """The value as a finite float, or None for anything else."""
    if value is None or isinstance(value, (str, bool)):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def number(value: Any, digits: int = 3) -> str:
    """A fixed number of decimals: ``0.991``."""
    known = finite(value)
    return DASH if known is None else f"{known:.{digits}f}"


def signed(value: Any, digits: int = 3) -> str:
    """With its sign and a true minus: ``−0.004``."""
    known = finite(value)
    if known is None:
        return DASH
    text = f"{abs(known):.{digits}f}"
    if float(text) == 0:
        return text
    return f"{'−' if known < 0 else '+'}{text}"


def count(value: Any) -> str:
    """A whole number in groups of three: ``1,152``."""
    known = finite(value)
    return DASH if known is None else f"{known:,.0f}"


def percent(value: Any, digits: int = 0) -> str:
    """A share as per cent: ``61 %``."""
    known = finite(value)
    return DASH if known is None else f"{100 * known:.{digits}f} %"


def size(value: Any) -> str:
    """Bytes in the unit that fits, powers of ten: ``1.9 GB``."""
    known = finite(value)
    if known is None:
        return DASH
    for unit, power in (("GB", 9), ("MB", 6), ("kB", 3)):
        if known >= 10**power:
            return f"{known / 10**power:.1f} {unit}"
    return f"{known:.0f} bytes"


def duration(value: Any) -> str:
    """Seconds in the unit that fits: ``6 min 2 s``."""
    known = finite(value)
    if known is None:
        return DASH
    if known < 60:
        return f"{known:.1f} s"
    whole = round(known)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def listed(names: list[str], last: str = "and") -> str:
    """``a, b and c``."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} {last} {names[-1]}"


def flat(settings: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted name, text) pairs, lists joined; listed mappings by their name."""
    if isinstance(settings, list) and any(isinstance(item, dict) for item in settings):
        named = ((str(item.get("name", at)), item) for at, item in enumerate(settings, 1))
        return [row for name, item in named for row in flat(item, f"{prefix}.{name}")]
    if not isinstance(settings, dict):
        return [(prefix, _text(settings))]
    rows: list[tuple[str, str]] = []
    for key, value in settings.items():
        name = f"{prefix}.{key}" if prefix else str(key)
        rows += flat(value, name)
    return rows


def _text(value: Any) -> str:
    if value is None:
        return DASH
    if isinstance(value, (list, tuple)):
        return ", ".join(_text(v) for v in value) or DASH
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}" if math.isfinite(value) else DASH
    return str(value)
