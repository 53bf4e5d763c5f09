"""Nearest neighbours: a fuzzy graph for clustering, and how well a 2-D picture keeps labels apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class NeighborAccuracy:
    """Leave-one-out accuracy of a k-nearest-neighbour vote, and what the largest class would score."""

    value: float
    low: float
    high: float
    chance: float
    n: int
    k: int

    def to_dict(self) -> dict[str, Any]:
        """The fields as a plain mapping."""
        return dict(self.__dict__)


def knn_accuracy(
    xy_nd: NDArray[np.floating],
    labels_n: NDArray[Any],
    k: int = 15,
    *,
    name: str = "the coordinates",
) -> NeighborAccuracy:
    """How often the k nearest other cells of a picture vote for a cell's own label (higher is better)."""
    raise NotImplementedError


def neighbor_graph(
    vectors_nd: NDArray[np.floating],
    *,
    neighbors: int = 15,
    metric: str = "cosine",
    seed: int = 42,
    name: str = "the representation",
) -> Any:
    """UMAP's fuzzy k-nearest-neighbour graph as a symmetric CSR matrix (n, n), weights in (0, 1]."""
    raise NotImplementedError
