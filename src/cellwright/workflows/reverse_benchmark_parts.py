"""Partitions of a reverse benchmark: conditions to train on and to ask about, and their strata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellwright.errors import SettingsError
from cellwright.perturbation.reverse import Screen
from cellwright.perturbation.reverse_cell_splits import CELL_SPLITS, SAME_GENES
from cellwright.perturbation.reverse_splits import (
    CONTEXTS,
    GUIDES,
    ReverseSplit,
    named_splits,
    read_split,
)

_PARTITIONS = {"ahlmann-eltze-2025": 5, "mambaperturb-2025": 1, "unseen-singles": 5, GUIDES: 2}


@dataclass(frozen=True)
class Part:
    """One training and its test.

    train, val, test: conditions of the screen by name, val empty where a split has none (where guides
    or contexts are held out, its cells of them are conditions of their own); strata: genes seen
    alone of each test condition.
    """

    design: str
    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    screen: Screen
    strata: Mapping[str, int]
    val: tuple[str, ...] = ()


def parts_of(
    screen: Screen,
    split: str | Path,
    partitions: int | None,
    seed: int,
    aliases: Mapping[str, str],
) -> tuple[list[Part], list[str]]:
    """The partitions of a split by name or file, and what a reader must know of them.

    Raises
    ------
    SettingsError
        For an unknown split, or partitions below 1.
    DataError
        If the data do not allow the split.
    """
    if partitions is not None and partitions < 1:
        raise SettingsError(f"partitions is {partitions}, expected 1 or more")
    name = str(split)
    if name.endswith(".json"):
        read, absent = read_split(Path(split), screen, aliases=aliases)
        shown = ", ".join(absent[:3]) + (" …" if len(absent) > 3 else "")
        notes = [f"{len(absent)} conditions of {Path(split).name} are not in the data: {shown}"]
        return [_part(screen, "split file", read)], notes if absent else []
    number = partitions or _PARTITIONS.get(name, 1)
    if name in CELL_SPLITS:
        if name == CONTEXTS and screen.context_n is not None:
            number = partitions or len(np.unique(screen.context_n[screen.condition_n >= 0]))
        divided = [CELL_SPLITS[name](screen, fold) for fold in range(number)]
        return [_part(other, name, split) for other, split in divided], [SAME_GENES[name]]
    if name == "leave-one-double-out":
        number = 1
    found = [s for i in range(number) for s in named_splits(screen, name, seed + i)]
    return [_part(screen, name, s) for s in found], []


def _part(screen: Screen, design: str, split: ReverseSplit) -> Part:
    return Part(design, split.name, split.train, split.test, screen, split.strata, split.val)
