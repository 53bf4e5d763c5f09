"""The genes of a run in order, and how the genes of other data are matched to them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.data.atomic import atomic_file
from cellwright.data.genes import gene_names, organism_of, strip_versions
from cellwright.errors import DataError, RunError

_HEADER = ["gene_id", "gene_symbol", "aliases"]
_SEPARATOR = "|"


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where the g genes of a vocabulary stand among the m genes of some data.

    Attributes
    ----------
    columns_g
        (g,) the first column of the data that holds the gene, -1 where none does.
    genes_m
        (m,) the gene that each column of the data belongs to, -1 for a gene the vocabulary lacks.
        Several columns may belong to one gene.
    coverage
        Share of the vocabulary's genes that the data have, 0 to 1 (higher is better).
    missing
        Symbols of the genes that the data lack, in the order of the vocabulary.
    """

    columns_g: NDArray[np.int64]
    genes_m: NDArray[np.int64]
    coverage: float
    missing: list[str]

    @property
    def n_summed(self) -> int:
        """Columns of the data that share a gene with an earlier column and are added to it."""
        return int((self.genes_m >= 0).sum() - (self.columns_g >= 0).sum())


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Genes in order, each with an id, a symbol and other names it may carry.

    Attributes
    ----------
    gene_ids
        (g,) unique; Ensembl ids without version where the data had them, else symbols.
    symbols
        (g,) symbols, else the ids.
    aliases
        g tuples of further names; empty tuples where there are none.

    Raises
    ------
    DataError
        If there is no gene, an id occurs twice, or the three differ in length.
    """

    gene_ids: NDArray[np.str_]
    symbols: NDArray[np.str_]
    aliases: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "gene_ids", np.asarray(self.gene_ids, dtype=np.str_))
        object.__setattr__(self, "symbols", np.asarray(self.symbols, dtype=np.str_))
        if not self.aliases:
            object.__setattr__(self, "aliases", tuple(() for _ in range(self.gene_ids.size)))
        sizes = (self.gene_ids.size, self.symbols.size, len(self.aliases))
        if self.gene_ids.size == 0:
            raise DataError("a vocabulary needs at least one gene, none was given")
        if len(set(sizes)) > 1:
            raise DataError(
                f"a vocabulary was given {sizes[0]} gene ids, {sizes[1]} symbols and {sizes[2]} "
                "lists of aliases; expected one of each per gene"
            )
        values, counts = np.unique(self.gene_ids, return_counts=True)
        if counts.max() > 1:
            raise DataError(
                f"gene id {str(values[counts.argmax()])!r} occurs {counts.max()} times in a "
                "vocabulary; ids must be unique"
            )

    def __len__(self) -> int:
        return int(self.gene_ids.size)

    @classmethod
    def from_var(cls, var: pd.DataFrame) -> Self:
        """The genes of a ``var`` table in their order.

        A gene that occurs twice under one id stands once, at its first place; :func:`take` adds
        its columns up. Where an alias column exists (``alias``, ``aliases``, ``alias_symbol``,
        ``previous_symbol``: names separated by ``|``) its names become aliases.

        Raises
        ------
        DataError
            If the table has no genes.
        """
        if len(var) == 0:
            raise DataError("the data have no genes (0 variables); a vocabulary needs at least one")
        names = gene_names(var)
        _, first = np.unique(names.gene_id, return_index=True)
        keep = np.sort(first)
        aliases = _aliases_of(var)
        return cls(
            gene_ids=names.gene_id[keep],
            symbols=names.gene_symbol[keep],
            aliases=tuple(aliases[i] for i in keep.tolist()),
        )

    def save(self, path: Path | str) -> None:
        """Write the genes as tab-separated text (gene_id, gene_symbol, aliases), atomically."""
        with (
            atomic_file(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as handle,
        ):
            writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
            writer.writerow(_HEADER)
            for gene, symbol, other in zip(self.gene_ids, self.symbols, self.aliases, strict=True):
                writer.writerow([gene, symbol, _SEPARATOR.join(other)])

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read what :meth:`save` wrote.

        Raises
        ------
        RunError
            If the file is missing or is not a vocabulary.
        """
        try:
            with Path(path).open(encoding="utf-8", newline="") as handle:
                rows = list(csv.reader(handle, delimiter="\t"))
        except FileNotFoundError:
            raise RunError(f"no vocabulary at {path}") from None
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise RunError(f"{path} is not a vocabulary: {error}") from None
        if not rows or rows[0] != _HEADER:
            found = "\t".join(rows[0])[:60] if rows else "an empty file"
            raise RunError(
                f"{path} is not a vocabulary: it starts with {found!r}, expected the columns "
                f"{', '.join(_HEADER)}"
            )
        for number, row in enumerate(rows[1:], start=2):
            if len(row) != len(_HEADER):
                raise RunError(
                    f"{path} is damaged: line {number} has {len(row)} columns, expected "
                    f"{len(_HEADER)}"
                )
        try:
            return cls(
                gene_ids=np.array([r[0] for r in rows[1:]], dtype=np.str_),
                symbols=np.array([r[1] for r in rows[1:]], dtype=np.str_),
                aliases=tuple(tuple(filter(None, r[2].split(_SEPARATOR))) for r in rows[1:]),
            )
        except DataError as error:
            raise RunError(f"{path} is damaged: {error}") from None

    def align(self, var: pd.DataFrame) -> Alignment:
        """Find the vocabulary's genes in the ``var`` table of some data.

        In turn by id (Ensembl ids without their version), by symbol, by alias. A gene found by a
        better name is not looked for under a worse one, so a symbol that two Ensembl ids share
        does not mix them. Columns that carry the same name all belong to the gene: duplicates.

        Raises
        ------
        DataError
            If the data have no genes, or not one gene is found; the sentence shows names of both
            sides and the organisms they look like.
        """
        if len(var) == 0:
            raise DataError(f"the data have no genes (0 variables), the model has {len(self):,}")
        names = gene_names(var)
        columns = [names.gene_id, names.gene_symbol]
        genes_m = np.full(len(var), -1, dtype=np.int64)
        for table in self._tables():
            for column in columns:
                # Genes found by better names only: duplicates join a gene, rivals do not.
                taken = np.zeros(len(self), dtype=bool)
                taken[genes_m[genes_m >= 0]] = True
                found = np.array([table.get(name, -1) for name in column.tolist()], dtype=np.int64)
                fits = (genes_m < 0) & (found >= 0) & ~taken[found]
                genes_m[fits] = found[fits]
        columns_g = np.full(len(self), -1, dtype=np.int64)
        hit = np.flatnonzero(genes_m >= 0)[::-1]
        columns_g[genes_m[hit]] = hit
        if hit.size == 0:
            raise DataError(self._no_overlap(names.gene_id, names.gene_symbol, names.organism))
        absent = columns_g < 0
        return Alignment(
            columns_g=columns_g,
            genes_m=genes_m,
            coverage=float(1.0 - absent.mean()),
            missing=self.symbols[absent].tolist(),
        )

    def take(self, counts_ng: Any, alignment: Alignment) -> sp.csr_matrix:
        """Counts in the order of the vocabulary.

        Parameters
        ----------
        counts_ng
            Counts, cells × genes of the data, sparse or dense.
        alignment
            What :meth:`align` found for the same genes.

        Returns
        -------
        CSR, cells × genes of the vocabulary, in the number type given. Columns of one gene are
        added up; a gene that the data lack is zero.

        Raises
        ------
        DataError
            If the counts have another number of genes than the alignment.
        """
        counts = sp.csr_matrix(counts_ng)
        m = alignment.genes_m.size
        if counts.shape[1] != m:
            raise DataError(
                f"the counts have {counts.shape[1]} genes, but the alignment was made for {m}"
            )
        if m == len(self) and np.array_equal(alignment.genes_m, np.arange(m)):
            return counts
        known = np.flatnonzero(alignment.genes_m >= 0)
        place_mg = sp.csr_matrix(
            (np.ones(known.size, dtype=counts.dtype), (known, alignment.genes_m[known])),
            shape=(m, len(self)),
        )
        taken = sp.csr_matrix(counts @ place_mg)
        taken.sort_indices()
        return taken

    def _tables(self) -> list[dict[str, int]]:
        """Name -> gene, best kind of name first; the first gene of a shared name has it."""
        by_id: dict[str, int] = {}
        by_symbol: dict[str, int] = {}
        by_alias: dict[str, int] = {}
        bare = strip_versions(self.gene_ids).tolist()
        for i, (gene, symbol) in enumerate(zip(bare, self.symbols.tolist(), strict=True)):
            by_id.setdefault(gene, i)
            by_symbol.setdefault(symbol, i)
            for alias in self.aliases[i]:
                by_alias.setdefault(alias, i)
        return [by_id, by_symbol, by_alias]

    def _no_overlap(
        self, ids: NDArray[np.str_], symbols: NDArray[np.str_], organism: str | None
    ) -> str:
        def shown(first: NDArray[np.str_], second: NDArray[np.str_]) -> str:
            pairs = zip(first[:3].tolist(), second[:3].tolist(), strict=True)
            return ", ".join(a if a == b else f"{a} ({b})" for a, b in pairs)

        ours = organism_of(self.gene_ids, self.symbols)
        text = (
            f"none of the {len(self):,} genes of the model is among the {ids.size:,} genes of the "
            f"data: the model has {shown(self.gene_ids, self.symbols)}, the data have "
            f"{shown(ids, symbols)}"
        )
        if organism and ours and organism != ours:
            text += f"; the data look like {organism}, the model like {ours}"
        elif organism:
            text += f"; the data look like {organism}"
        return f"{text}. Give data of the same organism with Ensembl ids or gene symbols."


def _aliases_of(var: pd.DataFrame) -> list[tuple[str, ...]]:
    known = ("alias", "aliases", "alias_symbol", "previous_symbol", "prev_symbol", "synonyms")
    columns = [c for c in var.columns if str(c).lower() in known]
    found: list[tuple[str, ...]] = [() for _ in range(len(var))]
    for column in columns:
        for i, value in enumerate(var[column].tolist()):
            if isinstance(value, str) and value:
                found[i] += tuple(filter(None, (v.strip() for v in value.split(_SEPARATOR))))
    return found
