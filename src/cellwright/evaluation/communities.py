"""Groups of cells in a neighbour graph: Leiden or Louvain, at a resolution or at a number of groups."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import igraph
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from cellwright.errors import SettingsError

Method = Literal["leiden", "louvain"]
Partition = Callable[[float], NDArray[np.int64]]
LOWEST, HIGHEST = 1e-3, 50.0
TRIALS = 40


class Communities:
    """A neighbour graph that can be divided at any resolution (each computed once).

    Both methods maximise modularity with a resolution, through igraph's own
    ``community_leiden`` and ``community_multilevel``, which honour it; scanpy's igraph Louvain
    does not.

    Parameters
    ----------
    graph_nn
        Symmetric weights (n, n).
    method
        ``leiden`` (Traag et al. 2019, until nothing moves) or ``louvain`` (Blondel et al. 2008).
    """

    def __init__(self, graph_nn: sparse.csr_matrix, method: Method = "leiden", seed: int = 42):
        if method not in ("leiden", "louvain"):
            raise SettingsError(f"unknown method {method!r}; known: leiden, louvain")
        upper = sparse.triu(graph_nn, k=1).tocoo()
        edges = np.column_stack([upper.row, upper.col])
        self._graph = igraph.Graph(n=graph_nn.shape[0], edges=edges.tolist())
        self._weights = upper.data.tolist()
        self._method = method
        self._seed = seed
        self._found: dict[float, NDArray[np.int64]] = {}

    def at(self, resolution: float) -> NDArray[np.int64]:
        """Cluster of every cell, (n,), 0 the largest. A higher resolution gives more clusters.

        Raises
        ------
        SettingsError
            If the resolution is not above 0.
        """
        if not resolution > 0:
            raise SettingsError(f"the resolution is {resolution}; it must be above 0")
        if resolution not in self._found:
            with _drawing_from(self._seed):
                if self._method == "leiden":
                    found = self._graph.community_leiden(
                        objective_function="modularity",
                        weights=self._weights,
                        resolution=resolution,
                        n_iterations=-1,
                    )
                else:
                    found = self._graph.community_multilevel(
                        weights=self._weights, resolution=resolution
                    )
            self._found[resolution] = _largest_first(np.array(found.membership, dtype=np.int64))
        return self._found[resolution]

    def with_clusters(self, wanted: int, start: float) -> tuple[float, bool]:
        """The resolution that gives ``wanted`` clusters, and whether one was found.

        Bisection on the logarithm from ``start``; where the number jumps past ``wanted`` or the
        graph falls into more pieces, the nearest number of clusters that was seen is taken.
        """

        def count(resolution: float) -> int:
            return int(self.at(resolution).max()) + 1

        tried = {start: count(start)}
        low = high = start
        while tried[low] > wanted and low > LOWEST:
            low = max(low / 2, LOWEST)
            tried[low] = count(low)
        while tried[high] < wanted and high < HIGHEST:
            high = min(high * 2, HIGHEST)
            tried[high] = count(high)
        for _ in range(TRIALS):
            if wanted in tried.values() or not tried[low] < wanted < tried[high]:
                break
            middle = float(np.sqrt(low * high))
            tried[middle] = count(middle)
            low, high = (middle, high) if tried[middle] < wanted else (low, middle)
        best = min(tried, key=lambda r: (abs(tried[r] - wanted), abs(np.log(r / start))))
        return best, tried[best] == wanted


@contextmanager
def _drawing_from(seed: int) -> Iterator[None]:
    """igraph draws from a generator of our own, and from Python's again afterwards."""
    igraph.set_random_number_generator(random.Random(seed))
    try:
        yield
    finally:
        igraph.set_random_number_generator(random)


def _largest_first(membership_n: NDArray[np.int64]) -> NDArray[np.int64]:
    order = np.argsort(-np.bincount(membership_n), kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[membership_n]
