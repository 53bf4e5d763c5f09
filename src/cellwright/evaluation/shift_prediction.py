"""How close a predicted shift of expression is to the observed one, over perturbations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cellwright.errors import DataError
from cellwright.evaluation.intervals import FEW_UNITS, LEVEL, Interval, percentile
from cellwright.evaluation.resampling import by_row

METRICS: Mapping[str, bool] = {"l2": False, "pearson_delta": True}
"""Names, and whether higher is better."""


def shift_metrics(
    predicted_qg: NDArray[np.floating], observed_qg: NDArray[np.floating]
) -> dict[str, NDArray[np.float64]]:
    """``l2``: distance (lower is better); ``pearson_delta``: correlation over genes (higher), (q,).

    As Ahlmann-Eltze et al. 2025: the distance between predicted and observed expression is that
    between their shifts from the same controls. A correlation with a shift that is the same for
    every gene (no change) is not defined, NaN.

    Raises
    ------
    DataError
        If shapes differ or a number is missing.
    """
    predicted = np.asarray(predicted_qg, dtype=np.float64)
    observed = np.asarray(observed_qg, dtype=np.float64)
    if predicted.shape != observed.shape:
        raise DataError(
            f"predicted shifts have the shape {predicted.shape}, observed ones {observed.shape}"
        )
    if not (np.isfinite(predicted).all() and np.isfinite(observed).all()):
        raise DataError("a predicted or observed shift holds a value that is no number")
    a = predicted - predicted.mean(axis=1, keepdims=True)
    b = observed - observed.mean(axis=1, keepdims=True)
    length = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    # A constant less its own mean leaves rounding behind.
    flat = (np.ptp(predicted, axis=1) < 1e-12) | (np.ptp(observed, axis=1) < 1e-12)
    pearson = np.divide((a * b).sum(axis=1), length, out=np.full(len(a), np.nan), where=~flat)
    return {"l2": np.linalg.norm(predicted - observed, axis=1), "pearson_delta": pearson}


def noise_floor(
    variance_qg: NDArray[np.floating], cells_q: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The distance that a perfect prediction would have, root mean square, (q,).

    Observed shifts are means over few cells: sqrt(sum over genes of variance / cells).

    Parameters
    ----------
    variance_qg
        Variance of each gene over the cells of a perturbation.
    """
    return np.sqrt(np.asarray(variance_qg, dtype=np.float64).sum(axis=1) / cells_q)


def mean_over_perturbations(
    value_u: NDArray[np.float64], *, draws: int = 2000, seed: int = 0
) -> tuple[float, Interval | None]:
    """Mean over perturbations with a 95 % interval, None for a single one.

    Bootstrap from 20 perturbations on. Below that a bootstrap of so few cannot leave the range of
    what was seen, and Student's t is taken (``t``). Differences of two methods are paired by
    giving the differences of each perturbation.
    """
    value, u = float(value_u.mean()), len(value_u)
    if u < 2:
        return value, None
    if u < FEW_UNITS:
        half = float(stats.t.ppf(0.5 + LEVEL / 2, u - 1) * value_u.std(ddof=1) / np.sqrt(u))
        return value, Interval(value - half, value + half, "t")
    weights = np.concatenate(list(by_row(u, draws=draws, seed=seed).weights()))
    draws_b = weights @ value_u / weights.sum(axis=1)
    return value, Interval(*percentile(draws_b, float(u)), "bootstrap")
