"""Metrics of class predictions, weighted and vectorised over resamples, and their chance levels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.interfaces import Predictions


def confusion(answers: Predictions) -> NDArray[np.int64]:
    """Counts (k, k): rows truth, columns prediction, in the order of ``answers.classes``."""
    raise NotImplementedError


def per_class(answers: Predictions) -> list[dict[str, Any]]:
    """Per class: ``{"class", "precision", "recall", "f1", "support"}``; 0 where undefined."""
    raise NotImplementedError


def roc_points(answers: Predictions, positive: str | None = None) -> dict[str, list[float]]:
    """``{"fpr": [...], "tpr": [...]}`` of one class against the rest (default: the last class)."""
    raise NotImplementedError
