"""What a simulated screen does to the average expression of a cell, computed instead of drawn.

A count is a Poisson draw about a rate. Rates of a fixed sample of control cells are scaled by the fold
of whatever acts, and the mean of ``log1p`` of the normalised count, or of the square root of the
count, is looked up in a table of Poisson means, so that nothing but that sample of rates is random, and
it is the same for every perturbation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.special import gammaln

from cellwright.data.screen_truth import ScreenTruth, stream

TARGET_SUM = 1e4
_RATE_STREAM = 3
# Below this expected count a gene's contribution is linear in its rate to a percent.
_RARE = 0.01
_RATES = np.arange(-9.0, 9.01, 0.06)
_SCALES = np.arange(-5.0, 12.01, 0.1)


@dataclass(frozen=True)
class ControlRates:
    """Poisson rates of m control cells, (m, g), and what is averaged: ``log`` or ``root``."""

    truth: ScreenTruth
    rate_mg: NDArray[np.float64]
    values: str = "log"


def control_rates(
    truth: ScreenTruth, *, cells: int = 400, seed: int = 0, values: str = "log"
) -> ControlRates:
    """A sample of control cells of a simulated screen, batches in turn, without Poisson noise."""
    s, rng = truth.settings, stream(truth.settings.seed, _RATE_STREAM, seed)
    spread = s.depth_spread
    depth_m = truth.depth * np.exp(rng.normal(0, spread, cells) - spread**2 / 2)
    log_mg = np.log(truth.share_g) + truth.batch_bg[np.arange(cells) % s.batches]
    log_mg += rng.normal(0, 1, (cells, s.cell_programs)) @ truth.loadings_pg
    gamma_mg = rng.standard_gamma(np.broadcast_to(truth.theta_g, log_mg.shape)) / truth.theta_g
    return ControlRates(truth, depth_m[:, None] * np.exp(log_mg) * gamma_mg, values)


def expected_shifts(
    rates: ControlRates, conditions: Sequence[Sequence[int]], kept_g: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Expected shift of mean log-normalised expression from control cells, (conditions, kept genes).

    Parameters
    ----------
    conditions
        Targets of each, one or two; guides act with their efficiency, averaged over guides.
    kept_g
        Genes whose shift is wanted; all genes count towards a cell's total.
    """
    truth = rates.truth
    acts_t = truth.efficiency_tu.mean(axis=1)
    base = expected_means(rates, kept_g)
    alone: dict[int, NDArray[np.float64]] = {}
    out = np.zeros((len(conditions), int(kept_g.sum())))
    for row, targets in enumerate(conditions):
        for state in product((False, True), repeat=len(targets)):
            acting = [t for t, yes in zip(targets, state, strict=True) if yes]
            share = np.prod(
                [acts_t[t] if yes else 1 - acts_t[t] for t, yes in zip(targets, state, strict=True)]
            )
            if not acting or not share:
                continue
            if len(acting) == 1:
                if acting[0] not in alone:
                    fold = truth.log_fold(acting)
                    alone[acting[0]] = _expected(rates, fold, kept_g) - base
                shift = alone[acting[0]]
            else:
                shift = _expected(rates, truth.log_fold(acting), kept_g) - base
            out[row] += share * shift
    return out


def expected_means(rates: ControlRates, kept_g: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Expected log-normalised expression of control cells, (kept genes,)."""
    return _expected(rates, np.zeros(len(kept_g)), kept_g)


def _expected(
    rates: ControlRates, fold_g: NDArray[np.float64], kept_g: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Mean over cells of the expected log-normalised count, or of its root, (kept genes,)."""
    rate_mg = rates.rate_mg * np.exp(fold_g)
    if rates.values == "root":
        return _root_means(rate_mg[:, kept_g]).mean(axis=0)
    scale_m = TARGET_SUM / np.maximum(rate_mg.sum(axis=1), 1e-9)
    rate_mg = rate_mg[:, kept_g]
    out = np.log1p(scale_m) @ rate_mg / len(scale_m)
    often = rate_mg.mean(axis=0) > _RARE
    part = np.log(np.maximum(rate_mg[:, often], np.exp(_RATES[0])))
    at = np.stack(
        [
            (part - _RATES[0]) / (_RATES[1] - _RATES[0]),
            np.broadcast_to(
                (np.log(scale_m)[:, None] - _SCALES[0]) / (_SCALES[1] - _SCALES[0]), part.shape
            ),
        ]
    )
    out[often] = map_coordinates(_table(), at, order=1, mode="nearest").mean(axis=0)
    return np.asarray(out)


def _root_means(rate_mg: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean of the square root of Poisson counts."""
    if not _ROOTS:
        at = np.exp(_RATES)
        count = np.arange(600)
        pmf = np.exp(
            count * np.log(at[:, None]) - at[:, None] - gammaln(count + 1),
            where=at[:, None] < 300,
            out=np.zeros((len(at), len(count))),
        )
        # Of many counts, by the mean and variance of Poisson counts to second order.
        _ROOTS.append(np.where(at < 300, pmf @ np.sqrt(count), np.sqrt(at) * (1 - 1 / (8 * at))))
    found = np.interp(np.log(np.maximum(rate_mg, 1e-300)), _RATES, _ROOTS[0])
    found = np.where(rate_mg < np.exp(_RATES[0]), rate_mg, found)
    return np.where(rate_mg > np.exp(_RATES[-1]), np.sqrt(rate_mg), found)


def _table() -> NDArray[np.float64]:
    """Mean of log1p(scale × count) for Poisson counts, by log rate and log scale."""
    if not _TABLE:
        rate, scale = np.exp(_RATES)[:, None], np.exp(_SCALES)
        found = np.empty((len(_RATES), len(_SCALES)))
        many = rate[:, 0] > 200
        count = np.arange(400)
        pmf = np.exp(count * np.log(rate[~many]) - rate[~many] - gammaln(count + 1))
        found[~many] = pmf @ np.log1p(count[:, None] * scale)
        # Second order about the mean, where Poisson counts are near it.
        mean = 1 + rate[many] * scale
        found[many] = np.log(mean) - rate[many] * scale**2 / (2 * mean**2)
        _TABLE.append(found)
    return _TABLE[0]


_TABLE: list[NDArray[np.float64]] = []
_ROOTS: list[NDArray[np.float64]] = []
