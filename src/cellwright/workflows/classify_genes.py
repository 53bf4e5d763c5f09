"""Classify genes: which vectors know what a gene is, beside its length, level and family."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from anndata import AnnData

from cellwright.config import nearest
from cellwright.data.atomic import refuse_existing
from cellwright.data.disk.arrays import usable_cores
from cellwright.data.gene_labels import read_gene_labels, require_genes_per_class
from cellwright.errors import DataError, SettingsError
from cellwright.evaluation.classifiers import CLASSIFIERS
from cellwright.evaluation.folds import Design
from cellwright.evaluation.gene_classification import HEADLINE, GeneTask, GeneView
from cellwright.evaluation.gene_folds import GENES, family_folds, repeated_folds
from cellwright.evaluation.gene_hidden import HiddenScore, hidden_curves
from cellwright.evaluation.gene_scores import WITHIN
from cellwright.evaluation.sentences import score_phrase
from cellwright.interfaces import Check, Predictions, Score
from cellwright.workflows import classify_genes_folder
from cellwright.workflows.classify_genes_finetune import Tuning, finetuned
from cellwright.workflows.classify_genes_result import GeneClassification
from cellwright.workflows.classify_genes_subject import GeneSubject, read_gene_subject
from cellwright.workflows.classify_genes_views import (
    EXPRESSION,
    PROPERTIES,
    GeneViews,
    build_gene_views,
)

log = logging.getLogger("cellwright.workflows.classify_genes")

HIDDEN = (0.0, 0.25, 0.5, 0.75, 0.9)


def classify_genes(
    labels: Path | str,
    reps: str | Path | Sequence[str | Path] = (),
    *,
    cells: AnnData | Path | str | None = None,
    gene_table: Path | str | None = None,
    family_table: Path | str | None = None,
    vocabulary: Path | str | None = None,
    label: Sequence[str] | None = None,
    gene_column: str | None = None,
    positive: str | None = None,
    classifiers: Sequence[str] = CLASSIFIERS,
    folds: int = 5,
    repeats: int = 2,
    hidden: Sequence[float] = HIDDEN,
    ceilings: Sequence[Path | str] = (),
    finetune: Tuning | None = None,
    seed: int = 42,
    layer: str | None = None,
    assume_counts: bool = False,
    resamples: int = 2000,
    out: Path | str | None = None,
    force: bool = False,
) -> GeneClassification:
    """Judge gene vectors by classifiers on held-out genes, always beside what is known of a gene
    without any model.

    Parameters
    ----------
    labels, label, gene_column, positive
        Table of genes and classes, as in :func:`cellwright.data.gene_labels.read_gene_labels`.
    reps
        Run folders or checkpoints, ``RUN:static`` (the embedding matrix) or ``RUN:contextual``
        (hidden states, mean over the cells that rank the gene); ``RUN`` is both where there are
        cells.
    cells
        AnnData or h5ad with counts: for contextual vectors, plain expression features, detection
        and fine-tuning.
    gene_table
        Table of genes with start and end (or length) and biotype, for the gene-property baseline;
        None takes such columns of the cells' ``var``.
    family_table
        Table of genes and families; None takes the stem of the symbol.
    vocabulary
        Rank vocabulary with nonzero medians; None takes that of the first rank run.
    classifiers
        Any of :data:`cellwright.evaluation.classifiers.CLASSIFIERS`.
    folds, repeats
        Every gene is held out once in each repeat.
    hidden
        Shares of training labels hidden, for self-training and label propagation; none: left out.
    ceilings
        Tables of near-labels (pLI, haploinsufficiency): scored as a ceiling, never compared.
    finetune
        Fine-tune a token classifier of every rank run in every fold with these settings; needs
        cells. None: not.
    seed, resamples
        Of folds, classifiers and intervals; bootstrap draws.
    out, force
        Folder to write (None: nothing); replace it if it exists.

    Raises
    ------
    DataError
        If labels, genes, cells or tables do not fit, or a class has fewer genes than folds.
    SettingsError
        For an unknown run, classifier or share, or if something needs cells and there are none.
    RunError
        If ``out`` exists.
    """
    if out is not None:
        refuse_existing(out, force=force)
    _require_settings(classifiers, hidden)
    named = [str(r) for r in ([reps] if isinstance(reps, str | Path) else reps)]
    table = read_gene_labels(labels, label=label, gene_column=gene_column, positive=positive)
    require_genes_per_class(table.codes_g, table.classes, folds, f"in {labels}")
    subject = read_gene_subject(
        table,
        named,
        cells=cells,
        gene_table=gene_table,
        family_table=family_table,
        vocabulary=vocabulary,
        layer=layer,
        assume_counts=assume_counts,
    )
    if finetune and subject.cells is None:
        raise SettingsError("fine-tuning a token classifier needs cells; give them with --cells")
    views = build_gene_views(
        subject, ceilings=ceilings, seed=seed, layer=layer, assume_counts=assume_counts
    )
    task, notes = _task(subject, views, folds, repeats, seed, resamples)
    answers = _answers(task, views, classifiers)
    if finetune:
        answers += finetuned(task, subject, views.kept, finetune, seed)
    ceilings_of = list(dict.fromkeys(a.rep for a in answers if _view(views, a.rep).ceiling))
    property_reps = {
        a.rep: _words(_view(views, a.rep).name)
        for a in answers
        if _view(views, a.rep).name == PROPERTIES and a.model == "logistic-regression"
    }
    found = task.judge(answers, shortcuts=property_reps, ceilings=ceilings_of)
    if not any(score.metric == WITHIN for score in found.scores):
        notes.append("No family holds genes of two classes, so there is no AUC within families.")
    curves = _hidden(task, views, hidden)
    checks = [*found.checks, *_checks(answers, curves, ceilings_of)]
    result = GeneClassification(
        labels=table,
        subject=subject,
        views=views,
        task=task,
        answers=tuple(answers),
        scores=found.scores,
        differences=found.differences,
        hidden=tuple(curves),
        checks=tuple(checks),
        sentences=(*_known(task, found.scores), *found.sentences, *views.notes, *notes),
        ceilings=tuple(ceilings_of),
        folder=None if out is None else Path(out),
    )
    if out is not None:
        classify_genes_folder.write(result, Path(out), force=force)
    return result


def _task(
    subject: GeneSubject, views: GeneViews, folds: int, repeats: int, seed: int, resamples: int
) -> tuple[GeneTask, list[str]]:
    """The genes kept in their folds; families only where they can be held out."""
    kept, labels = views.kept, subject.labels
    codes_g, ids_g = labels.codes_g[kept], subject.names.gene_id[kept]
    families_g = subject.families_g[kept]
    how = {"folds": folds, "repeats": repeats, "seed": seed}
    designs: list[Design] = [repeated_folds(codes_g, ids_g, classes=labels.classes, **how)]
    notes = []
    try:
        designs.append(family_folds(codes_g, families_g, ids_g, classes=labels.classes, **how))
    except DataError as error:
        notes.append(f"Whole families are not held out: {error}.")
    task = GeneTask(
        codes_g=codes_g,
        classes=labels.classes,
        gene_ids_g=ids_g,
        families_g=families_g,
        designs=tuple(designs),
        seed=seed,
        resamples=resamples,
        threads=usable_cores(),
    )
    return task, notes


def _answers(task: GeneTask, views: GeneViews, classifiers: Sequence[str]) -> list[Predictions]:
    answers = []
    for view in views.views:
        for classifier in view.classifiers or classifiers:
            start = time.perf_counter()
            answers += [task.answer(view, classifier, design) for design in task.designs]
            log.info("%s + %s: %.1f s", view.name, classifier, time.perf_counter() - start)
    return answers


def _known(task: GeneTask, scores: Sequence[Score]) -> list[str]:
    """What the gene properties alone reach, in every design."""
    parts = []
    for design in task.designs:
        own = {
            s.metric: s
            for s in scores
            if s.rep == f"{PROPERTIES} + LR" and s.split == design.name and s.stratum == "all"
        }
        if HEADLINE not in own:
            continue
        within = own.get(WITHIN)
        held = "single genes" if design.name == GENES else "whole families"
        parts.append(
            f"{score_phrase(own[HEADLINE])} with {held} held out"
            + (f" ({score_phrase(within)} within families)" if within else "")
        )
    return [f"Without any model, gene properties reach AUC {', '.join(parts)}."] if parts else []


def _hidden(task: GeneTask, views: GeneViews, shares: Sequence[float]) -> list[HiddenScore]:
    if not shares:
        return []
    design = next(d for d in task.designs if d.name == GENES)
    wanted = {*views.asked, PROPERTIES} | (set() if views.asked else {EXPRESSION})
    out = []
    for view in views.views:
        if view.name in wanted:
            start = time.perf_counter()
            out += hidden_curves(task, view, design, shares)
            log.info("hidden labels, %s: %.1f s", view.name, time.perf_counter() - start)
    return out


def _checks(
    answers: Sequence[Predictions], curves: Sequence[HiddenScore], ceilings: Sequence[str]
) -> list[Check]:
    reps = {a.rep for a in answers if not a.baseline} - set(ceilings)
    checks = []
    if len(reps) > 1:
        checks.append(
            Check(
                "many-methods",
                "note",
                f"{len(reps)} methods were tried on the same genes; the best of so many is better "
                "here than it will be on other genes.",
                "Name the method before looking, or confirm it on other labels.",
            )
        )
    if curves:
        checks.append(
            Check(
                "transductive",
                "note",
                "Label propagation and label spreading marked transductive have the held-out genes, "
                "without labels, as nodes of their graph.",
            )
        )
    if ceilings:
        checks.append(
            Check(
                "ceiling",
                "note",
                f"{' and '.join(ceilings)}: read from a table that is nearly the label, a ceiling left "
                "out of every comparison.",
            )
        )
    return checks


def _view(views: GeneViews, rep: str) -> GeneView:
    """The view behind an answer; a fine-tuned classifier has none."""
    for view in views.views:
        if rep.startswith(f"{view.name} + "):
            return view
    return GeneView(rep, np.zeros((0, 0)))


def _words(name: str) -> str:
    if name == PROPERTIES:
        return "gene properties alone"
    return f"{name} alone"


def _require_settings(classifiers: Sequence[str], hidden: Sequence[float]) -> None:
    if not classifiers:
        raise SettingsError(f"no classifier was given; known: {', '.join(CLASSIFIERS)}")
    for name in classifiers:
        if name not in CLASSIFIERS:
            close = nearest(name, CLASSIFIERS)
            raise SettingsError(
                f"no classifier {name!r}: "
                + (f"did you mean {close!r}?" if close else f"known: {', '.join(CLASSIFIERS)}")
            )
    for share in hidden:
        if not 0 <= share < 1:
            raise SettingsError(
                f"a share of hidden labels is {share:g}; it must be from 0 to below 1"
            )
