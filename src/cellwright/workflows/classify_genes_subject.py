"""The labelled genes with all that is known of them, and the runs that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from anndata import AnnData
from numpy.typing import NDArray
from scipy import sparse as sp

from cellwright.data.gene_families import families_from_table, families_of
from cellwright.data.gene_labels import GeneLabels
from cellwright.data.gene_properties import (
    GeneFacts,
    facts_of_table,
    facts_of_var,
)
from cellwright.data.gene_tables import positions
from cellwright.data.genes import GeneNames, gene_names, organism_of
from cellwright.data.reading import counts_of, read_cells
from cellwright.errors import DataError, SettingsError
from cellwright.representations.encoder import EncoderRun
from cellwright.representations.finetuned import FinetunedRun
from cellwright.representations.geneformer import GeneformerRun
from cellwright.representations.ldvae import LDVAERun
from cellwright.representations.loading import load
from cellwright.tokens.rank_vocabulary import RankVocabulary

KINDS = ("static", "contextual")


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


def _with_symbols(names: GeneNames, symbols: NDArray[np.str_]) -> GeneNames:
    """Symbols from elsewhere for genes that have only an id."""
    bare = (names.gene_symbol == names.gene_id) & (symbols != "")
    return replace(names, gene_symbol=np.where(bare, symbols, names.gene_symbol))
