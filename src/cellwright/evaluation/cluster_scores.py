"""The metrics of the clustering task, each with its resamples, interval and chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.evaluation.contingency import ari, contingency, information
from cellwright.evaluation.intervals import Measured, interval
from cellwright.evaluation.resampling import Resamples
from cellwright.interfaces import Predictions

SHUFFLES = 100


def measure_clusters(answers: Predictions, drawn: Resamples) -> dict[str, Measured]:
    """ARI, NMI, homogeneity, completeness and majority accuracy, by name.

    At the given resolution, and with ``_matched`` appended at the matched one. Resamples draw
    cells or units with the clusters kept as they are: the interval is about the cells, not about
    finding the clusters anew. They lie around the value as reported; of few cells in many clusters
    mutual information is itself too high, which chance shows. Chance is the mean over labels permuted at equal cluster sizes.
    """
    clustering: Any = answers.fitted[0]
    out: dict[str, Measured] = {}
    for suffix, cluster_n, vote in (
        ("", clustering.cluster_n, clustering.majority),
        ("_matched", clustering.matched_cluster_n, clustering.matched_majority),
    ):
        rows = answers.rows_m
        found = measure_partition(
            answers.truth_m, cluster_n[rows], vote.predicted_n[rows], len(answers.classes), drawn
        )
        out |= {f"{name}{suffix}": measured for name, measured in found.items()}
    return out


def measure_partition(
    label_m: NDArray[np.int64],
    cluster_m: NDArray[np.int64],
    vote_m: NDArray[np.int64],
    n_labels: int,
    drawn: Resamples,
) -> dict[str, Measured]:
    """The metrics of one clustering of the labelled cells."""
    n, n_clusters = len(label_m), int(cluster_m.max()) + 1
    shape = (n_labels, n_clusters)
    totals = drawn.totals(label_m * n_clusters + cluster_m, n_labels * n_clusters)
    right = drawn.totals((vote_m == label_m).astype(np.int64), 2)
    draws: dict[str, list[NDArray[np.float64]]] = {}
    for weights_bu in drawn.weights():
        table = (totals.T @ weights_bu.T).T.reshape(-1, *shape)
        squares = (totals.T @ (weights_bu**2).T).T.reshape(-1, *shape)
        counts = (right.T @ weights_bu.T).T
        chunk = {
            **_agreements(table, squares),
            "majority_accuracy": counts[:, 1] / counts.sum(axis=1),
        }
        for name, part in chunk.items():
            draws.setdefault(name, []).append(part)
    table_kc = contingency(label_m, cluster_m, *shape)
    values = {
        **_agreements(table_kc),
        "majority_accuracy": np.float64((vote_m == label_m).mean()),
    }
    chance = _by_luck(label_m, cluster_m, shape, drawn.seed)
    out = {}
    for name, value in values.items():
        draws_b = np.concatenate(draws[name])
        # Mutual information is larger in a resample, which repeats cells, than in the data.
        least = -1.0 if name == "ari" else 0.0
        centred_b = np.clip(draws_b + (float(value) - draws_b.mean()), least, 1.0)
        found = interval(float(value), centred_b, drawn.sizes_u, float(n), zero_is_edge=False)
        out[name] = Measured(float(value), centred_b, found, chance[name])
    return out


def _agreements(
    table: NDArray[Any], squares: NDArray[Any] | None = None
) -> Mapping[str, NDArray[np.float64]]:
    return {"ari": ari(table, squares), **information(table)}


def _by_luck(
    label_m: NDArray[np.int64], cluster_m: NDArray[np.int64], shape: tuple[int, int], seed: int
) -> dict[str, float]:
    rng = np.random.default_rng(seed)
    tables = np.stack(
        [contingency(rng.permutation(label_m), cluster_m, *shape) for _ in range(SHUFFLES)]
    )
    best = tables.max(axis=-2).sum(axis=-1) / len(label_m)
    found = {**_agreements(tables), "majority_accuracy": best}
    return {name: float(np.mean(values)) for name, values in found.items()}
