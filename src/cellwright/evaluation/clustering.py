"""The clustering task: do clusters of the vectors, found without labels, agree with the labels?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.evaluation.cluster_scores import measure_clusters
from cellwright.evaluation.clusters import GRID, cluster_codes, reordered
from cellwright.evaluation.communities import Method
from cellwright.evaluation.comparison import Judgement, judge, score
from cellwright.evaluation.contingency import contingency
from cellwright.evaluation.seen import worst_seen
from cellwright.evaluation.vectors import checked_vectors
from cellwright.interfaces import CellView, Predictions, Score


@dataclass(frozen=True)
class ClusterAgreement:
    """Task: clusters found without labels against the labels.

    Fields as in ``Annotation`` and ``cluster_agreement``. Nothing is held out: clusters are found
    in all cells, labels are only compared. ``predict`` returns one ``Predictions`` per view, over
    the labelled cells, with ``split="none"``: predicted_m is the majority label of the cell's
    cluster, probability_mk the labels of its cluster, and ``fitted[0]`` the ``Clustering`` of all
    cells in the order of ``obs``.
    """

    name: ClassVar[str] = "clustering"
    needs: ClassVar[Literal["cells", "genes", "candidates", "finetune"]] = "cells"

    label_codes_n: NDArray[np.int64]
    classes: Sequence[str]
    cell_names_n: NDArray[np.str_]
    groups_n: NDArray[np.str_] | None = None
    group_name: str = "groups"
    label: str = "label"
    neighbors: int = 15
    metric: str = "cosine"
    resolution: float = 0.8
    method: Method = "leiden"
    zscore: bool = True
    grid: Sequence[float] = GRID
    seed: int = 42
    resamples: int = 2000
    shuffles: int = 200

    def predict(self, view: CellView) -> list[Predictions]:
        """Cluster one representation, its vectors fitted on all cells."""
        order = np.argsort(self.cell_names_n, kind="stable")
        if not np.array_equal(np.asarray(view.obs.index, dtype=np.str_), self.cell_names_n):
            raise DataError(
                f"the view of {view.name} has {len(view.obs)} cells that are not the "
                f"{len(self.cell_names_n)} cells of the task in their order"
            )
        vectors_nd = np.asarray(view.vectors(np.arange(len(order), dtype=np.int64)))
        checked_vectors(vectors_nd, name=view.name, n_cells=len(order))
        found = cluster_codes(
            vectors_nd[order],
            self.label_codes_n[order],
            tuple(self.classes),
            neighbors=self.neighbors,
            metric=self.metric,
            resolution=self.resolution,
            method=self.method,
            seed=self.seed,
            zscore=self.zscore,
            grid=self.grid,
            shuffles=self.shuffles,
            name=view.name,
        )
        rows = order[self.label_codes_n[order] >= 0]
        found = reordered(found, np.argsort(order))
        truth_m, cluster_m = self.label_codes_n[rows], found.cluster_n[rows]
        table_kc = contingency(truth_m, cluster_m, len(self.classes), found.given.n_clusters)
        share_ck = table_kc.T / np.maximum(table_kc.sum(axis=0), 1)[:, None]
        grouped = self.groups_n is not None
        return [
            Predictions(
                task=self.name,
                rep=view.name,
                model=self.method,
                split="none",
                fold_unit="none",
                classes=tuple(self.classes),
                rows_m=rows,
                truth_m=truth_m,
                predicted_m=found.majority.predicted_n[rows],
                probability_mk=share_ck[cluster_m],
                unit_m=np.asarray(self.groups_n if grouped else self.cell_names_n)[rows].astype(
                    np.str_
                ),
                unit=self.group_name if grouped else "cells",
                fold_m=np.zeros(len(rows), dtype=np.int64),
                seen=worst_seen(view.seen_n[rows], name=view.name, where="that are clustered"),
                baseline=view.baseline,
                fitted=(found,),
            )
        ]

    def score(self, answers: Predictions, rivals: Sequence[Predictions]) -> list[Score]:
        """ARI, NMI, homogeneity, completeness and majority accuracy with intervals.

        At the given resolution, and with ``_matched`` appended at the matched one. Intervals
        resample cells (or groups) with the clusters kept as they are; chance is the mean over
        permuted labels.
        """
        return score(answers, rivals, measure_clusters, resamples=self.resamples, seed=self.seed)

    def judge(self, answers: Sequence[Predictions]) -> Judgement:
        """Score many representations at once; the headline is ARI."""
        return judge(
            answers, measure_clusters, resamples=self.resamples, seed=self.seed, headline="ari"
        )
