"""Answers of a reverse benchmark: every method × visible or hidden genes × size of query."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.data.genes import GeneNames
from cellwright.errors import DataError
from cellwright.perturbation.queries import Queries, control_means, draw_queries, random_groups
from cellwright.perturbation.reverse import Screen
from cellwright.perturbation.reverse_audit import (
    ScreenKind,
    Visibility,
    control_spread,
    only_genes,
    own_columns,
    screen_kind,
)
from cellwright.perturbation.reverse_methods import METHODS, Training, fit_method, joined
from cellwright.workflows.reverse_benchmark_networks import (
    Answers,
    NetworkPlan,
    fit_network_method,
)
from cellwright.workflows.reverse_benchmark_parts import Part

# Cells of a training query where all cells of a condition are asked about: more than one query of
# a condition has to be learned from.
WHOLE = 20
# Training queries of a condition that are aimed at; groups are drawn anew until there are so many.
ENOUGH = 20
# Groups at random over all partitions.
RANDOM_GROUPS = 300


@dataclass(frozen=True)
class Exam:
    """What is asked of every partition; kind is ``auto`` or a kind of screen.

    drawn: groups of cells at random that each partition is asked about; networks: how they are
    fitted, None where none is asked for.
    """

    expression_ng: sp.csr_matrix
    screen: Screen
    genes: GeneNames
    methods: tuple[str, ...]
    sizes: tuple[int | None, ...]
    kind: str
    most: int
    seed: int
    drawn: int = 20
    networks: NetworkPlan | None = None


@dataclass(frozen=True)
class Asked:
    """What one method answered in one partition about queries of one size.

    score_qc: -inf where it cannot score; unit_q: the perturbation; stratum_q: its genes seen alone,
    -1 where that is not asked. drawn: groups at random instead of test conditions, whose unit is
    the test condition that they were given as a name. val_score_qc, val_unit_q: answers about
    groups of validation conditions, on which a threshold is chosen; None without such conditions.
    """

    method: str
    genes: str
    k: int | None
    score_qc: NDArray[np.float64]
    unit_q: NDArray[np.str_]
    stratum_q: NDArray[np.int64]
    drawn: bool = False
    val_score_qc: NDArray[np.float64] | None = None
    val_unit_q: NDArray[np.str_] | None = None


def answer_part(
    exam: Exam,
    part: Part,
    views: Sequence[Visibility],
    number: int,
    answers: Answers | None = None,
) -> list[Asked]:
    """Fit every method on the training conditions of a partition and ask about its test conditions.

    Every method is asked about validation conditions too, where there are some. ``answers`` takes
    what networks leave beside theirs.
    """
    answers = Answers() if answers is None else answers
    x, seed = exam.expression_ng, exam.seed
    controls = control_means(x, part.screen)
    sd_g = control_spread(x, part.screen)
    own_c = own_columns(exam.screen.candidates, exam.genes)
    whole = draw_queries(x, part.screen, part.train, k=None, controls=controls)
    kind: ScreenKind = "interference" if exam.kind == "interference" else "activation"
    if exam.kind == "auto":
        kind, _ = screen_kind(whole, part.screen, own_c, sd_g)
    out: list[Asked] = []
    by_size: dict[int, list[int | None]] = {}
    for k in exam.sizes:
        by_size.setdefault(k or WHOLE, []).append(k)
    for size, asked_sizes in by_size.items():
        learned = _training_queries(exam, part, size, controls)
        asked = {
            k: draw_queries(
                x, part.screen, part.test, k=k, most=exam.most, seed=seed + 1, controls=controls
            )
            for k in asked_sizes
        }
        held = {
            k: draw_queries(
                x, part.screen, part.val, k=k, most=exam.most, seed=seed + 1, controls=controls
            )
            for k in (asked_sizes if part.val else ())
        }
        drawn = _drawn(exam, part, size, number, controls)
        for view in views:
            training = Training(
                screen=part.screen,
                queries=only_genes(learned, view.kept_g),
                whole=only_genes(whole, view.kept_g),
                own_c=_kept_columns(own_c, view.kept_g),
                sd_g=sd_g[view.kept_g],
                kind=kind,
                seed=seed,
            )
            for name in exam.methods:
                if exam.networks is not None and name not in METHODS:
                    shown = only_genes(asked[asked_sizes[0]], view.kept_g)
                    method = fit_network_method(
                        name, x, part, view, size, shown, exam.networks, answers
                    )
                else:
                    method = fit_method(name, training)
                for k, queries in asked.items():
                    seen = only_genes(queries, view.kept_g)
                    found = _asked(name, view, k, method.score(seen), queries, part)
                    if k in held:
                        found = replace(
                            found,
                            val_score_qc=method.score(only_genes(held[k], view.kept_g)),
                            val_unit_q=_names(held[k], part.screen),
                        )
                    out.append(found)
                if drawn is not None:
                    score = method.score(only_genes(drawn, view.kept_g))
                    random = _asked(name, view, asked_sizes[0], score, drawn, part)
                    out.append(replace(random, drawn=True))
    return out


def _training_queries(
    exam: Exam, part: Part, size: int, controls: dict[str, NDArray[np.float64]]
) -> Queries:
    """Groups of the training conditions, drawn several times over where cells are few."""
    parts: list[Queries] = []
    while len(parts) < ENOUGH:
        found = draw_queries(
            exam.expression_ng,
            part.screen,
            part.train,
            k=size,
            most=exam.most,
            seed=exam.seed + 1000 * len(parts),
            controls=controls,
        )
        parts.append(found)
        each = float(np.median(np.unique(found.condition_q, return_counts=True)[1]))
        if each * len(parts) >= ENOUGH:
            break
    return joined(parts)


def _drawn(
    exam: Exam, part: Part, size: int, number: int, controls: dict[str, NDArray[np.float64]]
) -> Queries | None:
    """Cells mixed over all conditions and named after the test conditions in turn."""
    try:
        found = random_groups(
            exam.expression_ng,
            part.screen,
            part.screen.conditions,
            k=size,
            n=exam.drawn,
            seed=exam.seed + 7919 * (number + 1),
            controls=controls,
        )
    except DataError:  # a screen with fewer cells than one group
        return None
    codes = [part.screen.index(part.test[i % len(part.test)]) for i in range(len(found))]
    return replace(found, condition_q=np.array(codes, dtype=np.int64))


def _kept_columns(own_c: NDArray[np.int64], kept_g: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Own columns as places among the genes that are kept, -1 for those that are not."""
    place_g = np.where(kept_g, np.cumsum(kept_g) - 1, -1)
    return np.where(own_c >= 0, place_g[own_c], -1).astype(np.int64)


def _asked(
    method: str,
    view: Visibility,
    k: int | None,
    score_qc: NDArray[np.float64],
    queries: Queries,
    part: Part,
) -> Asked:
    names = _names(queries, part.screen)
    strata = np.array([part.strata.get(str(name), -1) for name in names], dtype=np.int64)
    return Asked(method, view.name, k, score_qc, names, strata)


def _names(queries: Queries, screen: Screen) -> NDArray[np.str_]:
    """The perturbation of each query by name, whatever side its cells are on."""
    return np.array([screen.genes_named(code) for code in queries.condition_q.tolist()], dtype=str)
