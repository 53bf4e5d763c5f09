"""Wrong genes of the right kind: true and named genes counted by pathway, with its chance level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.evaluation.intervals import Interval, percentile
from cellwright.evaluation.resampling import by_unit

MOST = 12
LEAST = 2
OTHER = "in none of these"


@dataclass(frozen=True)
class PathwayConfusion:
    """Perturbed genes by pathway of theirs (rows) and of the genes named in their place (columns).

    weight_kk: perturbations' genes, a gene of several pathways spread evenly over them; rows sum
    to the genes asked about. wrong: genes that were missed, over all; alike: share of them whose
    stand-in shares a pathway, with the 95 % interval over perturbations and what a stand-in drawn
    from the other candidates at random would give; None where nothing was missed.
    """

    pathways: tuple[str, ...]
    weight_kk: NDArray[np.float64]
    wrong: float
    alike: float | None
    interval: Interval | None
    chance: float | None

    def to_dict(self) -> dict[str, Any]:
        span = self.interval
        return {
            "classes": list(self.pathways),
            "counts": self.weight_kk.tolist(),
            "missed": self.wrong,
            "alike": self.alike,
            "low": None if span is None else span.low,
            "high": None if span is None else span.high,
            "chance": self.chance,
        }


def pathway_confusion(
    score_qc: NDArray[np.floating],
    target_qc: NDArray[np.bool_],
    unit_q: NDArray[np.str_],
    candidates: Sequence[str],
    sets: Mapping[str, Sequence[str]],
    *,
    most: int = MOST,
    seed: int = 0,
) -> PathwayConfusion:
    """Name as many genes as are perturbed, the highest scores, and count where they belong.

    A gene that is named rightly stands for itself; a missed one is paired with the wrongly named
    genes of its query, evenly. Every perturbation counts once.

    Parameters
    ----------
    sets
        Pathway to genes; those with at least two candidates take part, the ``most`` largest.

    Raises
    ------
    DataError
        If no set holds two candidates.
    """
    place = {gene: i for i, gene in enumerate(candidates)}
    inside = {name: [place[g] for g in dict.fromkeys(genes) if g in place] for name, genes in sets.items()}  # fmt: skip
    # The same genes under two names are one pathway.
    distinct = {frozenset(found): name for name, found in reversed(inside.items())}
    large = [name for name in inside if len(inside[name]) >= LEAST and distinct[frozenset(inside[name])] == name]  # fmt: skip
    if not large:
        raise DataError(
            f"none of the {len(sets):,} gene sets holds {LEAST} of the {len(candidates)} candidates "
            f"({', '.join(list(candidates)[:3])} …): give sets with the same kind of gene names"
        )
    chosen = sorted(large, key=lambda name: (-len(inside[name]), name))[:most]
    member_ck = np.zeros((len(candidates), len(chosen) + 1))
    for k, name in enumerate(chosen):
        member_ck[inside[name], k] = 1
    member_ck[member_ck.sum(axis=1) == 0, -1] = 1
    share_ck = member_ck / member_ck.sum(axis=1, keepdims=True)
    # Genes of no pathway are alike in nothing.
    alike_cc = (member_ck[:, :-1] @ member_ck[:, :-1].T > 0).astype(np.float64)
    drawn, names_u = by_unit(unit_q, seed=seed)
    size_u = drawn.sizes_u
    rng = np.random.default_rng(seed)
    order_qc = np.lexsort((rng.random(np.shape(score_qc)), -np.asarray(score_qc)), axis=1)
    weight_cc = np.zeros((len(candidates), len(candidates)))
    missed_u, alike_u, chance_u = (np.zeros(len(names_u)) for _ in range(3))
    for q, unit in enumerate(drawn.unit_m.tolist()):
        true = np.flatnonzero(target_qc[q])
        named = order_qc[q, : len(true)]
        right = np.intersect1d(true, named)
        missed, wrong = np.setdiff1d(true, named), np.setdiff1d(named, true)
        one = 1.0 / size_u[unit]
        weight_cc[right, right] += one
        weight_cc[np.ix_(missed, wrong)] += one / max(len(wrong), 1)
        missed_u[unit] += one * len(missed)
        others = np.setdiff1d(np.arange(len(candidates)), true)
        for gene in missed:
            alike_u[unit] += one * float(alike_cc[gene, wrong].mean())
            chance_u[unit] += one * float(alike_cc[gene, others].mean())
    total = float(missed_u.sum())
    value = span = chance = None
    if total > 0:
        value, chance = float(alike_u.sum() / total), float(chance_u.sum() / total)
        draws = []
        for w in drawn.weights():
            below = w @ missed_u
            draws.append((w @ alike_u)[below > 0] / below[below > 0])
        low, high = percentile(np.concatenate(draws), float(len(names_u)))
        span = Interval(max(0.0, low), min(1.0, high), "bootstrap")
    return PathwayConfusion(
        (*chosen, OTHER), share_ck.T @ weight_cc @ share_ck, total, value, span, chance
    )
