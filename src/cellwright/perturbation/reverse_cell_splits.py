"""Splits by cells: the same genes are perturbed on both sides, in cells of another kind.

They ask whether an answer is known again through another guide, or in another cell type, dataset or
treatment; whether a new perturbation is understood is asked by :mod:`.reverse_splits`. Held-out
cells of a perturbation become a condition of their own (``A · guide 2`` beside ``A``), so that
everything that is done with perturbations on one side only holds for them too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.perturbation.reverse import Screen
from cellwright.perturbation.reverse_splits import CONTEXTS, GUIDES, ReverseSplit

_TRAIN, _VAL, _TEST, _NONE = 0, 1, 2, -1
VAL_SHARE = 0.25
"""Perturbations whose guide that is held out validates, of those that have two guides."""


def guides_held_out(screen: Screen, fold: int = 0) -> tuple[Screen, ReverseSplit]:
    """One guide of every condition held out; most of them test, those of some conditions validate.

    Same genes on both sides, other guides: it asks whether an answer is known again through
    another guide, not whether a new perturbation is understood. Guides of a condition take turns;
    a condition with one guide trains only. Controls stay on both sides. Below four conditions with
    two guides nothing validates.

    Returns
    -------
    The screen with held-out cells as conditions of their own, and which of its conditions train,
    validate and test.

    Raises
    ------
    DataError
        If there is no column of guides, or no condition has two.
    """
    if screen.guide_n is None:
        raise DataError("guides cannot be held out: no column of guides is given (--guide)")
    side_n = np.where(screen.condition_n >= 0, _TRAIN, _NONE)
    several: list[NDArray[np.int64]] = []
    for code in range(len(screen.conditions)):
        rows = screen.rows_of(code)
        guides = np.unique(screen.guide_n[rows])
        if len(guides) > 1:
            several.append(rows[screen.guide_n[rows] == guides[fold % len(guides)]])
    if not several:
        raise DataError("guides cannot be held out: no perturbation has cells of two guides")
    order = np.random.default_rng(fold).permutation(len(several)).tolist()
    validates = set(order[: int(VAL_SHARE * len(several))])
    for number, held in enumerate(several):
        side_n[held] = _VAL if number in validates else _TEST
    # A guide is the same one within its condition: names such as g1 are used again and again.
    named_n = np.array([*screen.conditions, "", ""], dtype=str)[screen.condition_n]
    once_n = np.char.add(np.char.add(named_n, " · "), screen.guide_n)
    return _divided(screen, side_n, screen.guide_n, once_n, f"{GUIDES} {fold}")


def contexts_held_out(screen: Screen, fold: int = 0) -> tuple[Screen, ReverseSplit]:
    """One context, such as a cell type or a dataset, held out; where there are three, the next validates.

    Contexts take turns in alphabetical order. Controls stay on both sides, since every shift is
    measured from the controls of its own context: a user's own cells come with them too. With two
    contexts, or where no perturbation would be left to learn, nothing validates.

    Returns
    -------
    As :func:`guides_held_out`.

    Raises
    ------
    DataError
        If there is no column of contexts, there is only one, a context has no control cell, or
        no perturbation of the one held out is seen in another.
    """
    if screen.context_n is None:
        raise DataError("no context can be held out: no column of contexts is given (--context)")
    context_n = screen.context_n
    perturbed = screen.condition_n >= 0
    contexts = np.unique(context_n[perturbed]).tolist()
    if len(contexts) < 2:
        raise DataError(
            f"no context can be held out: all perturbed cells are {str(contexts[0])!r}, and one context "
            "is needed to learn from"
        )
    for context in contexts:
        if not (context_n[screen.control_rows] == context).any():
            raise DataError(
                f"there are no control cells in the context {context!r}, which its shifts are "
                "measured from"
            )
    codes = screen.condition_n
    of_context = {c: perturbed & (context_n == c) for c in contexts}
    tested = contexts[fold % len(contexts)]

    def known_again(context: str, without: tuple[str, ...]) -> bool:
        """Whether a perturbation of a context is in another one that is learned from."""
        learned = perturbed & ~np.isin(context_n, [context, *without])
        return bool(np.isin(codes[of_context[context]], codes[learned]).any())

    if not known_again(tested, ()):
        raise DataError(
            f"no perturbation in the context {str(tested)!r} is seen in another, so that "
            "none of them can be known again; use unseen-singles"
        )
    side_n = np.where(perturbed, _TRAIN, _NONE)
    side_n[of_context[tested]] = _TEST
    for step in range(1, len(contexts)):
        other = contexts[(fold + step) % len(contexts)]
        if known_again(other, (tested,)) and known_again(tested, (other,)):
            side_n[of_context[other]] = _VAL
            break
    return _divided(screen, side_n, context_n, context_n, f"{CONTEXTS} {fold}")


CELL_SPLITS: MappingProxyType[str, Callable[[Screen, int], tuple[Screen, ReverseSplit]]] = (
    MappingProxyType({GUIDES: guides_held_out, CONTEXTS: contexts_held_out})
)
SAME_GENES = MappingProxyType(
    {
        GUIDES: "Guides held out: the same genes are perturbed on both sides, by other guides.",
        CONTEXTS: "Contexts held out, one at a time: the same genes are perturbed on both sides, in "
        "cells of another context; shifts are measured from that context's own controls.",
    }
)


def _divided(
    screen: Screen,
    side_n: NDArray[np.int64],
    called_n: NDArray[np.str_],
    once_n: NDArray[np.str_],
    name: str,
) -> tuple[Screen, ReverseSplit]:
    """Held-out cells as conditions of their own; those of a perturbation that nothing trains are left out.

    called_n: what such a condition is called by; once_n: what may be on one side only.
    """
    condition_n = np.where(side_n > _TRAIN, -2, screen.condition_n)
    names, origin = list(screen.conditions), list(range(len(screen.conditions)))
    parts: dict[int, list[str]] = {_TRAIN: [], _VAL: [], _TEST: []}
    for code, condition in enumerate(screen.conditions):
        rows = screen.rows_of(code)
        if not (side_n[rows] == _TRAIN).any():
            continue
        parts[_TRAIN].append(condition)
        for side in (_VAL, _TEST):
            held = rows[side_n[rows] == side]
            if len(held):
                condition_n[held] = len(names)
                names.append(f"{condition} · {called_n[held[0]]}")
                origin.append(code)
                parts[side].append(names[-1])
    split = ReverseSplit(name, tuple(parts[_TRAIN]), tuple(parts[_VAL]), tuple(parts[_TEST]))
    divided = replace(
        screen,
        conditions=tuple(names),
        genes_p=tuple(screen.genes_p[i] for i in origin),
        condition_n=condition_n,
        targets_pc=screen.targets_pc[origin],
    )
    refuse_shared(divided, split, once_n)
    return divided, split


def refuse_shared(screen: Screen, split: ReverseSplit, once_n: NDArray[np.str_]) -> None:
    """Refuse a split that has one guide, or one context, of perturbed cells on two sides.

    Parameters
    ----------
    once_n
        What each cell has that may be on one side only.

    Raises
    ------
    DataError
        The first such value is named.
    """
    seen: dict[str, str] = {}
    for part in ("train", "val", "test"):
        codes = [screen.index(name) for name in getattr(split, part)]
        for value in np.unique(once_n[np.isin(screen.condition_n, codes)]).tolist():
            if seen.setdefault(value, part) != part:
                raise DataError(
                    f"the split {split.name} has cells of {value!r} in {seen[value]} and in {part}; "
                    "they may be on one side only"
                )
