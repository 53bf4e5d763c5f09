"""Reverse forward: how well simple models predict the shift that a perturbation brings about."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.data.atomic import refuse_existing
from cellwright.data.genes import GeneNames, gene_names
from cellwright.data.hashes import fingerprint
from cellwright.errors import SettingsError
from cellwright.evaluation.shift_prediction import noise_floor, shift_metrics
from cellwright.interfaces import Check
from cellwright.perturbation.forward import (
    FORWARD_METHODS,
    ForwardTraining,
    check_forward_methods,
    fit_forward,
    most_expressed,
)
from cellwright.perturbation.queries import Queries, control_means, draw_queries
from cellwright.perturbation.reverse import Screen
from cellwright.perturbation.reverse_audit import own_columns, visibilities
from cellwright.representations.expression import log_normalized
from cellwright.workflows.provenance import provenance
from cellwright.workflows.reverse_benchmark_parts import Part, parts_of
from cellwright.workflows.reverse_forward_result import ReverseForward
from cellwright.workflows.reverse_forward_scores import judge_forward
from cellwright.workflows.reverse_screen import read_aliases, screen_of
from cellwright.workflows.subject import read_subject

TOP = 1000


@dataclass(frozen=True)
class _Exam:
    """What every partition is asked about; scored: columns compared, by view."""

    expression_ng: sp.csr_matrix
    screen: Screen
    methods: tuple[str, ...]
    own_c: NDArray[np.int64]
    scored: Mapping[str, NDArray[np.int64]]


def reverse_forward(
    source: AnnData | Path | str,
    *,
    split: str | Path = "ahlmann-eltze-2025",
    methods: Sequence[str] | None = None,
    top: int = TOP,
    perturbation: str | None = None,
    control: str | None = None,
    separator: str = "+",
    aliases: Mapping[str, str] | Path | str | None = None,
    leave_out: Sequence[str] = (),
    batch: str | None = None,
    guide: str | None = None,
    context: str | None = None,
    min_cells: int = 2,
    partitions: int | None = None,
    layer: str | None = None,
    assume_counts: bool = False,
    seed: int = 0,
    out: Path | str | None = None,
    force: bool = False,
) -> ReverseForward:
    """Predict the shift of expression of test perturbations by the simple models of the field.

    As Ahlmann-Eltze, Huber and Anders 2025 (doi:10.1038/s41592-025-02772-6): distance (L2) and
    correlation (Pearson delta) between predicted and observed shift from controls, over the genes
    most expressed in controls; once with all of these and once without any candidate's own gene,
    whose change is the perturbation itself. Means over perturbations with 95 % intervals over them.

    Parameters
    ----------
    source
        AnnData (left as it is) or the path of an h5ad, with raw counts.
    split
        As in :func:`cellwright.reverse_benchmark`.
    methods
        Default all of :data:`cellwright.perturbation.forward.FORWARD_METHODS`.
    top
        Genes compared: so many, most expressed in controls.
    perturbation, control, separator, batch, guide, context, min_cells
        As in :func:`cellwright.perturbation.reverse.read_screen`.
    aliases, leave_out, partitions, layer, assume_counts
        As in :func:`cellwright.reverse_benchmark`.
    out, force
        Folder to write (None writes nothing); replace it if it exists.

    Raises
    ------
    DataError, SettingsError, RunError
        If there is no screen in the data, a setting cannot work, or ``out`` exists.
    """
    started = time.perf_counter()
    if out is not None:
        refuse_existing(out, force=force)
    wanted = check_forward_methods(methods or FORWARD_METHODS)
    if top < 2:
        raise SettingsError(f"top is {top}, expected 2 genes or more to correlate over")
    subject = read_subject(source, layer=layer, assume_counts=assume_counts)
    old_to_new = read_aliases(aliases)
    screen = screen_of(
        subject,
        perturbation,
        leave_out,
        control=control,
        separator=separator,
        aliases=old_to_new,
        batch=batch,
        guide=guide,
        context=context,
        min_cells=min_cells,
    )
    genes = gene_names(subject.cells.var)
    parts, notes = parts_of(screen, split, partitions, seed, old_to_new)
    expression_ng = log_normalized(subject.counts_ng)
    scored, checks = _scored_genes(expression_ng, screen, genes, top)
    own_c = own_columns(screen.candidates, genes)
    exam = _Exam(expression_ng, screen, wanted, own_c, scored)
    each = pd.concat([_answers(exam, part) for part in parts], ignore_index=True)
    found = judge_forward(each, str(split), seed=seed)
    data = {
        "n_obs": subject.cells.n_obs,
        "n_vars": subject.cells.n_vars,
        "fingerprint": fingerprint(subject.cells, subject.counts_ng),
    }
    result = ReverseForward(
        split=parts[0].design,
        each=each,
        table=found.table,
        scores=found.scores,
        checks=tuple(checks),
        sentences=(*found.sentences, *_unmeasured(wanted, own_c), *screen.notes, *notes),
        settings={
            "split": str(split),
            "methods": list(wanted),
            "top": top,
            "genes_compared": {view: len(columns) for view, columns in scored.items()},
            "perturbations": len(screen.conditions),
            "test": sorted(
                {p.screen.genes_named(p.screen.index(n)) for p in parts for n in p.test}
            ),
            "partitions": len(parts),
            "batch": batch,
            "guide": guide,
            "context": context,
            "seed": seed,
        },
        provenance=provenance(seed, data)
        | {"seconds": float(np.round(time.perf_counter() - started, 1))},
        folder=None if out is None else Path(out),
    )
    if out is not None:
        result.write(Path(out), force=force)
    return result


def _scored_genes(
    expression_ng: sp.csr_matrix, screen: Screen, genes: GeneNames, top: int
) -> tuple[dict[str, NDArray[np.int64]], list[Check]]:
    """The genes compared with all visible, and without candidates' own where that changes them."""
    control_g = control_means(expression_ng, screen)[""]
    visible, hidden = visibilities(screen, genes)
    scored = {"visible": most_expressed(control_g, top)}
    checks = [Check("own_transcripts", "note", _own_words(hidden.hidden, len(control_g)))]
    if hidden.hidden and hidden.possible:
        scored["hidden"] = most_expressed(control_g, top, hidden.kept_g)
    elif not hidden.possible:
        checks = [Check("own_transcripts", "warning", hidden.sentence, "measure more genes")]
    if visible.kept_g.sum() < top:
        checks.append(
            Check(
                "genes_compared",
                "note",
                f"The data have {len(control_g):,} genes, fewer than the {top:,} most expressed "
                "that are compared elsewhere: distances are over all of them.",
            )
        )
    return scored, checks


