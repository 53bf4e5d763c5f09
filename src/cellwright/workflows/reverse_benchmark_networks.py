"""Networks as methods of the reverse benchmark: fitted on a partition, watched on its test doubles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.config import nearest, resolve
from cellwright.data.genes import GeneNames
from cellwright.errors import SettingsError
from cellwright.interfaces import Check
from cellwright.perturbation.gene_knowledge import GeneKnowledge
from cellwright.perturbation.queries import Queries
from cellwright.perturbation.reverse import Screen
from cellwright.perturbation.reverse_audit import Visibility
from cellwright.perturbation.reverse_methods import METHODS, FittedMethod
from cellwright.training.reverse_encoder import EncoderStart
from cellwright.training.reverse_groups import Groups, held_out_groups
from cellwright.training.reverse_settings import ENCODERS, NETWORKS, UNTRAINED, NetworkSettings
from cellwright.workflows.reverse_benchmark_parts import Part
from cellwright.workflows.reverse_dependence_check import check_network
from cellwright.workflows.reverse_knowledge import read_knowledge
from cellwright.workflows.reverse_networks import fit_network, network_cells

# Groups of a condition that curves are measured on.
_WATCHED = 4

ALL_METHODS = (*METHODS, *NETWORKS, *ENCODERS)
CELL_GRAPH = "cell-graph"


@dataclass(frozen=True)
class NetworkPlan:
    """How networks are fitted in a benchmark.

    settings: of all of them, but for kind and k; knowledge: of all measured genes and the
    candidates; knowledge_of, kept_of: knowledge, and the kept genes of a view, made again from a
    screen with other labels. encoder: pretrained, with all measured genes.
    """

    settings: NetworkSettings
    knowledge: GeneKnowledge | None
    knowledge_of: Callable[[Screen], GeneKnowledge | None]
    kept_of: Callable[[Screen, str], NDArray[np.bool_] | None]
    encoder: EncoderStart | None = None


@dataclass
class Answers:
    """What fits leave beside their answers: curves over epochs, and checks of what they were given."""

    curves: list[dict[str, Any]] = field(default_factory=list)
    checks: dict[str, Check] = field(default_factory=dict)


def check_names(names: Sequence[str] | None) -> tuple[str, ...]:
    """Methods by name, each once; by default all but the networks, which take longer.

    Behind a pretrained encoder stands the same network from random weights.

    Raises
    ------
    SettingsError
        For an unknown method (the nearest is named), or a graph over cells.
    """
    for name in names or ():
        if name == CELL_GRAPH:
            raise SettingsError(
                f"{name} is refused: a graph over cells joins cells of the test to cells of "
                "training, so that an answer rests on which other cells are asked about; use "
                "graph, which joins genes"
            )
        if name not in ALL_METHODS:
            close = nearest(name, ALL_METHODS)
            raise SettingsError(
                f"no method {name!r}: "
                + (f"did you mean {close!r}?" if close else f"known: {', '.join(ALL_METHODS)}")
            )
    asked = list(dict.fromkeys(names or METHODS))
    if "encoder" in asked and UNTRAINED not in asked:
        asked.insert(asked.index("encoder") + 1, UNTRAINED)
    return tuple(asked)


def network_settings(given: Mapping[str, Any] | None, seed: int) -> NetworkSettings:
    """Settings of networks over the defaults; kind and k are the benchmark's.

    Raises
    ------
    SettingsError
        For an unknown setting, or one that the benchmark decides.
    """
    for name in ("kind", "k", "seed"):
        if name in (given or {}):
            raise SettingsError(
                f"{name} is no setting of the networks of a benchmark, which sets it itself "
                f"(--{'method' if name == 'kind' else name})"
            )
    return resolve(NetworkSettings, {"seed": seed}, given)


def plan_networks(
    settings: NetworkSettings,
    specs: Sequence[str],
    screen: Screen,
    genes: GeneNames,
    var: pd.DataFrame,
    *,
    kept_of: Callable[[Screen, str], NDArray[np.bool_] | None],
    gene_table: Path | str | None = None,
    build: str = "GRCh38",
) -> tuple[NetworkPlan, tuple[str, ...]]:
    """The plan with knowledge of genes read from its sources, and what each of them knows.

    Raises
    ------
    SettingsError, DataError
        As :func:`~cellwright.workflows.reverse_knowledge.read_knowledge`.
    """
    if not specs:
        return NetworkPlan(settings, None, lambda _: None, kept_of), ()

    def read(other: Screen) -> tuple[GeneKnowledge, tuple[str, ...]]:
        return read_knowledge(
            specs, genes, other.candidates, var, gene_table=gene_table, build=build
        )

    found, notes = read(screen)
    return NetworkPlan(settings, found, lambda other: read(other)[0], kept_of), notes


def fit_network_method(
    name: str,
    expression_ng: Any,
    part: Part,
    view: Visibility,
    size: int,
    unseen: Queries,
    plan: NetworkPlan,
    answers: Answers,
) -> FittedMethod:
    """A network fitted on the training conditions of a partition, with the genes of a view.

    What it is given is checked against permuted labels before the first fit. ``unseen`` (with the
    genes of the view) is for the curves; nothing is chosen by it.
    """
    settings = replace(plan.settings, kind=name, k=size)  # type: ignore[arg-type]
    cells = network_cells(expression_ng, part.screen, part.train, part.val, kept_g=view.kept_g)
    knowledge = None if plan.knowledge is None else plan.knowledge.only(view.kept_g)
    encoder = plan.encoder if name in ENCODERS else None
    if name not in answers.checks:

        def known_again(other: Screen) -> GeneKnowledge | None:
            found = plan.knowledge_of(other)
            return None if found is None else found.only(view.kept_g)

        answers.checks[name] = check_network(
            expression_ng,
            part.screen,
            part.train,
            part.val,
            cells,
            settings,
            knowledge,
            kept_of=lambda other: plan.kept_of(other, view.name),
            knowledge_of=known_again,
            encoder=encoder,
        )
    sizes_p = cells.targets_pc[cells.train_p].sum(axis=1)
    doubles_p = cells.train_p[sizes_p == 2]
    watched = {
        "training": held_out_groups(
            cells,
            doubles_p if len(doubles_p) else cells.train_p,
            k=size,
            most=_WATCHED,
            seed=settings.seed,
        ),
        "unseen": _some(unseen, part.screen.targets_pc),
    }
    start = None if encoder is None else encoder.only(view.kept_g)
    fitted = fit_network(cells, settings, knowledge, watched=watched, encoder=start)
    answers.curves += [
        {"method": name, "genes": view.name, "k": size, "part": part.name, **row}
        for row in fitted.history
    ]
    return FittedMethod(name, lambda queries: fitted.logits(queries.shift_qg, queries.mean_qg))


def _some(queries: Queries, targets_pc: NDArray[np.bool_]) -> Groups:
    """The first groups of each condition."""
    kept: list[int] = []
    for code in np.unique(queries.condition_q):
        kept += np.flatnonzero(queries.condition_q == code)[:_WATCHED].tolist()
    return Groups(
        queries.shift_qg[kept], queries.mean_qg[kept], targets_pc[queries.condition_q[kept]]
    )
