"""The clustering task: do clusters of the vectors, found without labels, agree with the labels?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from cellwright.evaluation.comparison import Judgement
from cellwright.interfaces import CellView, Predictions, Score

Method = Literal["leiden", "louvain"]
GRID = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0)


@dataclass(frozen=True)
class Agreement:
    """One clustering beside the labels. Higher is better in all four; ``reached`` is False when the
    wanted number of clusters was not found and this is the nearest."""

    resolution: float
    n_clusters: int
    ari: float
    nmi: float
    homogeneity: float
    completeness: float
    reached: bool = True

    def to_dict(self) -> dict[str, Any]:
        """The fields as a plain mapping."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class MajorityVote:
    """Each cluster named after its most frequent label; ``shuffled`` is what the same vote scores on
    permuted labels at equal cluster sizes: ``{"value", "low", "high"}`` (mean and 95 % range)."""

    accuracy: float
    shuffled: dict[str, float]
    classes: tuple[str, ...]
    confusion_kk: NDArray[np.int64]
    predicted_n: NDArray[np.int64]


@dataclass(frozen=True)
class Clustering:
    """All of one representation's clustering.

    cluster_n: cluster of every cell at the given resolution, 0 the largest; -1 nowhere (cells
    without a label are clustered too, and left out of the agreement).
    matched_cluster_n: the same at the matched resolution.
    """

    rep: str
    cluster_n: NDArray[np.int64]
    matched_cluster_n: NDArray[np.int64]
    given: Agreement
    matched: Agreement
    grid: tuple[Agreement, ...]
    majority: MajorityVote
    matched_majority: MajorityVote
    clusters: tuple[dict[str, Any], ...]
    matched_clusters: tuple[dict[str, Any], ...]
    settings: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """The mapping that ``metrics.json`` keeps per representation."""
        raise NotImplementedError


def cluster_agreement(
    vectors_nd: NDArray[np.floating],
    labels_n: NDArray[Any],
    *,
    neighbors: int = 15,
    metric: str = "cosine",
    resolution: float = 0.8,
    method: Method = "leiden",
    seed: int = 42,
    zscore: bool = True,
    grid: Sequence[float] = GRID,
    shuffles: int = 200,
    name: str = "the representation",
) -> Clustering:
    """Cluster the vectors and set the clusters beside the labels (str; "" or NaN: no label)."""
    raise NotImplementedError


@dataclass(frozen=True)
class ClusterAgreement:
    """Task: clusters found without labels against the labels.

    Fields as in ``Annotation`` and ``cluster_agreement``. ``predict`` returns one ``Predictions``
    per view with ``split="none"``: predicted_m is the majority label of the cell's cluster and
    ``fitted[0]`` the ``Clustering``.
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
        """Cluster one representation (vectors fitted on all cells: nothing is held out)."""
        raise NotImplementedError

    def score(self, answers: Predictions, rivals: Sequence[Predictions]) -> list[Score]:
        """ARI, NMI, homogeneity, completeness and majority accuracy at the given resolution, and
        with ``_matched`` appended at the matched one, as ``Score``."""
        raise NotImplementedError

    def judge(self, answers: Sequence[Predictions]) -> Judgement:
        """Score many representations at once."""
        raise NotImplementedError
