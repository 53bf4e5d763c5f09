"""Training curves: loss, perplexity beside its references, masked accuracy."""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray


def loss_curve(history: pd.DataFrame, *, title: str = "Loss", ax: Axes | None = None) -> Axes:
    """Training and validation loss (nats per masked gene) over epochs; lower is better.

    Parameters
    ----------
    history
        ``history.csv`` of a run: columns ``epoch``, ``train_loss``, ``val_loss`` (either loss may
        be missing or NaN).
    ax
        Axes to draw into; None makes a new figure (``.figure`` of the result).
    """
    raise NotImplementedError


def perplexity_curve(
    history: pd.DataFrame,
    *,
    best: str | None = None,
    rule: str | None = None,
    title: str = "Perplexity of masked bins",
    ax: Axes | None = None,
) -> Axes:
    """Validation perplexity over epochs beside the references that need no network; lower is better.

    The best reference is a heavy dashed line named in the legend, the others are thin.

    Parameters
    ----------
    history
        Columns ``epoch``, ``perplexity`` and any ``ref_<name>``.
    best
        Name of the best reference (``unigram_depth``); None takes the lowest at the last epoch.
    rule
        Bin and mask rule in words, printed under the title: a perplexity means nothing without it.
    """
    raise NotImplementedError


def masked_accuracy_curve(
    history: pd.DataFrame, *, title: str = "Masked bins named right", ax: Axes | None = None
) -> Axes:
    """Share of masked genes whose bin is named right over epochs, with the majority-per-gene line.

    ``history`` has ``epoch``, ``masked_accuracy`` and ``ref_majority_accuracy``. Higher is better.
    """
    raise NotImplementedError


def zero_nonzero_curve(
    history: pd.DataFrame, *, title: str = "Zero and nonzero apart", ax: Axes | None = None
) -> Axes:
    """Masked accuracy of genes that were zero and of genes that were not, over epochs.

    ``history`` has ``epoch``, ``zero_accuracy`` and ``nonzero_accuracy``. Higher is better.
    """
    raise NotImplementedError


def training_curves(
    history: pd.DataFrame, *, best: str | None = None, rule: str | None = None
) -> NDArray[Any]:
    """The four pictures above in one figure, as an array of Axes of shape (2, 2)."""
    raise NotImplementedError
