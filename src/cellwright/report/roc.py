"""ROC curves of several representations, with the area under each in the legend."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from matplotlib.axes import Axes


def roc_curves(
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    auc: Mapping[str, float] | None = None,
    baselines: Collection[str] = (),
    positive: str | None = None,
    title: str = "ROC of held-out cells",
    ax: Axes | None = None,
) -> Axes:
    """True-positive over false-positive rate; the diagonal is chance, the upper left corner perfect.

    Parameters
    ----------
    curves
        Name -> ``{"fpr": [...], "tpr": [...]}``, both rising from 0 to 1.
    auc
        Name -> area as scored (with its own averaging); None or a missing name: trapezoids under
        the curve given.
    baselines
        Names drawn as thin dashed lines.
    positive
        Name of the positive class, for the axis labels.
    """
    raise NotImplementedError
