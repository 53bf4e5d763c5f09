"""Clusters beside labels: size and purity of each, agreement over the resolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes


def cluster_sizes(
    clusters: pd.DataFrame | Sequence[Mapping[str, Any]],
    *,
    title: str = "Size and purity of the clusters",
    ax: Axes | None = None,
) -> Axes:
    """A bar per cluster: its size in cells, the share of its most frequent label filled.

    ``clusters`` has ``cluster``, ``n``, ``majority_label`` and ``purity`` (0 to 1).
    """
    raise NotImplementedError


def resolution_curve(
    grid: pd.DataFrame | Sequence[Mapping[str, Any]],
    *,
    given: float | None = None,
    matched: float | None = None,
    metrics: Sequence[str] = ("ari", "nmi", "homogeneity", "completeness"),
    title: str = "Agreement over the resolution",
    ax: Axes | None = None,
) -> Axes:
    """Agreement with the labels and the number of clusters over a grid of resolutions.

    ``grid`` has ``resolution``, ``n_clusters`` and the metrics. ``given`` and ``matched`` are
    marked by vertical lines. Higher agreement is better.
    """
    raise NotImplementedError
