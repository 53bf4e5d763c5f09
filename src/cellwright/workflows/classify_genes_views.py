"""Every kind of vectors of the labelled genes: models, simple methods, properties, ceilings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.data.gene_families import ZINC_FINGERS
from cellwright.data.gene_properties import (
    LENGTH,
    MEDIAN,
    GeneFacts,
    gene_properties,
)
from cellwright.data.gene_scores import scores_of_table
from cellwright.errors import DataError
from cellwright.evaluation.gene_classification import GeneView
from cellwright.representations.geneformer import GeneformerRun
from cellwright.workflows.classify_genes_subject import GeneSubject, Run
from cellwright.workflows.gene_expression import expression_features, level_of

log = logging.getLogger("cellwright.workflows.classify_genes")

PROPERTIES, FAMILY_BIT = "gene properties", "family"
EXPRESSION, UNTRAINED, CEILING = "expression", "untrained", "ceiling:"
LINEAR = ("logistic-regression",)


@dataclass(frozen=True)
class GeneViews:
    """Views of the genes kept: ``kept`` rows of the labels; ``notes`` for the reader.

    asked: names of the models. properties: names of the property baselines.
    """

    views: tuple[GeneView, ...]
    kept: NDArray[np.int64]
    asked: tuple[str, ...]
    properties: tuple[str, ...]
    lacks: dict[str, str]
    notes: tuple[str, ...]


def build_gene_views(
    subject: GeneSubject,
    *,
    ceilings: Sequence[Path | str] = (),
    seed: int = 0,
    layer: str | None = None,
    assume_counts: bool = False,
) -> GeneViews:
    """Vectors of all kinds for the genes that every one of them knows.

    Raises
    ------
    DataError
        If a run has no vector for any of them, or a ceiling's table names none.
    """
    vectors: dict[str, tuple[NDArray[np.floating], bool]] = {}
    for run in subject.runs:
        _run_vectors(subject, run, vectors, seed, layer, assume_counts)
    for name, (x_gd, _) in vectors.items():
        if name.endswith(":contextual") and not name.startswith(f"{UNTRAINED} "):
            gone = ~np.isfinite(x_gd).all(axis=1)
            subject.lost[f"ranked in no cell ({name})"] = gone
    asked = tuple(name for name, (_, simple) in vectors.items() if not simple)
    kept, notes = subject.kept, list(subject.notes)
    if not len(kept):
        said = "; ".join(f"{int(g.sum())} {why}" for why, g in subject.lost.items() if g.any())
        raise DataError(
            f"none of the {len(subject.labels)} labelled genes is known to everything compared: "
            f"{said}"
        )
    notes += _left_out(subject)
    views = [
        GeneView(name, x_gd[kept], baseline=simple, classifiers=LINEAR if simple else None)
        for name, (x_gd, simple) in vectors.items()
    ]
    detection_g, medians_g = None, subject.medians_g
    if subject.counts_ng is not None and subject.column_g is not None:
        detection_g, found_g = level_of(subject.counts_ng, subject.column_g)
        medians_g = found_g if medians_g is None else medians_g
        x_gd = expression_features(subject.counts_ng, subject.column_g[kept], seed=seed)
        views.append(GeneView(EXPRESSION, x_gd, baseline=True))
    properties = gene_properties(
        subject.families_g[kept],
        facts=_rows(subject.facts, kept),
        median_g=None if medians_g is None else medians_g[kept],
        detection_g=None if detection_g is None else detection_g[kept],
    )
    before = len(views)
    views += _property_views(properties.values_gp, properties.columns)
    lacks = dict(properties.lacks)
    if lacks:
        said = "; ".join(f"{name} ({why})" for name, why in lacks.items())
        notes.append(f"The gene-property baseline lacks {said}.")
    known = tuple(v.name for v in views[before:])
    for path in ceilings:
        score_g = scores_of_table(subject.names, path)[kept]
        views.append(GeneView(f"{CEILING}{_stem(path)}", score_g[:, None], False, True, LINEAR))
        notes.append(
            f"{_stem(path)} ({np.isfinite(score_g).mean():.0%} of the genes have a score) is nearly the "
            "label itself: a ceiling, not a method, and never compared."
        )
    return GeneViews(tuple(views), kept, asked, known, lacks, tuple(notes))


def _property_views(values_gp: NDArray[np.float64], columns: tuple[str, ...]) -> list[GeneView]:
    if not columns:
        return []
    views = [GeneView(PROPERTIES, values_gp, baseline=True)]
    bits = [i for i, c in enumerate(columns) if c.startswith("family:")]
    if not bits:
        return views
    sizes = values_gp[:, bits].sum(axis=0)
    zinc = f"family:{ZINC_FINGERS}"
    largest = columns.index(zinc) if zinc in columns else bits[int(sizes.argmax())]
    three = [i for i, c in enumerate(columns) if c.split(":")[0] in (LENGTH, MEDIAN)] + [largest]
    bit = columns[largest].removeprefix("family:")
    if len(three) == 3:
        views.append(GeneView(f"length, median, {bit}", values_gp[:, three], True, False, LINEAR))
    views.append(GeneView(f"{FAMILY_BIT} {bit}", values_gp[:, [largest]], True, False, LINEAR))
    return views


def _run_vectors(
    subject: GeneSubject,
    run: Run,
    vectors: dict[str, tuple[NDArray[np.floating], bool]],
    seed: int,
    layer: str | None,
    assume_counts: bool,
) -> None:
    """Add the vectors of a run and of the same network with random weights."""
    random: Any = (
        run.run.untrained(seed) if isinstance(run.run, GeneformerRun) else run.run.untrained()
    )
    for kind in run.kinds:
        pair: tuple[tuple[Any, bool], ...] = ((run.run, False), (random, True))
        for model, simple in pair:
            name = f"{UNTRAINED} {run.name}:{kind}" if simple else f"{run.name}:{kind}"
            x_gd = np.full((len(run.place_g), 1), np.nan)
            if kind == "static":
                _, all_gd = model.gene_vectors()
                x_gd = np.where((run.place_g >= 0)[:, None], all_gd[run.place_g], np.nan)
            else:
                ids, all_gd = model.contextual_gene_vectors(
                    subject.cells, layer=layer, assume_counts=assume_counts
                )
                row_of = {gene: i for i, gene in enumerate(ids)}
                own = run.run.vocabulary.gene_ids
                row_g = np.array([row_of.get(own[p], -1) if p >= 0 else -1 for p in run.place_g])
                x_gd = np.where((row_g >= 0)[:, None], all_gd[row_g], np.nan)
            log.info("%s: %d dimensions", name, x_gd.shape[1])
            vectors[name] = (x_gd, simple)


def _left_out(subject: GeneSubject) -> list[str]:
    labels = subject.labels
    out = np.setdiff1d(np.arange(len(labels)), subject.kept)
    if not len(out):
        return []
    parts = []
    before_g = np.zeros(len(labels), dtype=bool)
    for why, all_g in subject.lost.items():
        lost_g = all_g & ~before_g
        before_g |= all_g
        if lost_g.any():
            shown = ", ".join(subject.names.gene_symbol[np.flatnonzero(lost_g)[:3]].tolist())
            parts.append(f"{int(lost_g.sum())} {why} ({shown}{' …' if lost_g.sum() > 3 else ''})")
    sizes = np.bincount(labels.codes_g[out], minlength=len(labels.classes))
    by_class = ", ".join(f"{n} {c}" for c, n in zip(labels.classes, sizes, strict=True) if n)
    return [
        f"{len(out)} of {len(labels)} labelled genes ({by_class}) are left out: {'; '.join(parts)}."
    ]


def _rows(facts: GeneFacts | None, rows: NDArray[np.int64]) -> GeneFacts | None:
    if facts is None:
        return None
    return GeneFacts(
        length_g=None if facts.length_g is None else facts.length_g[rows],
        biotype_g=None if facts.biotype_g is None else facts.biotype_g[rows],
        symbol_g=facts.symbol_g[rows],
        found_g=facts.found_g[rows],
    )


def _stem(path: Path | str) -> str:
    return Path(path).name.split(".")[0]
