"""Short HTML of scores and runs, for notebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from cellwright.interfaces import Score


def scores_html(scores: Sequence[Score | Mapping[str, Any]]) -> str:
    """A table of scores: value, interval, chance, difference to the best baseline, what was seen."""
    raise NotImplementedError


def run_html(metrics: Mapping[str, Any], history: pd.DataFrame | None = None) -> str:
    """A short card of a pretraining run: perplexity beside its best reference, accuracy, cost.

    ``metrics`` is the run's ``metrics.json``; ``history`` its ``history.csv`` for a small curve.
    """
    raise NotImplementedError
