"""Are cells told from control cells at all? A test by permutation, before any gene is named.

A network that ranks genes ranks them for every group of cells, unperturbed ones too. Cells that
cannot be told from controls have no perturbation to name. The user's own controls are what they are
compared with: depth and noise of another experiment are not those of the screen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

DRAWS = 999
MOST = 1000
"""Cells of either side that are compared, at most."""
LEVEL = 0.05
_SLICE = 100


@dataclass(frozen=True)
class ControlLikeness:
    """Whether the shift of a group is larger than that of control cells divided at random.

    p: share of random divisions of its cells and the controls, within batches, with a shift as
    large; None where no cell can change sides. cells, controls: how many were compared.
    """

    p: float | None
    cells: int
    controls: int

    @property
    def flagged(self) -> bool:
        """Whether the cells look like control cells; of groups of controls 95 % do."""
        return self.p is not None and self.p > LEVEL

    @property
    def sentence(self) -> str:
        """What a reader must know, or ""."""
        if self.p is None:
            return (
                "Whether these are more than control cells cannot be told: none of their batches "
                "has control cells."
            )
        if self.flagged:
            return (
                f"The shift of these {self.cells} cells is not told from that of control cells divided "
                f"at random (p {self.p:.2g}; of groups of control cells 5 % are below 0.05): there may "
                "be no perturbation to name."
            )
        return ""


def control_likeness(
    expression_ng: Any,
    case_n: NDArray[np.bool_],
    control_n: NDArray[np.bool_],
    batch_n: NDArray[np.str_],
    sd_g: NDArray[np.float64],
    shift_pg: NDArray[np.floating],
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> ControlLikeness:
    """Compare the shift of cells with that of random divisions of the same cells and controls.

    Two sizes of a shift are looked at, in standard deviations of control cells: over all genes, and
    along the shifts that were learned (of planted groups of 20 cells this finds four in five, the
    other one in four). The larger of the two, each by its rank among the divisions, is compared
    with the larger of every division. Shifts are measured within batches, where cells change sides.
    Where cells and controls come from one distribution, p is below 0.05 for at most 5 % of groups,
    whatever that distribution is.

    Parameters
    ----------
    expression_ng
        Normalised log expression of the genes to be compared.
    sd_g
        Standard deviation of control cells; a gene that does not vary is left out.
    shift_pg
        Shifts of the perturbations that were learned.
    """
    rng = np.random.default_rng(seed)
    case, control = np.flatnonzero(case_n), np.flatnonzero(control_n)
    shared = np.intersect1d(batch_n[case], batch_n[control])
    case, control = (rows[np.isin(batch_n[rows], shared)] for rows in (case, control))
    case, control = (
        np.sort(rng.choice(rows, MOST, replace=False)) if len(rows) > MOST else rows
        for rows in (case, control)
    )
    # A batch may have lost its last cell of one side.
    shared = np.intersect1d(batch_n[case], batch_n[control])
    case, control = (rows[np.isin(batch_n[rows], shared)] for rows in (case, control))
    if not len(case) or not len(control):
        return ControlLikeness(None, len(case), len(control))
    rows = np.concatenate([case, control])
    varies = sd_g > 0
    scale = np.divide(1.0, sd_g, out=np.zeros(len(sd_g)), where=varies)
    x = sp.csr_matrix(expression_ng[rows]).astype(np.float64) @ sp.diags(scale)
    along_np = np.asarray(x @ _unit(shift_pg * scale).T)
    weight_n = np.empty(len(rows))
    of_batch = [np.flatnonzero(batch_n[rows] == b) for b in shared]
    for places in of_batch:
        ours = places[places < len(case)]
        weight_n[ours] = 1 / len(case)
        weight_n[places[places >= len(case)]] = -len(ours) / len(case) / (len(places) - len(ours))
    found = [_sizes(weight_n[None], x, along_np)]
    for start in range(0, draws, _SLICE):
        weight_dn = np.tile(weight_n, (min(_SLICE, draws - start), 1))
        for places in of_batch:
            weight_dn[:, places] = rng.permuted(weight_dn[:, places], axis=1)
        found.append(_sizes(weight_dn, x, along_np))
    largest_d = np.vstack([_ranks(size_d) for size_d in np.hstack(found)]).max(axis=0)
    p = float((largest_d >= largest_d[0]).mean())
    return ControlLikeness(p, len(case), len(control))


def _sizes(
    weight_dn: NDArray[np.float64], x_ng: sp.csr_matrix, along_np: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum of squares of each weighted sum of cells over genes and along directions, (2, d)."""
    shift_gd, along_dp = x_ng.T @ weight_dn.T, weight_dn @ along_np
    return np.stack([(np.asarray(shift_gd) ** 2).sum(axis=0), (along_dp**2).sum(axis=1)])


def _ranks(size_d: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many are no larger, but for rounding."""
    rounded = np.round(size_d / max(float(size_d.max()), 1e-300), 9)
    return np.searchsorted(np.sort(rounded), rounded, "right")


def _unit(shift_pg: NDArray[np.floating]) -> NDArray[np.float64]:
    length = np.linalg.norm(shift_pg, axis=1, keepdims=True)
    return np.divide(shift_pg, length, out=np.zeros(shift_pg.shape), where=length > 0)
