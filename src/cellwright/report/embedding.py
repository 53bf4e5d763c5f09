"""Two-dimensional maps of cells coloured by a category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

METHOD_NAMES = {"pca": "PCA", "tsne": "t-SNE", "umap": "UMAP"}


def embedding_map(
    xy_n2: ArrayLike,
    labels_n: Sequence[Any],
    *,
    method: str = "umap",
    rep: str = "",
    label: str = "label",
    knn: Mapping[str, float] | None = None,
    order: Sequence[str] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Scatter of cells coloured by label, drawn in an order that hides no class systematically.

    Parameters
    ----------
    xy_n2
        Coordinates, cells × 2 (rows with NaN are left out).
    labels_n
        One category per cell; missing or empty ones are drawn in grey as "no label".
    method
        ``pca``, ``tsne``, ``umap`` or any other name, for title and axes.
    rep, label
        Name of the representation and of the label column, for the title and the legend.
    knn
        ``{"value": ..., "chance": ...}``: k-nearest-neighbour accuracy in this picture, printed
        beside it.
    order
        Order of the categories (fixes their colours); default sorted.
    """
    raise NotImplementedError


def cluster_maps(
    coordinates: pd.DataFrame,
    *,
    method: str = "umap",
    rep: str = "",
    label: str = "label",
    title: str | None = None,
) -> NDArray[Any]:
    """The same map by cluster and by label side by side, as an array of two Axes.

    ``coordinates`` has columns ``x``, ``y``, ``cluster`` and ``label``, one row per cell.
    """
    raise NotImplementedError
