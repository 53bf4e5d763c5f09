"""The dependence check of a network: all that it is given, made again from other labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.interfaces import Check
from cellwright.perturbation.gene_knowledge import GeneKnowledge, pair_features
from cellwright.perturbation.reverse import Screen
from cellwright.perturbation.reverse_dependence import check_dependence
from cellwright.training.reverse_encoder import EncoderStart
from cellwright.training.reverse_groups import ReverseCells, draw_groups, real_examples
from cellwright.training.reverse_settings import NetworkSettings
from cellwright.workflows.reverse_networks import network_cells, network_of

# Groups that are drawn and compared; all of them are made by the same lines.
GROUPS = 256
# Which genes may be named, from training labels: a mask of answers, no input.
_ANSWERS = ("seen_c", "scored_c")


def network_inputs(
    cells: ReverseCells,
    settings: NetworkSettings,
    knowledge: GeneKnowledge | None,
    encoder: EncoderStart | None = None,
) -> dict[str, Any]:
    """Every array that a network is given: cells, groups as they are drawn, knowledge, start.

    The start is the whole state of the untrained network, in which scales, knowledge and anything
    else that it was told stand beside its random weights.
    """
    examples = np.arange(min(real_examples(cells, settings.groups), GROUPS), dtype=np.int64)
    drawn = draw_groups(
        cells, examples, k=settings.k, groups=settings.groups, epoch=0, seed=settings.seed
    )
    found: dict[str, Any] = {
        "expression": cells.expression_ng,
        "means of controls": cells.control_bg,
        "spread of controls": cells.sd_g,
        "batches": cells.batch_n,
        "shifts of groups": drawn.shift_qg,
        "expression of groups": drawn.mean_qg,
    }
    if knowledge is not None:
        found |= {
            "knowledge of measured genes": knowledge.measured_gd,
            "knowledge of candidates": knowledge.candidate_cd,
            "knowledge of pairs": pair_features(knowledge)[1],
        }
    for name, tensor in network_of(cells, settings, knowledge, encoder).state_dict().items():
        if name.rsplit(".", 1)[-1] not in _ANSWERS:
            found[f"network {name}"] = tensor.detach().cpu().numpy()
    return found


def check_network(
    expression_ng: Any,
    screen: Screen,
    train: Sequence[str],
    val: Sequence[str],
    cells: ReverseCells,
    settings: NetworkSettings,
    knowledge: GeneKnowledge | None,
    *,
    kept_of: Callable[[Screen], NDArray[np.bool_] | None],
    knowledge_of: Callable[[Screen], GeneKnowledge | None],
    encoder: EncoderStart | None = None,
) -> Check:
    """Refuse a network that is given an array which changes when labels are permuted.

    Parameters
    ----------
    screen, train, val
        What the network is trained and stopped on.
    cells, settings, knowledge
        What it is given.
    kept_of, knowledge_of
        Genes that may be looked at (None for all), and what is known of them, made again from a
        screen with other labels.
    encoder
        A pretrained encoder with all measured genes, not only those that may be looked at.

    Raises
    ------
    DataError
        If an input changes, or cannot be made again.
    """
    # A cell of each condition stands for the condition, whatever its label is.
    first = {name: screen.rows_of(screen.index(name))[0] for name in (*train, *val)}

    def build(other: Screen) -> Mapping[str, Any]:
        called = {name: other.conditions[other.condition_n[row]] for name, row in first.items()}
        again = network_cells(
            expression_ng,
            other,
            tuple(called[name] for name in train),
            tuple(called[name] for name in val),
            kept_g=kept_of(other),
        )
        start = None if encoder is None else encoder.only(kept_of(other))
        return network_inputs(again, settings, knowledge_of(other), start)

    start = None if encoder is None else encoder.only(kept_of(screen))
    given = network_inputs(cells, settings, knowledge, start)
    return check_dependence(given, build, screen, seed=settings.seed)
