"""What a trained network is worth on test perturbations, beside methods that need no training loop."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.evaluation.target_calibration import Reliability, reliability
from cellwright.evaluation.target_confusion import PathwayConfusion, pathway_confusion
from cellwright.perturbation.queries import Queries, draw_queries, random_groups
from cellwright.perturbation.reverse_audit import only_genes, own_columns, screen_kind
from cellwright.perturbation.reverse_calibration import Calibration, fit_calibration
from cellwright.perturbation.reverse_methods import Training, fit_method
from cellwright.perturbation.reverse_reference import ScreenReference, screen_reference
from cellwright.perturbation.reverse_sizes import SizeEstimate, learn_sizes
from cellwright.workflows.reverse_benchmark_runs import RANDOM_GROUPS, Asked, Exam
from cellwright.workflows.reverse_benchmark_scores import Judged, judge_all
from cellwright.workflows.reverse_networks import FittedNetwork
from cellwright.workflows.reverse_train_cells import TrainTask
from cellwright.workflows.reverse_train_settings import ReverseTrainSettings

ASKED = (1, 5)
"""Cells of queries that are asked about beside those of the training's size and all."""
RIVALS = ("frequency", "nearest-centroid", "additive", "linear-inverted")


@dataclass(frozen=True)
class Told:
    """What predictions rest on beside the weights."""

    calibration: Calibration
    sizes: SizeEstimate
    reference: ScreenReference


@dataclass(frozen=True)
class TestFindings:
    """What came out on test perturbations.

    number: share of queries whose number of genes is right, each perturbation counting once;
    number_always: of the better of always one and always two.
    """

    judged: Judged
    reliability: Reliability
    number: float
    number_always: float
    pathways: PathwayConfusion | None


def tell(task: TrainTask, network: FittedNetwork, settings: ReverseTrainSettings) -> Told:
    """Calibrate on validation conditions; the number of genes from conditions left out in turn."""
    val = _queries(task, task.screen, task.sides.val, settings.k, settings)
    target_qc = task.screen.targets_pc[val.condition_q]
    calibration = fit_calibration(_logits(network, task, val), target_qc, _names(task, val))
    kept = task.view.kept_g
    controls = {name: mean[kept] for name, mean in task.controls.items()}
    # A condition is judged by effects without it, so that the cells kept back may take part too.
    sizes = learn_sizes(
        task.expression_ng[:, kept],
        task.screen,
        task.sides.train,
        task.sides.val,
        k=settings.k,
        controls=controls,
        seed=settings.seed,
    )
    whole = draw_queries(
        task.expression_ng, task.trained, task.sides.train, k=None, controls=task.controls
    )
    reference = screen_reference(
        task.expression_ng[:, kept],
        task.trained,
        only_genes(whole, kept),
        task.sd_g[kept],
        [(task.held, _with_cells(task)), (task.screen, task.sides.val)],
        controls=controls,
        seed=settings.seed,
    )
    return Told(calibration, sizes, reference)


