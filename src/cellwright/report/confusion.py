"""Confusion matrices: true classes in rows, predicted classes in columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from numpy.typing import ArrayLike


def confusion_matrix(
    counts_kk: ArrayLike,
    classes: Sequence[str],
    *,
    columns: Sequence[str] | None = None,
    title: str = "Confusion matrix",
    row_axis: str = "True class",
    column_axis: str = "Predicted class",
    ax: Axes | None = None,
) -> Axes:
    """Cells per true and predicted class, shaded by the share of the row.

    Parameters
    ----------
    counts_kk
        Cells, rows are true classes; not necessarily square when ``columns`` is given.
    classes
        Names of the rows, and of the columns unless ``columns`` is given.
    columns
        Names of the columns (clusters, for a cross table).

    Raises
    ------
    SettingsError
        If the names do not fit the shape.
    """
    raise NotImplementedError


def confusion_of(entry: dict[str, Any], **how: Any) -> Axes:
    """``confusion_matrix`` of ``{"classes": [...], "counts": [[...]]}`` as ``metrics.json`` keeps it."""
    raise NotImplementedError
