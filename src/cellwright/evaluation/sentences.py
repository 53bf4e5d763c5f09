"""Scores as plain sentences a report can print, in both directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from cellwright.interfaces import Score

if TYPE_CHECKING:
    from cellwright.evaluation.comparison import Difference

# Shortcuts: what knows nothing of biology, and how a sentence calls it.
SHORTCUTS: Mapping[str, str] = {
    "depth": "depth alone",
    "batch": "the batch label alone",
    "depth+batch": "depth and the batch label together",
}


def verdicts(
    scores: Sequence[Score],
    differences: Sequence[Difference] = (),
    *,
    metric: str = "accuracy",
    shortcuts: Mapping[str, str] = SHORTCUTS,
) -> list[str]:
    """One or more sentences per representation and design.

    "beats every simple method", "the simple method wins", "does not beat depth alone", each with
    both values, intervals and the paired difference, and the mark of what was seen.
    """
    raise NotImplementedError


def score_phrase(score: Score) -> str:
    """The value with its interval: ``0.80 [0.74, 0.85]``."""
    raise NotImplementedError