def _own_words(hidden: int, genes: int) -> str:
    if not hidden:
        return "No candidate's own gene is measured: no score can come from a target's own change."
    return (
        f"{hidden} of {genes:,} measured genes are candidates' own; scores are given with and "
        "without them."
    )


def _unmeasured(methods: Sequence[str], own_c: NDArray[np.int64]) -> list[str]:
    absent = int((own_c < 0).sum())
    if "linear" not in methods or not absent:
        return []
    return [
        f"{absent} of {len(own_c)} perturbed genes are not measured: the linear model, which "
        "knows a perturbation by its gene's own expression, predicts the training mean for them."
    ]


def _answers(exam: _Exam, part: Part) -> pd.DataFrame:
    """Every method about every test condition: one row for each view and metric."""
    x = exam.expression_ng
    controls = control_means(x, part.screen)
    whole = draw_queries(x, part.screen, part.train, k=None, controls=controls)
    asked = draw_queries(x, part.screen, part.test, k=None, controls=controls)
    training = ForwardTraining(part.screen, whole, controls[""], exam.own_c)
    targets_qc = part.screen.targets_pc[asked.condition_q]
    cells_q = np.array([len(rows) for rows in asked.rows_q])
    rows: list[dict[str, Any]] = []
    for view, columns in exam.scored.items():
        observed = asked.shift_qg[:, columns]
        floor_q = noise_floor(_variances(x, asked, columns), cells_q)
        for name in exam.methods:
            model = fit_forward(name, training)
            predicted = model.predict(targets_qc)[:, columns]
            unknown_q = np.asarray((targets_qc & ~model.known_c).any(axis=1))
            for metric, value_q in shift_metrics(predicted, observed).items():
                rows += [
                    {
                        "partition": part.name,
                        "perturbation": part.screen.genes_named(code),
                        "seen_alone": part.strata.get(part.screen.genes_named(code), -1),
                        "method": name,
                        "genes": view,
                        "metric": metric,
                        "value": float(value_q[q]),
                        "noise_floor": float(floor_q[q]) if metric == "l2" else np.nan,
                        "unknown_gene": bool(unknown_q[q]),
                        "cells": int(cells_q[q]),
                    }
                    for q, code in enumerate(asked.condition_q.tolist())
                ]
    return pd.DataFrame(rows)


def _variances(
    expression_ng: sp.csr_matrix, asked: Queries, columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Variance of each gene over the cells of each test condition, (q, genes compared)."""
    out = np.zeros((len(asked), len(columns)))
    for q, rows in enumerate(asked.rows_q):
        x = expression_ng[rows][:, columns].toarray()
        if len(rows) > 1:
            out[q] = x.var(axis=0, ddof=1)
    return out
