"""Which measured genes a ranking rests on: each is set back to the controls, and the score is asked again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

TESTED = 200
FLOOR = 0.25

Score = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[np.float64]]


def evidence(
    score: Score,
    shift_g: NDArray[np.floating],
    mean_g: NDArray[np.floating],
    sd_g: NDArray[np.floating],
    candidates: NDArray[np.int64],
    *,
    tested: int = TESTED,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """What each candidate's log-odds lose when one measured gene is as in controls.

    Parameters
    ----------
    score
        Shifts and means of queries to log-odds, (q, c).
    shift_g, mean_g
        The query.
    sd_g
        Spread of genes over control cells; the ``tested`` genes that shifted most in units of it
        (floored at a quarter of the median) are set back one by one.
    candidates
        Places of the candidates asked about, (m,).

    Returns
    -------
    The genes, (t,), and the loss of each candidate by each, (m, t); positive for a gene that speaks
    for the candidate. Losses are those of one gene at a time: what several say alike is counted
    for none of them in full.
    """
    varies = sd_g > 0
    floor = FLOOR * float(np.median(sd_g[varies])) if varies.any() else 1.0
    z_g = np.abs(shift_g) / np.maximum(sd_g, max(floor, 1e-12))
    genes = np.argsort(-z_g, kind="stable")[:tested]
    genes = genes[shift_g[genes] != 0]
    shift = np.tile(np.asarray(shift_g, np.float32), (len(genes) + 1, 1))
    mean = np.tile(np.asarray(mean_g, np.float32), (len(genes) + 1, 1))
    rows = np.arange(len(genes))
    mean[rows, genes] -= shift[rows, genes]
    shift[rows, genes] = 0
    found = score(shift, mean)[:, candidates]
    return genes.astype(np.int64), (found[-1] - found[:-1]).T
