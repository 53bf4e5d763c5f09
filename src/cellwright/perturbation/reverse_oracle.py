"""The oracle of a simulated screen: it knows every true shift, and nothing else of a query.

It names the perturbed set whose true shift is the likeliest to have given the query, single or double
as the query is, with the noise of control cells. What it misses, cells do not tell; a method is to be
held against it and not against 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import logsumexp

from cellwright.data.screen_truth import ScreenTruth
from cellwright.errors import DataError
from cellwright.perturbation.expected_shift import (
    TARGET_SUM,
    ControlRates,
    control_rates,
    expected_means,
    expected_shifts,
)
from cellwright.perturbation.queries import Queries

_TIE = 1e-9
# Share of the variance of each gene that the noise keeps apart from that of other genes.
_SHRINKAGE = 0.05
_FLOOR = 0.1


@dataclass(frozen=True)
class Oracle:
    """True shifts of every set of one size, whitened by the noise of cells of one condition.

    sets_s: members of each set as places among the candidates; white_sg: their true shifts;
    lower_gg: Cholesky factor of the noise of a cell; candidates: how many.
    """

    sets_s: tuple[tuple[int, ...], ...]
    white_sg: NDArray[np.float64]
    lower_gg: NDArray[np.float64]
    candidates: int

    def distances(self, queries: Queries) -> NDArray[np.float64]:
        """Squared distance of each query to every set, in noise of one cell, (q, s)."""
        white_qg = solve_triangular(
            self.lower_gg, queries.shift_qg.astype(np.float64).T, lower=True
        ).T
        cross = white_qg @ self.white_sg.T
        own_q = (white_qg**2).sum(axis=1)[:, None]
        return np.asarray(own_q - 2 * cross + (self.white_sg**2).sum(axis=1))

    def score(self, queries: Queries) -> NDArray[np.float64]:
        """Score of each candidate, (q, c): minus the distance of the best set that holds it.

        Genes of the best set are told apart by how good the sets with the others are.
        """
        distance = self.distances(queries)
        score = np.empty((len(distance), self.candidates))
        for c in range(self.candidates):
            holds = [i for i, members in enumerate(self.sets_s) if c in members]
            score[:, c] = -distance[:, holds].min(axis=1) - _TIE * distance[:, holds].mean(axis=1)
        return score


def oracle(
    truth: ScreenTruth,
    candidates: tuple[str, ...],
    kept_g: NDArray[np.bool_],
    *,
    size: int,
    cells: int = 400,
    noise_cells: int = 4000,
    values: str = "log",
) -> Oracle:
    """The oracle for sets of ``size`` genes, one or two.

    Parameters
    ----------
    candidates
        Names of the targets that may be the answer.
    kept_g
        Genes that may be looked at.
    cells, noise_cells
        Simulated cells that shifts and noise are averaged over.
    values
        What queries are means of: the ``log`` of normalised counts, or the ``root`` of counts.

    Raises
    ------
    DataError
        If a candidate is no target of the screen, whose shift nobody knows.
    """
    strange = [name for name in candidates if name not in truth.names_t]
    if strange:
        raise DataError(f"the candidate {strange[0]!r} is no target of this simulated screen")
    place = [truth.names_t.index(name) for name in candidates]
    sets = tuple(combinations(range(len(candidates)), size))
    rates = control_rates(truth, cells=cells, values=values)
    places = [[place[i] for i in members] for members in sets]
    shift_sg = expected_shifts(rates, places, kept_g)
    others = control_rates(truth, cells=noise_cells, seed=1, values=values)
    base_g = expected_means(rates, kept_g)
    lower_gg = np.linalg.cholesky(_noise(others, base_g, places, shift_sg, kept_g))
    white_sg = solve_triangular(lower_gg, shift_sg.T, lower=True).T
    return Oracle(sets, np.asarray(white_sg), np.asarray(lower_gg), len(candidates))


def oracle_log_ratio(
    one: Oracle, two: Oracle, queries: Queries, cells_q: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Log of the mean likelihood of the sets of ``two`` over that of the sets of ``one``, (q,).

    Above 0 speaks for two genes, where both sizes are as likely and so are all sets of a size. Both
    are asked with the noise of the single genes.

    Parameters
    ----------
    one, two
        Oracles of the same screen for sets of one and of two genes.
    cells_q
        Cells of each query.
    """
    same_sg = solve_triangular(one.lower_gg, two.lower_gg @ two.white_sg.T, lower=True).T
    pairs = replace(two, white_sg=np.asarray(same_sg), lower_gg=one.lower_gg)
    found = [
        logsumexp(-0.5 * cells_q[:, None] * known.distances(queries), axis=1)
        - np.log(len(known.sets_s))
        for known in (one, pairs)
    ]
    return np.asarray(found[1] - found[0])


def _noise(
    rates: ControlRates,
    base_g: NDArray[np.float64],
    places: list[list[int]],
    shift_sg: NDArray[np.float64],
    kept_g: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Covariance of log-normalised expression over cells of the same condition, sets in turn."""
    truth, rng = rates.truth, np.random.default_rng(0)
    acts_t = truth.efficiency_tu.mean(axis=1)
    cells = len(rates.rate_mg)
    chosen = rng.permutation(np.arange(cells) % len(places))
    fold_mg = np.zeros_like(rates.rate_mg)
    for m, s in enumerate(chosen.tolist()):
        fold_mg[m] = truth.log_fold([t for t in places[s] if rng.random() < acts_t[t]])
    counts_mg = rng.poisson(rates.rate_mg * np.exp(fold_mg)).astype(np.float64)
    x = np.sqrt(counts_mg[:, kept_g])
    if rates.values == "log":
        total_m = np.maximum(counts_mg.sum(axis=1, keepdims=True), 1)
        x = np.log1p(counts_mg[:, kept_g] / total_m * TARGET_SUM)
    x = x - base_g - shift_sg[chosen]
    batch_m = np.arange(cells) % truth.settings.batches
    for batch in range(truth.settings.batches):
        x[batch_m == batch] -= x[batch_m == batch].mean(axis=0)
    noise = x.T @ x / cells
    own_g = np.diagonal(noise)
    # A count in a gene that is all but silent is no Gaussian surprise: it must not outvote the rest.
    floor = _FLOOR * float(own_g.mean())
    return np.asarray((1 - _SHRINKAGE) * noise + np.diag(_SHRINKAGE * own_g + floor))
