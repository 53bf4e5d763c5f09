"""The hash of a split, and in words how two splits differ."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pandas as pd

PARTS = ("train", "val", "test")


def split_lines(assignment: pd.Series) -> list[str]:
    """``obs_name<TAB>part`` of every cell, sorted, so that the order of cells does not matter."""
    return sorted(f"{name}\t{part}" for name, part in assignment.items())


def split_hash(assignment: pd.Series, settings: dict[str, Any]) -> str:
    """SHA-256 over the settings (sorted JSON) and the sorted lines, in hexadecimal."""
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update("\n".join(split_lines(assignment)).encode())
    return digest.hexdigest()


def difference(known: pd.Series | None, given: pd.Series, counts: dict[str, int]) -> str:
    """What is different in ``given``: cells by name if the ``known`` ones are at hand, else counts.

    Parameters
    ----------
    known, given
        Part of each cell, indexed by its name.
    counts
        Cells per part, as they should be.
    """
    if not given.index.is_unique:
        twice = given.index[given.index.duplicated()][0]
        return f"the cell name {twice!r} stands {int((given.index == twice).sum())} times"
    if known is None:
        sizes = {part: int((given == part).sum()) for part in PARTS}
        told = [
            f"{part} has {sizes[part]} cells, expected {counts[part]}"
            for part in PARTS
            if sizes[part] != counts[part]
        ]
        return ", ".join(told) or "as many cells in each part, but other cells"
    told = []
    missing, unknown = known.index.difference(given.index), given.index.difference(known.index)
    for names, what in ((missing, "missing"), (unknown, "unknown")):
        if len(names):
            told.append(f"{len(names)} cells {what} (first {names[0]!r})")
    both = known.index.intersection(given.index)
    was, now = known[both], given[both]
    moved = both[(was != now).to_numpy()]
    if len(moved):
        told.append(
            f"{len(moved)} cells moved (first {moved[0]!r}, {was[moved[0]]} before, "
            f"{now[moved[0]]} here)"
        )
    return ", ".join(told)
