"""Splits by cells: the same genes are perturbed on both sides, in cells of another kind.

They ask whether an answer is known again through another guide, or in another cell type, dataset or
treatment; whether a new perturbation is understood is asked by :mod:`.reverse_splits`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.perturbation.reverse import Screen


def guides_held_out(screen: Screen, fold: int) -> tuple[Screen, Screen]:
    """The screen with one guide of every condition left out, and with that guide only.

    Same genes on both sides, other guides: it asks whether an answer is known again through
    another guide, not whether a new perturbation is understood. Controls stay on both sides.

    Raises
    ------
    DataError
        If there is no column of guides, or no condition has two.
    """
    if screen.guide_n is None:
        raise DataError("guides cannot be held out: no column of guides is given (--guide)")
    held = np.zeros(len(screen.condition_n), dtype=bool)
    several = 0
    for code in range(len(screen.conditions)):
        rows = screen.rows_of(code)
        guides = np.unique(screen.guide_n[rows])
        if len(guides) > 1:
            several += 1
            held[rows[screen.guide_n[rows] == guides[fold % len(guides)]]] = True
    if not several:
        raise DataError("guides cannot be held out: no perturbation has cells of two guides")
    return _sides(screen, held)


def contexts_held_out(screen: Screen, fold: int) -> tuple[Screen, Screen]:
    """The screen without one context, such as a cell type or a dataset, and with that one only.

    Contexts take turns in alphabetical order. Controls stay on both sides, since every shift is
    measured from the controls of its own context: a user's own cells come with them too.

    Raises
    ------
    DataError
        If there is no column of contexts, there is only one, a context has no control cell, or
        no perturbation of the one held out is seen in another.
    """
    if screen.context_n is None:
        raise DataError("no context can be held out: no column of contexts is given (--context)")
    perturbed = screen.condition_n >= 0
    contexts = np.unique(screen.context_n[perturbed])
    if len(contexts) < 2:
        raise DataError(
            f"no context can be held out: all perturbed cells are {str(contexts[0])!r}, and one context "
            "is needed to learn from"
        )
    for context in contexts.tolist():
        if not (screen.context_n[screen.control_rows] == context).any():
            raise DataError(
                f"there are no control cells in the context {context!r}, which its shifts are "
                "measured from"
            )
    held_context = contexts[fold % len(contexts)]
    held = perturbed & (screen.context_n == held_context)
    codes = screen.condition_n
    if not np.isin(codes[held], codes[perturbed & ~held]).any():
        raise DataError(
            f"no perturbation in the context {str(held_context)!r} is seen in another, so that "
            "none of them can be known again; use unseen-singles"
        )
    return _sides(screen, held)


def _sides(screen: Screen, held_n: NDArray[np.bool_]) -> tuple[Screen, Screen]:
    """Without the held cells and with them alone; controls in both."""
    control = screen.condition_n == -1
    seen = np.where(held_n & ~control, -2, screen.condition_n)
    asked = np.where(held_n | control, screen.condition_n, -2)
    return replace(screen, condition_n=seen), replace(screen, condition_n=asked)
