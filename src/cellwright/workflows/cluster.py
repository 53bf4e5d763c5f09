"""Cluster: do groups found in the vectors without labels agree with the labels?"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from anndata import AnnData

from cellwright.data.atomic import refuse_existing
from cellwright.errors import SettingsError
from cellwright.evaluation.clustering import ClusterAgreement
from cellwright.evaluation.clusters import Clustering, zscored
from cellwright.evaluation.communities import Method
from cellwright.evaluation.neighbors import neighbor_graph
from cellwright.interfaces import Check, Predictions, Score
from cellwright.report.clusters import cluster_sizes, resolution_curve
from cellwright.report.confusion import confusion_matrix
from cellwright.report.embedding import cluster_maps
from cellwright.report.notebook import scores_html
from cellwright.report.scores import score_panels
from cellwright.workflows import cluster_folder
from cellwright.workflows.designs import batch_column, group_column, group_values
from cellwright.workflows.labels import Labels, read_labels
from cellwright.workflows.pictures import Picture, rate
from cellwright.workflows.plain_files import plain
from cellwright.workflows.projections import MOST_CELLS, Projection, lay_out, narrowed
from cellwright.workflows.subject import Subject, read_subject
from cellwright.workflows.views import SIMPLE, Views, build_views

log = logging.getLogger("cellwright.workflows.cluster")

SCHEMA = "cellwright.cluster/1"
BESIDE = (*SIMPLE, "depth")
MIN_DIST = 0.3


@dataclass(frozen=True)
class ClusterResult:
    """What clustering found; a table in a notebook.

    clusterings: by representation. scores: every representation and metric, at the given
    resolution and (``_matched``) at the one with as many clusters as labels. folder: where it was
    written, or None.
    """

    labels: Labels
    task: ClusterAgreement
    subject: Subject
    views: Views
    clusterings: dict[str, Clustering]
    scores: tuple[Score, ...]
    checks: tuple[Check, ...]
    sentences: tuple[str, ...]
    folder: Path | None = None

    def __getitem__(self, rep: str) -> Clustering:
        if rep not in self.clusterings:
            known = ", ".join(self.clusterings)
            raise SettingsError(f"no clusters of {rep!r}; there are: {known}")
        return self.clusterings[rep]

    def table(self) -> pd.DataFrame:
        """Representations by metrics, the best adjusted Rand index at matched clusters first."""
        frame = pd.DataFrame([s.to_dict() for s in self.scores if s.stratum == "all"])
        wide = frame.pivot_table(index="rep", columns="metric", values="value", sort=False)
        return wide.sort_values("ari_matched", ascending=False, kind="stable")

    @cached_property
    def pictures(self) -> dict[str, Picture]:
        """A UMAP of every representation, drawn from the graph its clusters were found in."""
        out = {}
        n = len(self.labels.codes_n)
        rows_m, note = np.arange(n, dtype=np.int64), ""
        if n > MOST_CELLS:
            rng = np.random.default_rng(self.task.seed)
            rows_m = np.sort(rng.choice(n, MOST_CELLS, replace=False))
            note = f"{MOST_CELLS} of {n} cells drawn"
        for view in self.views:
            vectors_nd = zscored(view.vectors(np.arange(n, dtype=np.int64)))[rows_m]
            graph = neighbor_graph(
                vectors_nd,
                neighbors=self.task.neighbors,
                metric=self.task.metric,
                name=view.name,
            )
            xy_m2 = lay_out(graph, narrowed(vectors_nd), min_dist=MIN_DIST, seed=self.task.seed)
            projection = Projection("umap", rows_m, xy_m2, note)
            out[view.name] = rate(view.name, projection, self.labels.class_n)
        return out

    def coordinates(self, rep: str) -> pd.DataFrame:
        """The picture of one representation as a table: cell, rep, method, x, y, label, cluster."""
        cells_n = np.asarray(self.subject.cells.obs_names, dtype=str)
        found = self.pictures[rep]
        table = found.table(cells_n, self.labels.class_n)
        return table.assign(cluster=self[rep].cluster_n[found.projection.rows_m])

    def plot_maps(self, rep: str) -> Any:
        """The UMAP by cluster and by label, as an array of two Axes."""
        return cluster_maps(self.coordinates(rep), rep=rep, label=self.labels.column)

    def plot_sizes(self, rep: str) -> Any:
        """Size and purity of each cluster, as Axes."""
        found = self[rep]
        title = f"{rep}: {found.given.n_clusters} clusters at resolution {found.given.resolution:g}"
        return cluster_sizes(found.clusters, title=title)

    def plot_resolutions(self, rep: str) -> Any:
        """Agreement over the grid of resolutions, as Axes."""
        found = self[rep]
        return resolution_curve(
            [entry.to_dict() for entry in found.grid],
            given=found.given.resolution,
            matched=found.matched.resolution,
            title=f"{rep}: agreement over the resolution",
        )

    def plot_confusion(self, rep: str) -> Any:
        """True labels against the majority label of each cell's cluster, as Axes."""
        found = self[rep].majority
        return confusion_matrix(
            found.confusion_kk,
            found.classes,
            title=f"{rep}: clusters by majority",
            subtitle=f"{found.accuracy:.3f} right; shuffled labels {found.shuffled['value']:.3f}",
            column_axis="Majority of the cluster",
        )

    def plot_scores(self) -> Any:
        """Agreement with intervals, as an array of Axes."""
        baselines = [view.name for view in self.views if view.baseline or view.name in SIMPLE]
        metrics = ("ari", "ari_matched", "nmi_matched")
        return score_panels(self.scores, metrics=metrics, split="none", baselines=baselines)

    def to_dict(self) -> dict[str, Any]:
        """What ``metrics.json`` holds, less the pictures."""
        task, labels = self.task, self.labels
        found = {
            "schema": SCHEMA,
            "label": labels.column,
            "classes": list(labels.classes),
            "cells": len(labels.codes_n),
            "excluded": labels.excluded,
            "asked": list(self.views.asked),
            "baselines": [view.name for view in self.views if view.baseline],
            "settings": {
                "neighbors": task.neighbors,
                "metric": task.metric,
                "resolution": task.resolution,
                "method": task.method,
                "seed": task.seed,
                "zscore": task.zscore,
                "grid": list(task.grid),
                "min_dist": MIN_DIST,
                "group": task.group_name if task.groups_n is not None else None,
            },
            "reps": {rep: entry.to_dict() for rep, entry in self.clusterings.items()},
            "scores": [score.to_dict() for score in self.scores],
            "checks": [check.to_dict() for check in self.checks],
            "sentences": list(self.sentences),
        }
        return dict(plain(found))

    def _repr_html_(self) -> str:
        return scores_html(self.scores)


