"""Additive look-up: which one or two known effects add up to the shift that is asked about.

Sets of no, one and two genes are formed from known effects of genes and ranked by their distance
to the query; a gene's score is the distance of the best set that holds it. No effect is learned by
a network: single shifts are averages, and the linear model is a ridge regression in closed form.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from cellwright.perturbation.queries import Queries
from cellwright.perturbation.reverse import Screen

STRONGEST = 1.5
RIDGE = 0.1
# Numbers of (query, set) held in memory at once.
_CHUNK = 4_000_000
_TIE = 1e-6


@dataclass(frozen=True)
class GeneEffects:
    """Known effects of genes.

    effect_mg: shift of each of m known genes; known_m: their places among c candidates; mean_g:
    the shift that is taken off a query; offset_g: what is taken off a sum of effects.
    """

    effect_mg: NDArray[np.float64]
    known_m: NDArray[np.int64]
    mean_g: NDArray[np.float64]
    offset_g: NDArray[np.float64]
    candidates: int

    @property
    def sets_s2(self) -> NDArray[np.int64]:
        """Members of every set of 0, 1 and 2 known genes as places among the m; -1 for none."""
        m = len(self.known_m)
        singles = [(i, -1) for i in range(m)]
        return np.array([(-1, -1), *singles, *combinations(range(m), 2)], dtype=np.int64)


def single_effects(whole: Queries, screen: Screen) -> GeneEffects:
    """Shifts of genes that are perturbed alone; their mean is taken off queries and sums alike.

    Parameters
    ----------
    whole
        One query for each training condition.
    """
    targets = screen.targets_pc[whole.condition_q]
    alone = np.flatnonzero(targets.sum(axis=1) == 1)
    known = targets[alone].argmax(axis=1).astype(np.int64)
    effect = whole.shift_qg[alone].astype(np.float64)
    mean = effect.mean(axis=0) if len(effect) else np.zeros(effect.shape[1])
    return GeneEffects(effect, known, mean, mean, targets.shape[1])


def linear_effects(whole: Queries, screen: Screen, ridge: float = RIDGE) -> GeneEffects:
    """Effects of genes in a linear forward model of all training conditions, doubles too.

    shift = common shift + sum of the effects of the perturbed genes, by ridge regression with the
    common shift left free; only a gene that is perturbed in no training condition is unknown.
    """
    targets = screen.targets_pc[whole.condition_q]
    known = np.flatnonzero(targets.any(axis=0)).astype(np.int64)
    x = targets[:, known].astype(np.float64)
    y = whole.shift_qg.astype(np.float64)
    x_mean, mean = x.mean(axis=0), y.mean(axis=0)
    centred = x - x_mean
    effect = np.linalg.solve(
        centred.T @ centred + ridge * np.eye(len(known)), centred.T @ (y - mean)
    )
    return GeneEffects(effect, known, mean - x_mean @ effect, np.zeros_like(mean), targets.shape[1])


def cosine_distances(shift_qg: NDArray[np.floating], effects: GeneEffects) -> NDArray[np.float64]:
    """1 - cosine of query and every set, both after removing the mean shift; (q, s), 0 to 2.

    A query or set of length zero has the distance 1 to all.
    """
    sets = effects.sets_s2
    query = np.asarray(shift_qg, dtype=np.float64) - effects.mean_g
    # The offset as one more effect, and an effect of zero for a member that is not there.
    parts = np.vstack([effects.effect_mg, np.zeros_like(effects.mean_g)])
    dots = query @ parts.T
    gram = parts @ parts.T
    a, b = sets.T
    cross = parts @ effects.offset_g
    square = gram[a, a] + gram[b, b] + 2 * gram[a, b] - 2 * (cross[a] + cross[b])
    length = np.sqrt(np.maximum(square + effects.offset_g @ effects.offset_g, 0))
    along = dots[:, a] + dots[:, b] - (query @ effects.offset_g)[:, None]
    norm = np.linalg.norm(query, axis=1)[:, None] * length
    scale = 1e-9 * max(float(norm.max(initial=0.0)), 1e-300)
    return np.asarray(1 - np.divide(along, norm, out=np.zeros_like(along), where=norm > scale))


def strength_distances(
    shift_qg: NDArray[np.floating], effects: GeneEffects, strongest: float = STRONGEST
) -> NDArray[np.float64]:
    """What is left of a query by every set with a free strength of each gene; (q, s).

    Non-negative least squares with strengths in [0, ``strongest``], in closed form for two genes;
    the mean shift is projected out of query and effects, since its strength is free too. As a
    share of the query's length, 0 to 1.
    """
    direction = effects.mean_g / max(float(np.linalg.norm(effects.mean_g)), 1e-300)
    query = np.asarray(shift_qg, dtype=np.float64)
    query = query - np.outer(query @ direction, direction)
    effect = effects.effect_mg - np.outer(effects.effect_mg @ direction, direction)
    parts = np.vstack([effect, np.zeros_like(direction)])
    gram = parts @ parts.T
    dots = query @ parts.T
    a, b = effects.sets_s2.T
    aa, bb, ab = gram[a, a], gram[b, b], gram[a, b]
    da, db = dots[:, a], dots[:, b]

    def loss(wa: NDArray[np.float64], wb: NDArray[np.float64]) -> NDArray[np.float64]:
        return wa * wa * aa + wb * wb * bb + 2 * wa * wb * ab - 2 * (wa * da + wb * db)

    def best(d: NDArray[np.float64], square: NDArray[np.float64]) -> NDArray[np.float64]:
        free = np.divide(d, square, out=np.zeros_like(d), where=square > 1e-300)
        return np.clip(free, 0, strongest)

    least = np.zeros_like(da)
    for fixed in (0.0, strongest):
        still = np.full_like(da, fixed)
        least = np.minimum(least, loss(still, best(db - fixed * ab, bb)))
        least = np.minimum(least, loss(best(da - fixed * ab, aa), still))
    free = aa * bb - ab * ab
    inside = free > 1e-9 * aa * bb
    over = np.where(inside, free, 1.0)
    wa, wb = (da * bb - db * ab) / over, (db * aa - da * ab) / over
    inside = inside & (wa >= 0) & (wb >= 0) & (wa <= strongest) & (wb <= strongest)
    least = np.where(inside, np.minimum(least, loss(wa, wb)), least)
    whole = (query * query).sum(axis=1)[:, None]
    share = np.divide(whole + least, whole, out=np.ones_like(least), where=whole > 1e-300)
    return np.sqrt(np.maximum(share, 0))


def gene_scores(
    shift_qg: NDArray[np.floating], effects: GeneEffects, *, free_strength: bool = False
) -> NDArray[np.float64]:
    """Score of each candidate, (q, c): minus the distance of the best set that holds it.

    The two genes of the best set are told apart by their distances alone. -inf for candidates
    without a known effect: no set can be formed with them.
    """
    score = np.full((len(shift_qg), effects.candidates), -np.inf)
    m = len(effects.known_m)
    if not m:
        return score
    sets = effects.sets_s2
    holds = [np.flatnonzero((sets == i).any(axis=1)) for i in range(m)]
    step = max(1, _CHUNK // len(sets))
    measure = strength_distances if free_strength else cosine_distances
    for start in range(0, len(shift_qg), step):
        distance = measure(shift_qg[start : start + step], effects)
        for i, place in enumerate(effects.known_m.tolist()):
            best = distance[:, holds[i]].min(axis=1)
            score[start : start + step, place] = -best - _TIE * distance[:, 1 + i]
    return score
