"""Split-half retrieval: how well the conditions of a screen can be told apart at all.

The cells of every condition are halved; the shift of one half from controls is looked up among those
of the other halves. No method that names perturbed genes from as many cells can know more than the
cells do, so a simulated screen that is to stand for a real one has to match it in this number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.perturbation.queries import control_means
from cellwright.perturbation.reverse import Screen
from cellwright.perturbation.reverse_audit import FLOOR, control_spread


@dataclass(frozen=True)
class SplitHalf:
    """hit: share of halves whose own other half is the nearest, 0 to 1, higher is easier; chance: one
    over the conditions; conditions: how many there were; cells: the median condition's."""

    hit: float
    chance: float
    conditions: int
    cells: int


def split_half(
    expression_ng: Any, screen: Screen, *, repeats: int = 20, seed: int = 0
) -> SplitHalf:
    """Share of halves of conditions that find their own other half first.

    Halves are compared by the cosine of their shifts from the controls of their batches, each gene
    in standard deviations of control cells (floored at a quarter of the median over genes that
    vary), the mean over conditions taken off; mean over ``repeats`` random halvings, both ways.

    Raises
    ------
    DataError
        If fewer than two conditions have two cells, or there are no control cells.
    """
    codes = [p for p in range(len(screen.conditions)) if len(screen.rows_of(p)) > 1]
    if len(codes) < 2:
        raise DataError(f"{len(codes)} conditions have two cells or more, expected at least 2")
    control = control_means(expression_ng, screen)
    sd_g = control_spread(expression_ng, screen)
    varies = sd_g > 0
    if not varies.any():
        raise DataError("no gene varies between the control cells")
    scale_g = np.maximum(sd_g, FLOOR * float(np.median(sd_g[varies])))
    rng = np.random.default_rng(seed)
    hits = []
    for _ in range(repeats):
        halves: tuple[list[NDArray[np.float64]], ...] = ([], [])
        for code in codes:
            rows = rng.permutation(screen.rows_of(code))
            middle = len(rows) // 2
            for side, part in zip(halves, (rows[:middle], rows[middle:]), strict=True):
                side.append(_shift(expression_ng, screen, part, control) / scale_g)
        one, other = (_directions(np.array(side)) for side in halves)
        near = one @ other.T
        truth = np.arange(len(codes))
        hits += [(near.argmax(axis=0) == truth).mean(), (near.argmax(axis=1) == truth).mean()]
    sizes = [len(screen.rows_of(code)) for code in codes]
    return SplitHalf(float(np.mean(hits)), 1 / len(codes), len(codes), int(np.median(sizes)))


def _shift(
    expression_ng: Any,
    screen: Screen,
    rows: NDArray[np.int64],
    control: dict[str, NDArray[np.float64]],
) -> NDArray[np.float64]:
    x = expression_ng[rows].mean(axis=0)
    mean_g = np.asarray(x if not sp.issparse(x) else x.todense(), dtype=np.float64).ravel()
    batches, counts = np.unique(screen.batch_n[rows], return_counts=True)
    for batch, count in zip(batches.tolist(), counts.tolist(), strict=True):
        mean_g = mean_g - control.get(batch, control[""]) * (count / len(rows))
    return mean_g


def _directions(shift_pg: NDArray[np.float64]) -> NDArray[np.float64]:
    centred = shift_pg - shift_pg.mean(axis=0)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.maximum(length, 1e-300))
