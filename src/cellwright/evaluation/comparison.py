"""Answers side by side: every metric with its interval, and paired differences on the same resamples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cellwright.interfaces import Check, Predictions, Score


@dataclass(frozen=True)
class Difference:
    """``value = rep - rival`` in one metric and design, on the same units, with its 95 % interval."""

    rep: str
    rival: str
    metric: str
    split: str
    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as a plain mapping."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Judgement:
    """All that was found about some representations in one task.

    scores: every representation (baselines too), design, metric and stratum.
    differences: every representation that is no baseline against every baseline.
    checks: what the reader must be warned of. sentences: what a report prints, one a line.
    """

    scores: tuple[Score, ...]
    differences: tuple[Difference, ...]
    checks: tuple[Check, ...]
    sentences: tuple[str, ...]


def judge(
    answers: Sequence[Predictions],
    *,
    positive: str | None = None,
    resamples: int = 2000,
    seed: int = 0,
    headline: str = "accuracy",
) -> Judgement:
    """Score all answers (any mix of designs; rivals are those marked ``baseline``) in one go.

    Cheaper than one ``Annotation.score`` per representation: each is resampled once.
    """
    raise NotImplementedError
