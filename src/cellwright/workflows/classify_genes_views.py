"""Every kind of vectors of the labelled genes: models, simple methods, properties, ceilings."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse as sp

from cellwright.data.gene_families import ZINC_FINGERS, families_from_table, families_of
from cellwright.data.gene_labels import GeneLabels
from cellwright.data.gene_properties import (
    LENGTH,
    MEDIAN,
    GeneFacts,
    facts_of_table,
    facts_of_var,
    gene_properties,
)
from cellwright.data.gene_scores import scores_of_table
from cellwright.data.gene_tables import positions
from cellwright.data.genes import GeneNames, gene_names, organism_of
from cellwright.data.reading import counts_of, read_cells
from cellwright.errors import DataError, SettingsError
from cellwright.evaluation.gene_classification import GeneView
from cellwright.representations.encoder import EncoderRun
from cellwright.representations.finetuned import FinetunedRun
from cellwright.representations.geneformer import GeneformerRun
from cellwright.representations.ldvae import LDVAERun
from cellwright.representations.loading import load
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.workflows.gene_expression import expression_features, level_of

log = logging.getLogger("cellwright.workflows.classify_genes")

PROPERTIES, FAMILY_BIT = "gene properties", "family"
EXPRESSION, UNTRAINED, CEILING = "expression", "untrained", "ceiling:"
KINDS = ("static", "contextual")
LINEAR = ("logistic-regression",)


@dataclass(frozen=True)
class Run:
    """A run whose gene vectors were asked for. place_g: its own row of each labelled gene, or -1."""

    name: str
    kinds: tuple[str, ...]
    run: EncoderRun | GeneformerRun | LDVAERun
    place_g: NDArray[np.int64]


@dataclass
class GeneSubject:
    """The labelled genes with all that is known of them, before those without vectors are left out.

    lost: reason -> (g,) True for genes that cannot be compared for it.
    """

    names: GeneNames
    labels: GeneLabels
    families_g: NDArray[np.str_]
    runs: list[Run]
    cells: AnnData | None
    counts_ng: sp.csr_matrix | None
    column_g: NDArray[np.int64] | None
    facts: GeneFacts | None
    medians_g: NDArray[np.float64] | None
    median_from: str
    notes: list[str]
    lost: dict[str, NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def kept(self) -> NDArray[np.int64]:
        """Rows of the genes that everything compared knows."""
        out = np.zeros(len(self.labels), dtype=bool)
        for lost_g in self.lost.values():
            out |= lost_g
        return np.flatnonzero(~out)


def read_gene_subject(
    labels: GeneLabels,
    reps: Sequence[str],
    *,
    cells: AnnData | Path | str | None = None,
    gene_table: Path | str | None = None,
    family_table: Path | str | None = None,
    vocabulary: Path | str | None = None,
    layer: str | None = None,
    assume_counts: bool = False,
) -> GeneSubject:
    """Find the labelled genes in every run, in the cells and in the tables.

    Raises
    ------
    SettingsError
        For a run that is not there, or contextual vectors without cells.
    DataError
        If not one labelled gene is in a run, the vocabulary, the cells or a table.
    """
    names, notes = labels.names, list(labels.notes)
    read = None if cells is None else read_cells(cells)
    runs = _runs(names, reps, has_cells=read is not None)
    facts = None if gene_table is None else facts_of_table(names, gene_table)
    words = None if vocabulary is None else RankVocabulary.from_tsv(vocabulary)
    if words is None:
        words = next((r.run.vocabulary for r in runs if isinstance(r.run, GeneformerRun)), None)
    medians_g = None
    if words is not None:
        place_g = positions(names, words.gene_ids, words.symbols)
        _require_some(place_g, names, words.gene_ids, words.symbols, "the vocabulary")
        medians_g = np.where(place_g >= 0, words.medians_g[place_g], np.nan)
        names = _with_symbols(names, np.where(place_g >= 0, words.symbols[place_g], ""))
    counts, column_g = None, None
    if read is not None:
        counts = counts_of(read, layer=layer, assume_counts=assume_counts)
        var = gene_names(read.var)
        column_g = positions(names, var.gene_id, var.gene_symbol)
        _require_some(column_g, names, var.gene_id, var.gene_symbol, "the file of cells")
        if facts is None:
            facts = facts_of_var(names, read.var)
    if facts is not None:
        names = _with_symbols(names, facts.symbol_g)
    families_g = families_of(names.gene_symbol)
    if family_table is not None:
        families_g, named_g = families_from_table(names, family_table)
        notes.append(
            f"Families are those of {Path(family_table).name}; {int((~named_g).sum())} genes it "
            "does not name are grouped by the stem of their symbol."
        )
    subject = GeneSubject(
        names=names,
        labels=labels,
        families_g=families_g,
        runs=runs,
        cells=read,
        counts_ng=counts,
        column_g=column_g,
        facts=facts,
        medians_g=medians_g,
        median_from="a vocabulary" if words is not None else "the cells",
        notes=notes,
    )
    if words is not None and medians_g is not None:
        subject.lost["not in the vocabulary"] = ~np.isfinite(medians_g)
    for run in runs:
        subject.lost[f"without a vector in {run.name}"] = run.place_g < 0
    if column_g is not None:
        subject.lost["not in the file of cells"] = column_g < 0
    return subject


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


def _runs(names: GeneNames, reps: Sequence[str], *, has_cells: bool) -> list[Run]:
    found: list[Run] = []
    for rep in dict.fromkeys(reps):
        path, kinds = _parsed(rep)
        if not Path(path).is_dir():
            raise SettingsError(
                f"no run folder or checkpoint at {path!r} (--rep {rep}); expected RUN, RUN:static or "
                "RUN:contextual"
            )
        loaded = load(path)
        # Fine-tuned on labels of cells: its genes are those of the encoder inside.
        run = loaded.run if isinstance(loaded, FinetunedRun) else loaded
        if isinstance(run, EncoderRun | LDVAERun):
            if kinds == ("contextual",):
                raise SettingsError(
                    f"{rep}: contextual gene vectors need a rank model, and {path} reads "
                    "counts; use RUN:static"
                )
            kinds = ("static",)
        elif kinds == KINDS and not has_cells:
            kinds = ("static",)
        if "contextual" in kinds and not has_cells:
            raise SettingsError(
                f"{rep}: contextual gene vectors need cells; give them with --cells"
            )
        name = run.name
        if any(r.name == name and r.run.path != run.path for r in found):
            name = f"{Path(path).resolve().parent.name}/{name}"
        before = next((r for r in found if r.name == name), None)
        if before is not None:
            kinds = tuple(k for k in KINDS if k in {*before.kinds, *kinds})
            found[found.index(before)] = replace(before, kinds=kinds)
            continue
        ids, symbols = run.vocabulary.gene_ids, run.vocabulary.symbols
        place_g = positions(names, ids, symbols)
        _require_some(place_g, names, ids, symbols, f"the vocabulary of {name}")
        found.append(Run(name, kinds, run, place_g))
    return found


def _parsed(rep: str) -> tuple[str, tuple[str, ...]]:
    path, colon, kind = rep.rpartition(":")
    if not colon or Path(rep).is_dir():
        return rep, KINDS
    if kind not in KINDS:
        if "/" in kind or not path:
            return rep, KINDS
        raise SettingsError(
            f"--rep {rep} asks for {kind!r} gene vectors, expected static or contextual"
        )
    return path, (kind,)


def _require_some(
    place_g: NDArray[np.int64],
    names: GeneNames,
    ids: NDArray[np.str_],
    symbols: NDArray[np.str_],
    where: str,
) -> None:
    if (place_g >= 0).any():
        return
    ours, theirs = names.organism, organism_of(ids, symbols)
    likely = f"; the labels look like {ours}, it like {theirs}" if ours and theirs != ours else ""
    raise DataError(
        f"none of the {len(place_g)} labelled genes ({', '.join(names.gene_id[:3].tolist())} …) is in "
        f"{where} ({', '.join(ids[:3].tolist())} …){likely}; give labels of the same organism with "
        "Ensembl ids or symbols"
    )


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


def _with_symbols(names: GeneNames, symbols: NDArray[np.str_]) -> GeneNames:
    """Symbols from elsewhere for genes that have only an id."""
    bare = (names.gene_symbol == names.gene_id) & (symbols != "")
    return replace(names, gene_symbol=np.where(bare, symbols, names.gene_symbol))


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
