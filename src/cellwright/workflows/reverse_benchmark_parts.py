"""Partitions of a reverse benchmark: conditions to train on and to ask about, and their strata."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellwright.errors import SettingsError
from cellwright.perturbation.reverse import Screen
from cellwright.perturbation.reverse_cell_splits import contexts_held_out, guides_held_out
from cellwright.perturbation.reverse_splits import SPLITS, ReverseSplit, named_splits, read_split

GUIDES, CONTEXTS = "guides-held-out", "contexts-held-out"
_PARTITIONS = {"ahlmann-eltze-2025": 5, "mambaperturb-2025": 1, "unseen-singles": 5, GUIDES: 2}
_SAME_GENES = "the same genes are perturbed on both sides"


@dataclass(frozen=True)
class Part:
    """One training and its test.

    train, val, test: conditions by name, val empty where a split has none; trained, asked: the
    screen with the cells of either side, one and the same unless guides are held out; strata: genes
    seen alone of each test condition.
    """

    design: str
    name: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    trained: Screen
    asked: Screen
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
    if name == GUIDES:
        parts = _by_cells(screen, name, number, guides_held_out)
        return parts, [f"Guides held out: {_SAME_GENES}, by other guides."]
    if name == CONTEXTS:
        contexts = 1 if screen.context_n is None else len(np.unique(screen.context_n))
        parts = _by_cells(screen, name, partitions or contexts, contexts_held_out)
        return parts, [
            f"Contexts held out, one at a time: {_SAME_GENES}, in cells of another context; shifts "
            "are measured from that context's own controls."
        ]
    if name not in SPLITS:
        # Its sentence names the nearest; guides and contexts are splits that only cells know.
        try:
            named_splits(screen, name, seed)
        except SettingsError as error:
            raise SettingsError(
                f"{error} ({GUIDES}, {CONTEXTS} and .json files are splits too)"
            ) from None
    if name == "leave-one-double-out":
        number = 1
    found = [s for i in range(number) for s in named_splits(screen, name, seed + i)]
    return [_part(screen, name, s) for s in found], []


def _part(screen: Screen, design: str, split: ReverseSplit) -> Part:
    return Part(
        design, split.name, split.train, split.test, screen, screen, split.strata, split.val
    )


def _by_cells(
    screen: Screen, name: str, number: int, split: Callable[[Screen, int], tuple[Screen, Screen]]
) -> list[Part]:
    out = []
    for fold in range(number):
        trained, asked = split(screen, fold)
        train, test = (
            tuple(c for i, c in enumerate(screen.conditions) if len(side.rows_of(i)))
            for side in (trained, asked)
        )
        test = tuple(c for c in test if c in train)
        out.append(Part(name, f"{name} {fold}", train, test, trained, asked, {}))
    return out
