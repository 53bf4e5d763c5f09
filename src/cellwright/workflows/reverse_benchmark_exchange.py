"""What a method scores with the truths of test perturbations exchanged: its own chance, and p."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellwright.workflows.reverse_benchmark_runs import Asked, Exam

FEWEST = 5


@dataclass(frozen=True)
class Exchanged:
    """Mean reciprocal rank with truths exchanged among test perturbations.

    chance: its mean over all permutations; p: share of drawn permutations that score as much as the
    true one, (b + 1) / (m + 1), None where none is drawn.
    """

    chance: float
    p: float | None


def exchanged(answer: Asked, exam: Exam, permutations: int) -> Exchanged | None:
    """Chance of a method that keeps its liking for genes, and p against it.

    Whole perturbations exchange their truths, so that a method which ranks the same genes first
    whatever it is asked gains nothing, and one that likes genes which are rare among the test
    perturbations has a chance below that of a random order. None below five perturbations.
    """
    names_u, code_q = np.unique(answer.unit_q, return_inverse=True)
    u = len(names_u)
    if u < FEWEST:
        return None
    targets_uc = exam.screen.targets_pc[[exam.screen.index(str(name)) for name in names_u]]
    rng = np.random.default_rng(exam.seed)
    order_qc = np.lexsort((rng.random(answer.score_qc.shape), -answer.score_qc), axis=1)
    place_qc = np.argsort(order_qc, axis=1)
    value_uu = _if_truth_were(place_qc, targets_uc, code_q)
    # Every perturbation gets every truth equally often over all permutations.
    chance = float(value_uu.mean())
    if not permutations:
        return Exchanged(chance, None)
    found = float(np.trace(value_uu))
    drawn = np.argsort(rng.random((permutations, u)), axis=1)
    permuted = value_uu[np.arange(u), drawn].sum(axis=1)
    p = float(((permuted >= found - 1e-12).sum() + 1) / (permutations + 1))
    return Exchanged(chance, p)


def _if_truth_were(
    place_qc: NDArray[np.int64], targets_uc: NDArray[np.bool_], code_q: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean over the queries of perturbation i of what they score if j were the truth, (i, j)."""
    u = len(targets_uc)
    value_uu = np.empty((u, u))
    for j in range(u):
        reciprocal_q = 1 / (1 + place_qc[:, targets_uc[j]].min(axis=1))
        value_uu[:, j] = np.bincount(code_q, reciprocal_q, u) / np.bincount(code_q, minlength=u)
    return value_uu