def cluster(
    source: AnnData | Path | str,
    reps: str | Path | Sequence[str | Path] = ("hvg",),
    *,
    label: str,
    neighbors: int = 15,
    metric: str = "cosine",
    resolution: float = 0.8,
    method: str = "leiden",
    seed: int = 42,
    group: str | None = "auto",
    size_column: str | None = None,
    layer: str | None = None,
    assume_counts: bool = False,
    out: Path | str | None = None,
    force: bool = False,
) -> ClusterResult:
    """Cluster z-scored vectors without labels and set the clusters beside the labels.

    Agreement is given at ``resolution``, at the resolution with as many clusters as labels, and
    over a grid, for what was asked for and for variable genes, principal components, an untrained
    encoder of every run and sequencing depth.

    Parameters
    ----------
    source
        AnnData (left as it is) or the path of an h5ad, with raw counts.
    reps
        Catalog names (``hvg``, ``pca``, ``depth`` …), run folders, ``obsm:KEY``, ``file:PATH.npy``.
    label
        Column of ``obs``. Cells without a label are clustered and left out of the agreement.
    neighbors, metric
        Of the graph: neighbours, the cell itself included; ``cosine``, ``euclidean`` or
        ``manhattan``.
    resolution, method
        Of the communities: ``leiden`` or ``louvain``; more clusters at a higher resolution.
    group
        Column whose groups intervals resample; as in ``probe``.
    size_column, layer, assume_counts, out, force
        As in ``probe``.

    Raises
    ------
    DataError
        If cells, labels or vectors do not fit.
    SettingsError
        For an unknown representation, metric or method.
    RunError
        If ``out`` exists.
    """
    if out is not None:
        refuse_existing(out, force=force)
    subject = read_subject(source, layer=layer, assume_counts=assume_counts)
    obs = subject.cells.obs
    labels = read_labels(obs, label, fewest=1)
    names = [str(r) for r in ([reps] if isinstance(reps, str | Path) else reps)] or ["hvg"]
    column = group_column(obs, group, label)
    views = _fitted_here(
        build_views(
            subject,
            names,
            batch=batch_column(obs, column, label),
            size=size_column,
            beside=BESIDE,
            seed=seed,
        )
    )
    task = ClusterAgreement(
        label_codes_n=labels.codes_n,
        classes=labels.classes,
        cell_names_n=np.asarray(obs.index, dtype=np.str_),
        groups_n=None if column is None else group_values(obs, column),
        group_name=column or "groups",
        label=label,
        neighbors=neighbors,
        metric=metric,
        resolution=resolution,
        method=cast(Method, method),  # an unknown one is refused there, by name
        seed=seed,
    )
    answers: list[Predictions] = []
    for view in views:
        start = time.perf_counter()
        answers += task.predict(view)
        log.info("%s: %.1f s", view.name, time.perf_counter() - start)
    judged = task.judge(answers)
    found: dict[str, Clustering] = {answer.rep: answer.fitted[0] for answer in answers}
    result = ClusterResult(
        labels=labels,
        task=task,
        subject=subject,
        views=views,
        clusterings=found,
        scores=judged.scores,
        checks=judged.checks,
        sentences=(
            *(_told(found[rep], label) for rep in views.asked),
            *judged.sentences,
            *views.notes,
        ),
        folder=None if out is None else Path(out),
    )
    if out is not None:
        cluster_folder.write(result, Path(out), force=force)
    return result


def _fitted_here(views: Views) -> Views:
    """The views with the truth about those that are refitted: nothing is held out from them."""
    told = [
        replace(view, seen_n=np.full(len(view.obs), "seen-unlabelled"))
        if view.refitted_per_fold
        else view
        for view in views
    ]
    return replace(views, views=tuple(told))


def _told(found: Clustering, label: str) -> str:
    given, matched, vote = found.given, found.matched, found.majority
    reached = "" if matched.reached else f", the nearest to {len(found.classes)} that was found"
    return (
        f"{found.rep}: {given.n_clusters} clusters at resolution {given.resolution:g} agree with "
        f"{label} to an ARI of {given.ari:.2f}, {matched.n_clusters} clusters{reached} (resolution "
        f"{matched.resolution:.3g}) to {matched.ari:.2f}. The majority label of the "
        f"{given.n_clusters} is right for {vote.accuracy:.3f} of the cells; for shuffled labels "
        f"{vote.shuffled['value']:.3f}."
    )
