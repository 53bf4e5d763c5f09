"""Clusters named after their most frequent label, and what such a vote scores by luck."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.evaluation.contingency import contingency


@dataclass(frozen=True)
class MajorityVote:
    """Each cluster named after its most frequent label, judged on the cells it was named by.

    accuracy flatters: with many clusters chance alone scores well. ``shuffled`` is what the same
    vote scores on permuted labels at equal cluster sizes: ``{"value", "low", "high"}``, mean and
    95 % range. predicted_n: class index of every cell, those without a label too (-1 in a cluster
    without any label). confusion_kk: rows labels, columns votes.
    """

    accuracy: float
    shuffled: dict[str, float]
    classes: tuple[str, ...]
    confusion_kk: NDArray[np.int64]
    predicted_n: NDArray[np.int64]

    def to_dict(self) -> dict[str, Any]:
        """Accuracy, its value for shuffled labels, and the confusion counts."""
        return {
            "accuracy": self.accuracy,
            "shuffled": dict(self.shuffled),
            "confusion": {"classes": list(self.classes), "counts": self.confusion_kk.tolist()},
        }


def majority_vote(
    label_codes_n: NDArray[np.int64],
    cluster_n: NDArray[np.int64],
    classes: tuple[str, ...],
    *,
    shuffles: int = 200,
    seed: int = 0,
) -> MajorityVote:
    """Name clusters by vote; of equally frequent labels the one more frequent overall, then the first."""
    labelled = label_codes_n >= 0
    code_m, cluster_m = label_codes_n[labelled], cluster_n[labelled]
    k, c = len(classes), int(cluster_n.max()) + 1
    table_kc = contingency(code_m, cluster_m, k, c)
    predicted_n = _votes(table_kc)[cluster_n]
    confusion_kk = contingency(code_m, predicted_n[labelled], k, k)
    rng = np.random.default_rng(seed)
    lucky = [
        contingency(rng.permutation(code_m), cluster_m, k, c).max(axis=0).sum() / len(code_m)
        for _ in range(shuffles)
    ]
    low, high = np.quantile(lucky, [0.025, 0.975])
    return MajorityVote(
        accuracy=float(np.trace(confusion_kk) / len(code_m)),
        shuffled={"value": float(np.mean(lucky)), "low": float(low), "high": float(high)},
        classes=classes,
        confusion_kk=confusion_kk,
        predicted_n=predicted_n,
    )


def cluster_table(
    label_codes_n: NDArray[np.int64], cluster_n: NDArray[np.int64], classes: tuple[str, ...]
) -> tuple[dict[str, Any], ...]:
    """Per cluster ``{"cluster", "n", "labelled", "majority_label", "purity"}``, the largest first.

    purity: share of the cluster's labelled cells that bear its majority label; it and the label
    are None for a cluster without a labelled cell.
    """
    labelled = label_codes_n >= 0
    size_c = np.bincount(cluster_n)
    table_kc = contingency(label_codes_n[labelled], cluster_n[labelled], len(classes), len(size_c))
    vote_c = _votes(table_kc)
    rows = []
    for cluster, size in enumerate(size_c):
        known = int(table_kc[:, cluster].sum())
        vote = int(vote_c[cluster])
        rows.append(
            {
                "cluster": cluster,
                "n": int(size),
                "labelled": known,
                "majority_label": classes[vote] if known else None,
                "purity": float(table_kc[vote, cluster] / known) if known else None,
            }
        )
    return tuple(rows)


def _votes(table_kc: NDArray[np.int64]) -> NDArray[np.int64]:
    # Below one cell: decides ties only.
    crumb_k = table_kc.sum(axis=1) / (2 * table_kc.sum() + 2)
    vote_c = (table_kc + crumb_k[:, None]).argmax(axis=0)
    return np.where(table_kc.sum(axis=0) > 0, vote_c, -1)
