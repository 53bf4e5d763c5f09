"""Every array that a reverse network is given, made again from other labels: nothing may change."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.interfaces import Check
from cellwright.perturbation.gene_knowledge import GeneKnowledge
from cellwright.perturbation.reverse import Screen
from cellwright.perturbation.reverse_dependence import check_dependence
from cellwright.training.reverse_groups import ReverseCells
from cellwright.workflows.reverse_networks import network_cells

KnowledgeOf = Callable[[Screen], GeneKnowledge | None]


def inputs_of(cells: ReverseCells, knowledge: GeneKnowledge | None) -> dict[str, Any]:
    """The arrays that groups are made from, and what is known of genes; no label among them."""
    found: dict[str, Any] = {
        "expression": cells.expression_ng,
        "controls": cells.control_bg,
        "spread of controls": cells.sd_g,
        "batches": cells.batch_n,
    }
    if knowledge is not None:
        found |= {
            "knowledge of measured genes": knowledge.measured_gd,
            "knowledge of candidates": knowledge.candidate_cd,
            "knowledge of pairs": knowledge.pair_ccp,
        }
    return found


def check_inputs(
    expression_ng: Any,
    screen: Screen,
    conditions: Sequence[str],
    cells: ReverseCells,
    knowledge: GeneKnowledge | None,
    *,
    kept_of: Callable[[Screen], NDArray[np.bool_]],
    knowledge_of: KnowledgeOf,
    seed: int = 0,
) -> Check:
    """Refuse a network that is given an array which changes when labels are permuted.

    Parameters
    ----------
    screen, conditions
        What the network is trained and stopped on.
    cells, knowledge
        What it is given.
    kept_of, knowledge_of
        Genes that may be looked at, and what is known of them, made again from a screen.

    Raises
    ------
    DataError
        If an input changes, or cannot be made again.
    """
    seen = only_conditions(screen, conditions)

    def build(other: Screen) -> Mapping[str, Any]:
        again = network_cells(expression_ng, other, other.conditions, kept_g=kept_of(other))
        return inputs_of(again, knowledge_of(other))

    return check_dependence(inputs_of(cells, knowledge), build, seen, seed=seed)


def only_conditions(screen: Screen, names: Sequence[str]) -> Screen:
    """The screen of some conditions; cells of the others take no part."""
    codes = [screen.index(name) for name in names]
    place = np.full(len(screen.conditions), -2, dtype=np.int64)
    place[codes] = np.arange(len(codes))
    of_n = screen.condition_n
    return replace(
        screen,
        conditions=tuple(screen.conditions[c] for c in codes),
        genes_p=tuple(screen.genes_p[c] for c in codes),
        condition_n=np.where(of_n >= 0, place[of_n], of_n),
        targets_pc=screen.targets_pc[codes],
    )
