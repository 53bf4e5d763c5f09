"""Whether probabilities of perturbed genes come true: reliability by bin, expected error, Brier score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

EDGES = (0.0, 0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


@dataclass(frozen=True)
class Reliability:
    """Probabilities beside what came true; every perturbation weighs the same.

    table: ``low``, ``high`` (edges of a bin), ``said`` (mean probability), ``came_true`` (share of
    genes that were perturbed), ``weight`` (genes in it, per perturbation). error: mean distance of
    the two over bins by weight (lower is better); brier: mean squared error, and brier_base that
    of saying the same share of all genes.
    """

    table: pd.DataFrame
    error: float
    brier: float
    brier_base: float

    def to_dict(self) -> dict[str, Any]:
        return {
            "error": self.error,
            "brier": self.brier,
            "brier_base": self.brier_base,
            "bins": self.table.to_dict("records"),
        }


def reliability(
    probability_qc: NDArray[np.floating], target_qc: NDArray[np.bool_], unit_q: NDArray[np.str_]
) -> Reliability:
    """Compare probabilities with what was perturbed.

    Parameters
    ----------
    unit_q
        The perturbation of each query.
    """
    names_u, code_q, count_u = np.unique(unit_q, return_inverse=True, return_counts=True)
    p = np.asarray(probability_qc, dtype=np.float64)
    t = np.asarray(target_qc, dtype=np.float64)
    weight = np.broadcast_to((1.0 / count_u[code_q] / len(names_u))[:, None], p.shape)
    bin_qc = np.clip(np.searchsorted(EDGES, p, side="right") - 1, 0, len(EDGES) - 2)
    total, said, true = (
        np.bincount(bin_qc.ravel(), w.ravel(), len(EDGES) - 1)
        for w in (weight, weight * p, weight * t)
    )
    used = np.flatnonzero(total > 0)
    table = pd.DataFrame(
        {
            "low": [EDGES[b] for b in used],
            "high": [EDGES[b + 1] for b in used],
            "said": said[used] / total[used],
            "came_true": true[used] / total[used],
            "weight": total[used],
        }
    )
    share = float((weight * t).sum() / weight.sum())
    return Reliability(
        table,
        float(np.abs(said - true).sum() / total.sum()),
        float((weight * (p - t) ** 2).sum() / weight.sum()),
        share * (1 - share),
    )
