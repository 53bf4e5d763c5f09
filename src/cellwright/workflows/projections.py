"""Two-dimensional pictures of vectors: PCA, t-SNE and UMAP, each with what was changed to make it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from cellwright.errors import DataError
from cellwright.evaluation.neighbors import neighbor_graph

with warnings.catch_warnings():
    # umap announces that its TensorFlow variant is absent; nothing here uses it.
    warnings.filterwarnings("ignore", message="Tensorflow not installed", category=ImportWarning)
    from umap.umap_ import find_ab_params, simplicial_set_embedding

Method = Literal["pca", "tsne", "umap"]
METHODS: tuple[Method, ...] = ("pca", "tsne", "umap")
MOST_CELLS = 20_000
WIDE = 50
_FEW = 5_000


@dataclass(frozen=True)
class Projection:
    """Coordinates xy_m2 of the cells ``rows_m``; note says what was lowered or thinned, or is empty."""

    method: Method
    rows_m: NDArray[np.int64]
    xy_m2: NDArray[np.float32]
    note: str = ""


def project(
    vectors_nd: NDArray[np.floating],
    method: Method,
    *,
    seed: int = 42,
    perplexity: float = 30.0,
    neighbors: int = 15,
    metric: str = "euclidean",
    min_dist: float = 0.3,
    most_cells: int = MOST_CELLS,
) -> Projection:
    """Lay cells out in two dimensions.

    Parameters
    ----------
    vectors_nd
        Vectors, at least 4 cells. More than 50 dimensions are first reduced to 50 principal
        components for t-SNE and UMAP, as is usual.
    perplexity
        Of t-SNE; lowered to a third of the cells less one where they are few.
    neighbors, metric, min_dist
        Of UMAP.
    most_cells
        Above this many, t-SNE and UMAP draw a random choice of the cells.

    Raises
    ------
    DataError
        With fewer than 4 cells.

    References
    ----------
    van der Maaten and Hinton (2008); McInnes, Healy and Melville (2018); started from principal
    components, Kobak and Linderman (2021).
    """
    n = len(vectors_nd)
    if n < 4:
        raise DataError(f"a picture of cells needs at least 4 cells, got {n}")
    rows_m = np.arange(n, dtype=np.int64)
    notes = []
    if method != "pca" and n > most_cells:
        rows_m = np.sort(np.random.default_rng(seed).choice(n, most_cells, replace=False))
        notes.append(f"{most_cells} of {n} cells drawn")
    values = narrowed(vectors_nd)[rows_m]
    start_m2 = _components(values, 2)
    if method == "pca":
        return Projection(method, rows_m, start_m2.astype(np.float32))
    if method == "tsne":
        used = min(perplexity, max(1.0, (len(values) - 1) / 3))
        if used < perplexity:
            notes.append(f"perplexity {used:.3g} instead of {perplexity:.3g}: few cells")
        model = TSNE(
            perplexity=used,
            init=_scaled(start_m2, 1e-4, seed),
            learning_rate="auto",
            random_state=seed,
        )
        # Threads wait for each other longer than they work where cells are few.
        with threadpool_limits(1 if len(values) < _FEW else None):
            xy_m2 = model.fit_transform(values.astype(np.float32))
    else:
        used_k = min(neighbors, len(values) - 1)
        if used_k < neighbors:
            notes.append(f"{used_k} neighbours instead of {neighbors}: few cells")
        graph = neighbor_graph(values, neighbors=used_k, metric=metric)
        xy_m2 = lay_out(graph, values, min_dist=min_dist, seed=seed)
    return Projection(method, rows_m, np.asarray(xy_m2, np.float32), "; ".join(notes))


def narrowed(vectors_nd: NDArray[np.floating]) -> NDArray[np.float64]:
    """The vectors, or their first 50 principal components where they are wider."""
    values = np.asarray(vectors_nd, dtype=np.float64)
    if values.shape[1] <= WIDE:
        return values
    return _components(values, min(WIDE, len(values) - 1))


def lay_out(
    graph: object, vectors_nd: NDArray[np.floating], *, min_dist: float = 0.3, seed: int = 42
) -> NDArray[np.float32]:
    """UMAP coordinates (n, 2) of a fuzzy neighbour graph, started from two principal components.

    Reference: McInnes, Healy and Melville (2018), through umap-learn as scanpy calls it.
    """
    a, b = find_ab_params(1.0, min_dist)
    start_n2 = _scaled(_components(np.asarray(vectors_nd, np.float64), 2), 10.0, seed)
    xy_n2, _ = simplicial_set_embedding(
        data=vectors_nd,
        graph=graph.tocoo(copy=True),  # type: ignore[attr-defined]
        n_components=2,
        initial_alpha=1.0,
        a=a,
        b=b,
        gamma=1.0,
        negative_sample_rate=5,
        n_epochs=None,
        init=start_n2,
        random_state=np.random.RandomState(seed),
        metric="euclidean",
        metric_kwds={},
        densmap=False,
        densmap_kwds={},
        output_dens=False,
    )
    return np.asarray(xy_n2, dtype=np.float32)


def _components(values: NDArray[np.float64], wanted: int) -> NDArray[np.float64]:
    """The first principal components; columns of zeros where there are fewer."""
    n, d = values.shape
    kept = min(wanted, n, d)
    out = np.zeros((n, wanted))
    if np.ptp(values, axis=0).any():
        # All three are exact; the first is cheap for few dimensions, the second for many.
        few = "covariance_eigh" if n >= d else "full"
        solver = "arpack" if d > 500 and kept < min(n, d) else few
        out[:, :kept] = PCA(kept, svd_solver=solver, random_state=0).fit_transform(values)
    return out


def _scaled(xy_n2: NDArray[np.float64], size: float, seed: int) -> NDArray[np.float32]:
    """Coordinates stretched to a standard deviation of ``size``, with a little noise.

    The noise sets equal cells apart and gives a column of zeros the width the layouts divide by.
    """
    spread = xy_n2[:, 0].std() or 1.0
    noise = np.random.default_rng(seed).normal(scale=1e-3, size=xy_n2.shape)
    return ((xy_n2 / spread + noise) * size).astype(np.float32)
