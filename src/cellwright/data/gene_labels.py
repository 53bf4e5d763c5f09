"""Labels of genes from a table: which genes, which classes, and what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.gene_tables import read_gene_table, text_of
from cellwright.data.genes import GeneNames, ensembl_share, gene_names
from cellwright.errors import DataError

YES = frozenset({"yes", "true", "1", "1.0", "y", "t", "x"})
NO = frozenset({"no", "false", "0", "0.0", "n", "f", ""})
MOST_CLASSES = 20


@dataclass(frozen=True)
class GeneLabels:
    """Genes with the class of each.

    names: ids and symbols, (g,). codes_g: (g,) index into ``classes``; the last class is the
    positive one. label: the columns the classes come from. notes: what was left out, one sentence
    each.
    """

    names: GeneNames
    codes_g: NDArray[np.int64]
    classes: tuple[str, ...]
    label: str
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return int(self.codes_g.size)

    @property
    def sizes(self) -> dict[str, int]:
        """Genes per class."""
        counts = np.bincount(self.codes_g, minlength=len(self.classes))
        return {name: int(n) for name, n in zip(self.classes, counts, strict=True)}


def read_gene_labels(
    path: Path | str,
    *,
    label: Sequence[str] | None = None,
    gene_column: str | None = None,
    positive: str | None = None,
) -> GeneLabels:
    """Read a table of genes and their classes (commas or tabs, plain or gzip).

    One label column holds the classes: any names, or yes and no (``is_x``: the classes are ``is_x``
    and ``not is_x``). Several hold marks (yes, true, 1 or nothing): a gene's class is the names of
    the columns that mark it, joined by ``+``, so that ``sensitive`` and ``insensitive`` make two
    classes and ``H3K4me3`` and ``H3K27me3`` may make ``H3K4me3+H3K27me3``.

    Parameters
    ----------
    label
        Columns of the labels; None takes every column of marks, else the one column of names.
    gene_column
        Column of the genes; None takes the first whose names are Ensembl ids, else symbols.
    positive
        The class that curves and F1 are about; None takes the one of most marks, else the
        last column, else the last name.

    Raises
    ------
    DataError
        If the file is no such table, a column or class is not there, or a gene has two classes.
    """
    frame = read_gene_table(path)
    genes = _gene_column(frame, gene_column, path)
    columns = _label_columns(frame, label, genes, path)
    classes_r, order = _classes(frame, columns, path)
    named = (text_of(frame[genes]) != "") & (classes_r != "")
    notes = []
    if (~named).any():
        notes.append(
            f"{int((~named).sum())} of {len(frame)} rows have no gene or no class and are left out."
        )
    var = frame.set_index(genes, drop=False)[named].drop(columns=columns)
    var.index = pd.Index(text_of(var[genes]))
    names, classes_g = gene_names(var), classes_r[named]
    keep = _one_class_each(names.gene_id, classes_g, path)
    if len(keep) < len(classes_g):
        notes.append(f"{len(classes_g) - len(keep)} rows repeat a gene and are left out.")
    if positive is not None:
        if positive not in order:
            raise DataError(
                f"the positive class {positive!r} is not a class of {path}: "
                f"{', '.join(map(repr, order))}"
            )
        order = [*(c for c in order if c != positive), positive]
    code_of = {name: i for i, name in enumerate(order)}
    return GeneLabels(
        names=rows_of(names, keep),
        codes_g=np.array([code_of[c] for c in classes_g[keep]], dtype=np.int64),
        classes=tuple(order),
        label=" and ".join(columns),
        notes=tuple(notes),
    )


def rows_of(names: GeneNames, rows: NDArray[np.int64]) -> GeneNames:
    """The names of some of the genes."""
    return GeneNames(
        gene_id=names.gene_id[rows],
        gene_symbol=names.gene_symbol[rows],
        kind=names.kind,
        organism=names.organism,
        id_from=names.id_from,
        symbol_from=names.symbol_from,
    )


def require_genes_per_class(
    codes_g: NDArray[np.int64], classes: Sequence[str], folds: int, where: str
) -> None:
    """Refuse labels that cannot be cut into folds with every class in each.

    Raises
    ------
    DataError
        Naming the class and its number of genes.
    """
    sizes_k = np.bincount(codes_g[codes_g >= 0], minlength=len(classes))
    if (sizes_k > 0).sum() < 2:
        used = [repr(c) for c, n in zip(classes, sizes_k, strict=True) if n]
        raise DataError(
            f"{where} there is {'only class ' + used[0] if used else 'no labelled gene'}; gene "
            "classification needs two classes"
        )
    for name, size in zip(classes, sizes_k, strict=True):
        if size < folds:
            raise DataError(
                f"class {name!r} has {size} gene{'' if size == 1 else 's'} {where}, fewer than the "
                f"{folds} folds; use fewer folds, label more genes, or leave the class out"
            )


def _gene_column(frame: pd.DataFrame, given: str | None, path: Path | str) -> str:
    if given is not None:
        _require_column(frame, given, path)
        return given
    for column in frame.columns:
        if ensembl_share(text_of(frame[column])) >= 0.5:
            return str(column)
    named = {"gene", "gene_name", "gene_symbol", "symbol", "tf", "hgnc_symbol", "gene_id"}
    for column in frame.columns:
        if str(column).lower() in named:
            return str(column)
    raise DataError(
        f"{path} has no column of genes: none holds Ensembl ids or is called gene, symbol or the "
        f"like; its columns are {', '.join(map(str, frame.columns))}; name it with --gene-column"
    )


def _label_columns(
    frame: pd.DataFrame, given: Sequence[str] | None, genes: str, path: Path | str
) -> list[str]:
    if given:
        for column in given:
            _require_column(frame, column, path)
        return list(given)
    rest = [str(c) for c in frame.columns if str(c) != genes]
    if any(_is_marks(text_of(frame[c])) for c in rest):
        # Beside a column of marks one that marks every gene is one too.
        return [c for c in rest if _is_marks(text_of(frame[c]), all_may=True)]
    few = [c for c in rest if 2 <= len(set(text_of(frame[c])) - {""}) <= MOST_CLASSES]
    if len(few) == 1:
        return few
    found = f"{len(few)} that could be ({', '.join(few)})" if few else "none"
    raise DataError(
        f"cannot tell which column of {path} holds the labels: expected marks (yes, true, 1) or one "
        f"column of 2 to {MOST_CLASSES} names, found {found}; its columns are "
        f"{', '.join(map(str, frame.columns))}; name it with --label"
    )


def _classes(
    frame: pd.DataFrame, columns: list[str], path: Path | str
) -> tuple[NDArray[np.str_], list[str]]:
    """The class of every row, "" for none, and the classes in order, the positive one last."""
    if len(columns) == 1:
        values = text_of(frame[columns[0]])
        if _is_marks(values):
            yes = np.array([v.lower() in YES for v in values])
            no = np.array([v.lower() in NO - {""} for v in values])
            # Blanks are the other class only where nothing else says no.
            no = no if no.any() else ~yes
            name = columns[0]
            return np.where(yes, name, np.where(no, f"not {name}", "")), [f"not {name}", name]
        return values, sorted(set(values.tolist()) - {""})
    marked = []
    for column in columns:
        values = text_of(frame[column])
        strange = sorted({v for v in values.tolist() if v.lower() not in YES | NO})
        if strange:
            raise DataError(
                f"the column {column!r} of {path} holds {strange[0]!r}; of several label columns "
                "each must hold marks: yes, true, 1, or nothing"
            )
        marked.append([v.lower() in YES for v in values])
    rows = list(zip(*marked, strict=True))
    found = np.array(["+".join(c for c, m in zip(columns, row, strict=True) if m) for row in rows])
    place = {c: i for i, c in enumerate(columns)}

    def rank(name: str) -> tuple[int, list[int]]:
        parts = name.split("+")
        return len(parts), [place.get(p, 0) for p in parts]

    return found, sorted(set(found.tolist()) - {""}, key=rank)


def _is_marks(values: NDArray[np.str_], *, all_may: bool = False) -> bool:
    """Whether a column says yes of some genes, and not of all unless ``all_may``."""
    lower = {v.lower() for v in values.tolist()}
    return lower <= YES | NO and bool(lower & YES) and (all_may or bool(lower & NO))


def _one_class_each(
    ids: NDArray[np.str_], classes: NDArray[np.str_], path: Path | str
) -> NDArray[np.int64]:
    """Rows to keep: the first of every gene."""
    class_of: dict[str, str] = {}
    keep: list[int] = []
    for row, (gene, name) in enumerate(zip(ids.tolist(), classes.tolist(), strict=True)):
        if class_of.setdefault(gene, name) != name:
            raise DataError(
                f"{path} says {class_of[gene]!r} and {name!r} of the gene {gene}; every gene needs "
                "one class"
            )
        if len(class_of) > len(keep):
            keep.append(row)
    return np.array(keep, dtype=np.int64)


def _require_column(frame: pd.DataFrame, column: str, path: Path | str) -> None:
    if column in frame.columns:
        return
    close = nearest(column, map(str, frame.columns))
    hint = f"did you mean {close!r}? There are" if close else "there are"
    raise DataError(
        f"{path} has no column {column!r}: {hint}: {', '.join(map(str, frame.columns))}"
    )