def judge_test(
    task: TrainTask,
    network: FittedNetwork,
    told: Told,
    settings: ReverseTrainSettings,
    sets: dict[str, tuple[str, ...]] | None,
) -> TestFindings | None:
    """Ask about test conditions, groups of k cells and all cells; None without test conditions."""
    if not task.sides.test:
        return None
    val = _queries(task, task.screen, task.sides.val, settings.k, settings)
    learned = _queries(task, task.trained, task.sides.train, settings.k, settings)
    whole = draw_queries(
        task.expression_ng, task.trained, task.sides.train, k=None, controls=task.controls
    )
    kept = task.view.kept_g
    own_c = own_columns(task.screen.candidates, task.genes)
    kind, _ = screen_kind(whole, task.trained, own_c, task.sd_g)
    # Where own transcripts may be looked at, they alone are the method to beat.
    rivals = (*RIVALS, "own-z") if settings.own_genes == "visible" else RIVALS
    training = Training(
        screen=task.trained,
        queries=only_genes(learned, kept),
        whole=only_genes(whole, kept),
        own_c=own_c if kept.all() else np.full_like(own_c, -1),
        sd_g=task.sd_g[kept],
        kind=kind,
        seed=settings.seed,
    )
    answers: dict[str, Any] = {network.settings.kind: lambda q: _logits(network, task, q)}
    for name in rivals:
        method = fit_method(name, training)
        answers[name] = lambda q, method=method: method.score(only_genes(q, kept))
    asked: list[Asked] = []
    sizes = (*sorted({*ASKED, settings.k}), None)
    for k in sizes:
        queries = _queries(task, task.screen, task.sides.test, k, settings)
        drawn = _drawn(task, settings) if k == settings.k else None
        for name, score in answers.items():
            found = Asked(name, settings.own_genes, k, score(queries), *_labels(task, queries))
            if len(val):
                found = replace(found, val_score_qc=score(val), val_unit_q=_names(task, val))
            asked.append(found)
            if drawn is not None:
                asked.append(
                    Asked(
                        name, settings.own_genes, k, score(drawn), *_labels(task, drawn), drawn=True
                    )
                )
    exam = Exam(
        task.expression_ng,
        task.screen,
        task.genes,
        tuple(answers),
        sizes,
        kind,
        settings.most,
        settings.seed,
    )
    judged = judge_all(asked, exam, task.sides.name, permutations=2000)
    own = next(a for a in asked if a.method == network.settings.kind and a.k == settings.k)
    target = np.array([task.screen.targets_pc[task.screen.index(n)] for n in own.unit_q.tolist()])
    same = only_genes(_queries(task, task.screen, task.sides.test, settings.k, settings), kept)
    cells_q = np.array([len(rows) for rows in same.rows_q])
    number = told.sizes.number(same.shift_qg, cells_q) == target.sum(axis=1)
    two = _per_unit(target.sum(axis=1) == 2, own.unit_q)
    return TestFindings(
        judged,
        reliability(told.calibration.probability(own.score_qc), target, own.unit_q),
        _per_unit(number, own.unit_q),
        max(two, 1 - two),
        None
        if sets is None
        else pathway_confusion(
            own.score_qc, target, own.unit_q, task.screen.candidates, sets, seed=settings.seed
        ),
    )


def _logits(network: FittedNetwork, task: TrainTask, queries: Queries) -> NDArray[np.float64]:
    seen = only_genes(queries, task.view.kept_g)
    return network.logits(seen.shift_qg, seen.mean_qg)


def _queries(
    task: TrainTask, screen: Any, names: Any, k: int | None, settings: ReverseTrainSettings
) -> Queries:
    return draw_queries(
        task.expression_ng,
        screen,
        names,
        k=k,
        most=settings.most,
        seed=settings.seed + 1,
        controls=task.controls,
    )


def _drawn(task: TrainTask, settings: ReverseTrainSettings) -> Queries | None:
    """Cells mixed over all conditions and named after the test conditions in turn."""
    try:
        found = random_groups(
            task.expression_ng,
            task.screen,
            task.screen.conditions,
            k=settings.k,
            n=RANDOM_GROUPS,
            seed=settings.seed + 7919,
            controls=task.controls,
        )
    except DataError:  # fewer cells than one group
        return None
    codes = [task.screen.index(task.sides.test[i % len(task.sides.test)]) for i in range(len(found))]  # fmt: skip
    return replace(found, condition_q=np.array(codes, dtype=np.int64))


def _with_cells(task: TrainTask) -> tuple[str, ...]:
    """Training conditions of which cells were kept back."""
    return tuple(
        n for n in task.sides.train if (task.held.condition_n == task.screen.index(n)).any()
    )


def _names(task: TrainTask, queries: Queries) -> NDArray[np.str_]:
    """The perturbation of each query, whatever side its cells are on."""
    return np.array([task.screen.genes_named(c) for c in queries.condition_q.tolist()], dtype=str)


def _labels(task: TrainTask, queries: Queries) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    names = _names(task, queries)
    strata = [task.sides.strata.get(name, -1) for name in names.tolist()]
    return names, np.array(strata, dtype=np.int64)


def _per_unit(right_q: NDArray[np.bool_], unit_q: NDArray[np.str_]) -> float:
    _, code_q, count_u = np.unique(unit_q, return_inverse=True, return_counts=True)
    return float((np.bincount(code_q, right_q.astype(np.float64)) / count_u).mean())
