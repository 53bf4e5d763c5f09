"""Pictures of representations with the number that says whether to believe them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.evaluation.neighbors import NeighborAccuracy, knn_accuracy
from cellwright.workflows.projections import Method, Projection, project


@dataclass(frozen=True)
class Picture:
    """A projection of one representation, with its k-nearest-neighbour accuracy."""

    rep: str
    projection: Projection
    knn: NeighborAccuracy

    def table(self, cells_n: NDArray[np.str_], labels_n: NDArray[np.str_]) -> pd.DataFrame:
        """The rows of ``coordinates.tsv``: cell, rep, method, x, y, label."""
        rows_m, xy_m2 = self.projection.rows_m, self.projection.xy_m2
        return pd.DataFrame(
            {
                "cell": cells_n[rows_m],
                "rep": self.rep,
                "method": self.projection.method,
                "x": xy_m2[:, 0],
                "y": xy_m2[:, 1],
                "label": labels_n[rows_m],
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """The number and what was changed to draw the picture."""
        out = self.knn.to_dict()
        return {**out, "note": self.projection.note} if self.projection.note else out


def picture(
    rep: str,
    vectors_nd: NDArray[np.floating],
    labels_n: NDArray[np.str_],
    method: Method,
    *,
    seed: int = 42,
) -> Picture:
    """Project all cells and ask how often neighbours in the picture share a label."""
    projection = project(vectors_nd, method, seed=seed)
    return rate(rep, projection, labels_n)


def rate(rep: str, projection: Projection, labels_n: NDArray[np.str_]) -> Picture:
    """A projection with its number, taken over the cells that have a label (not empty)."""
    shown_m = labels_n[projection.rows_m]
    known = shown_m != ""
    xy_m2 = projection.xy_m2[known]
    name = f"the {projection.method} picture of {rep}"
    k = min(15, len(xy_m2) - 1)
    return Picture(rep, projection, knn_accuracy(xy_m2, shown_m[known], k, name=name))


def file_names(reps: Iterable[str]) -> dict[str, str]:
    """A file name for every representation: letters that every system takes, none twice."""
    out: dict[str, str] = {}
    for rep in reps:
        name = stem = re.sub(r"[^A-Za-z0-9._+-]+", "_", rep).strip("_.") or "rep"
        number = 2
        while name.lower() in {n.lower() for n in out.values()}:
            name, number = f"{stem}_{number}", number + 1
        out[rep] = name
    return out
