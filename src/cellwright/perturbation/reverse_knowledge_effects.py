"""Effects of genes by a linear model that may lend effects between genes that are alike.

Ridge regression of shifts on perturbed genes takes the effects of two genes for unrelated. Here
they are correlated as much as what is known of the genes is alike, by a weight that training
conditions choose: a gene that was never perturbed gets the effect of those it resembles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellwright.perturbation.gene_knowledge import GeneKnowledge
from cellwright.perturbation.queries import Queries
from cellwright.perturbation.reverse import Screen
from cellwright.perturbation.reverse_additive import RIDGE, GeneEffects

WEIGHTS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class LentEffects:
    """Effects, and the weight of knowledge that was chosen (0: none was given)."""

    effects: GeneEffects
    weight: float


def likeness(knowledge: GeneKnowledge) -> NDArray[np.float64]:
    """How alike candidates are, (c, c): mean over sources of the cosine of what is known of them.

    Positive semidefinite; 1 on the diagonal of a gene that every source knows.
    """
    c = len(knowledge.candidate_cd)
    total = np.zeros((c, c))
    for source in knowledge.sources:
        columns = np.array([s == source for s in knowledge.source_d])
        x = knowledge.candidate_cd[:, columns].astype(np.float64)
        # What all genes share (a column that is 1 for nearly all) makes none of them alike.
        known = np.abs(x).sum(axis=1) > 0
        x = np.where(known[:, None], x - x[known].mean(axis=0) if known.any() else x, 0.0)
        length = np.linalg.norm(x, axis=1, keepdims=True)
        unit = np.divide(x, length, out=np.zeros_like(x), where=length > 1e-9)
        total += unit @ unit.T
    return total / max(len(knowledge.sources), 1)


def knowledge_effects(
    whole: Queries,
    screen: Screen,
    knowledge: GeneKnowledge | None,
    *,
    ridge: float = RIDGE,
    weights: tuple[float, ...] = WEIGHTS,
) -> LentEffects:
    """Effects of all genes of which training or knowledge tells something.

    shift = common shift + sum of the effects of the perturbed genes + noise, where the effects of
    two genes have the covariance (1 - w) 1[same gene] + w likeness and noise has ``ridge``: the
    posterior mean. w has the highest marginal likelihood on training conditions. Without knowledge
    this is :func:`~cellwright.perturbation.reverse_additive.linear_effects`. The direction of the
    effect of a gene never perturbed is lent, its strength is taken as the median of the others.

    Parameters
    ----------
    whole
        One query for each training condition.
    """
    x_pc = screen.targets_pc[whole.condition_q].astype(np.float64)
    y_pg = whole.shift_qg.astype(np.float64)
    x_mean, mean = x_pc.mean(axis=0), y_pg.mean(axis=0)
    x, y = x_pc - x_mean, y_pg - mean
    c = x.shape[1]
    like = np.zeros((c, c)) if knowledge is None else likeness(knowledge)
    chosen = 0.0
    if like.any():
        chosen = max(weights, key=lambda w: _evidence(x, y, _covariance(like, w), ridge))
    prior = _covariance(like, chosen)
    noise = x @ prior @ x.T + ridge * np.eye(len(x))
    effect_cg = prior @ x.T @ np.linalg.solve(noise, y)
    seen = x_pc.any(axis=0)
    lent = ~seen & (np.abs(prior[:, seen]).max(axis=1, initial=0.0) > 1e-9)
    norm_c = np.linalg.norm(effect_cg, axis=1)
    lent &= norm_c > 1e-12
    typical = float(np.median(norm_c[seen])) if seen.any() else 1.0
    effect_cg[lent] *= (typical / norm_c[lent])[:, None]
    known = np.flatnonzero(seen | lent).astype(np.int64)
    offset = mean - x_mean[seen] @ effect_cg[seen]
    effects = GeneEffects(effect_cg[known], known, offset, np.zeros_like(mean), c)
    return LentEffects(effects, chosen)


def _covariance(like_cc: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """What a gene has of its own fills its variance up to 1, also where nothing is known of it."""
    lent = weight * like_cc
    return lent + np.diag(1 - np.diag(lent))


def _evidence(
    x_pc: NDArray[np.float64],
    y_pg: NDArray[np.float64],
    prior_cc: NDArray[np.float64],
    ridge: float,
) -> float:
    """Log marginal likelihood of the shifts with the scale of each gene's own fitted."""
    p, g = y_pg.shape
    noise = x_pc @ prior_cc @ x_pc.T + ridge * np.eye(p)
    square = float((y_pg * np.linalg.solve(noise, y_pg)).sum())
    _, logdet = np.linalg.slogdet(noise)
    return -0.5 * g * (float(logdet) + p * float(np.log(max(square, 1e-300) / (p * g))))
