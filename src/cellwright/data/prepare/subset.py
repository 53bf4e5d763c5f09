"""The cells and genes one wants out of an atlas, chosen by their labels, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.columns import CrossTable, as_labels, summarize_column
from cellwright.data.disk.rewrite import DEFAULT_MEMORY, TableEdit, readable_bytes, rewrite
from cellwright.data.disk.sink import Compression
from cellwright.data.disk.source import Source, open_source
from cellwright.data.disk.target import check_target
from cellwright.data.inspection_text import cross_lines
from cellwright.data.prepare.csv_table import CsvTable, open_csv
from cellwright.data.prepare.gene_list import GeneMatch, match_genes, read_gene_list
from cellwright.data.prepare.join import (
    Joined,
    MatchReport,
    On,
    cell_table,
    refuse_inputs,
    same_values,
)
from cellwright.data.prepare.matching import Duplicates
from cellwright.data.prepare.sidecar import read_sidecar, sidecar_path, with_sidecar
from cellwright.data.prepare.where import Condition, Met, Where, all_of, meet, parse_where
from cellwright.data.tables import table_of_frame
from cellwright.errors import DataError, SettingsError


@dataclass(frozen=True)
class ValueCount:
    """Cells with one value of a column, in the source and among those chosen."""

    column: str
    value: str
    before: int
    after: int


@dataclass(frozen=True)
class SubsetResult:
    """A subset that was written.

    ``cross``: the cells that meet every condition but one on its column ``by``, so that it shows
    what that condition left out. ``genes`` is None where all were kept, ``tables`` where none was
    joined.
    """

    out: Path
    n_obs: tuple[int, int]
    n_vars: tuple[int, int]
    n_stored: int
    n_bytes: int
    counts: list[ValueCount]
    crossed: str | None
    cross: CrossTable | None
    genes: GeneMatch | None
    tables: MatchReport | None
    columns: list[str]
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {
            "schema": "cellwright.subset/1",
            "out": str(self.out),
            "n_obs": {"before": self.n_obs[0], "after": self.n_obs[1]},
            "n_vars": {"before": self.n_vars[0], "after": self.n_vars[1]},
            "n_stored": self.n_stored,
            "bytes": self.n_bytes,
            "counts": [count.__dict__ for count in self.counts],
            "cross": None
            if self.cross is None
            else {"column": self.crossed, **self.cross.to_dict()},
            "genes": None if self.genes is None else self.genes.to_dict(),
            "join": None if self.tables is None else self.tables.to_dict(),
            "columns": self.columns,
            "notes": self.notes,
        }

    def text(self) -> str:
        """Everything as lines for people."""
        lines = [] if self.tables is None else [*self.tables.text().split("\n"), ""]
        if self.counts:
            width = max(len(f"{c.column} {c.value}") for c in self.counts)
            lines.append(f"{'cells':<{width}}  {'before':>11}  {'after':>11}")
            for c in self.counts:
                lines.append(f"{f'{c.column} {c.value}':<{width}}  {c.before:>11,}  {c.after:>11,}")
            lines.append(f"{'all':<{width}}  {self.n_obs[0]:>11,}  {self.n_obs[1]:>11,}")
            lines.append("")
        if self.cross is not None and self.crossed is not None:
            lines += [*cross_lines(self.crossed, self.cross), ""]
        if self.genes is not None:
            lines += [self.genes.text(), ""]
        if self.columns:
            lines.append(f"new in obs: {', '.join(self.columns)}")
        lines += self.notes
        lines.append(
            f"wrote {self.out}: {self.n_obs[1]:,} cells × {self.n_vars[1]:,} genes, "
            f"{readable_bytes(self.n_bytes)}"
        )
        return "\n".join(lines)


def subset(
    file: Path | str,
    out: Path | str,
    where: Where = (),
    *,
    tables: Sequence[Path | str] | Path | str = (),
    on: On = (),
    add: Sequence[str] = (),
    by: str | None = None,
    gene_list: Path | str | Sequence[str] | None = None,
    label_as: str | None = None,
    label_prefix: str = "",
    min_match: float = 0.9,
    duplicates: Duplicates = "refuse",
    replace_columns: bool = False,
    keep_raw: bool = True,
    compression: Compression = "gzip",
    memory: int = DEFAULT_MEMORY,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
    dask: str | None = None,
) -> SubsetResult:
    """Write the cells that meet every condition, and the listed genes, to a new file.

    Parameters
    ----------
    where
        ``{"cluster_alias": [2523, 210], "region": "Cerebral cortex"}``, or as typed:
        ``["cluster_alias=2523,210"]``. Values of one column mean *or*, several columns *and*;
        compared as text, where 3.0 equals "3".
    tables, on, min_match, duplicates, replace_columns
        Tables joined on the fly, as ``cell_table``; no joined copy is written. Columns beside the
        file (``join --sidecar``) are read anyway.
    add
        Columns of the tables to add to ``obs`` beside those used.
    by
        A column to count the values of the first condition by; default the second condition's.
    gene_list
        A file with one gene a line, or the genes themselves; matched to names, Ensembl ids without
        version and symbols. What is not found is reported.
    label_as, label_prefix
        A new categorical column: the prefix and the value of the first condition's column.
    keep_raw, compression, memory, force, progress, workers, dask
        As ``data.disk.rewrite.rewrite``.

    Raises
    ------
    SettingsError
        If neither cells nor genes are chosen, or a condition cannot be read.
    DataError, RunError
        If a column or value does not exist (the nearest is named), no cell meets every condition,
        no gene is found, or as ``cell_table`` and ``rewrite``.
    """
    file, out = Path(file), Path(out)
    conditions = parse_where(where)
    _check_settings(conditions, gene_list, label_as, label_prefix)
    opened = [open_csv(t) for t in ([tables] if isinstance(tables, str | Path) else tables)]
    paths = [table.path for table in opened]
    refuse_inputs(out, paths)
    check_target(out, file, force=force)
    listed = read_gene_list(gene_list) if isinstance(gene_list, str | Path) else gene_list
    with open_source(file) as plain:
        beside = read_sidecar(plain)
        source = with_sidecar(plain, beside)
        wanted = [c.column for c in conditions] + ([] if by is None else [by])
        _require_columns(wanted, source, opened)
        offered = {column for table in opened for column in table.columns}
        used = list(dict.fromkeys([*(c for c in wanted if c in offered), *add]))

        def joined_with(columns: Sequence[str] | None, lenient: bool) -> Joined:
            return cell_table(
                source,
                paths,
                on,
                columns,
                min_match=0.0 if lenient else min_match,
                duplicates="first" if lenient else duplicates,
                replace_columns=lenient or replace_columns,
            )

        joined = joined_with(used, False) if opened else None
        new = pd.DataFrame(index=pd.RangeIndex(source.obs.n)) if joined is None else joined.columns

        def column(name: str) -> pd.Series:
            return new[name] if name in new.columns else source.obs.column(name)

        def others() -> Mapping[str, pd.Series]:
            known = {name: source.obs.column(name) for name in _labels(source)}
            every = joined_with(None, True).columns if opened else new
            return known | {name: every[name] for name in every.columns}

        met = [meet(condition, column(condition.column), others) for condition in conditions]
        rows = all_of(met, source.obs.n) if met else None
        genes = None if listed is None else match_genes(listed, source.var.frame())
        edit = pd.concat([new] if beside is None else [beside, new], axis=1)
        if beside is not None:
            edit = edit.loc[:, ~edit.columns.duplicated(keep="last")]
        if label_as is not None:
            label = _label(met[0], label_prefix)
            _check_label(label_as, label, column, source, edit, replace_columns)
            edit[label_as] = label
        counts = [] if rows is None else _counts(met, rows)
        crossed, cross = _cross(met, by, column)
        n_obs, n_vars = source.obs.n, source.var.n
        notes = [] if beside is None else [f"read {sidecar_path(file)} beside the file"]
    facts = {
        "where": {str(one.condition): one.n for one in met},
        "cells": {"before": n_obs, "after": n_obs if rows is None else len(rows)},
        "genes": {"before": n_vars, "after": n_vars if genes is None else len(genes.columns)},
        "join": None if joined is None else joined.report.facts(),
        "label": None if label_as is None else {"column": label_as, "prefix": label_prefix},
    }
    written = rewrite(
        file,
        out,
        rows=rows,
        columns=None if genes is None else genes.columns,
        obs=TableEdit(add=edit) if len(edit.columns) else None,
        stage=("subset", facts),
        keep_raw=keep_raw,
        compression=compression,
        memory=memory,
        force=force,
        progress=progress,
        workers=workers,
        dask=dask,
    )
    return SubsetResult(
        out=out,
        n_obs=(n_obs, written.n_obs),
        n_vars=(n_vars, written.n_vars),
        n_stored=written.n_stored,
        n_bytes=written.n_bytes,
        counts=counts,
        crossed=crossed,
        cross=cross,
        genes=genes,
        tables=None if joined is None else joined.report,
        columns=[str(name) for name in edit.columns],
        notes=notes + written.notes,
    )


def _check_settings(
    conditions: Sequence[Condition], gene_list: Any, label_as: str | None, label_prefix: str
) -> None:
    if not conditions and gene_list is None:
        raise SettingsError(
            "nothing is chosen: name cells with --where COLUMN=VALUE or genes with --gene-list FILE"
        )
    if label_as is not None and not conditions:
        raise SettingsError(
            f"--label-as {label_as} needs a --where: it holds the values of its column"
        )
    if label_prefix and label_as is None:
        raise SettingsError(
            f"--label-prefix {label_prefix} needs --label-as, the column that it is for"
        )


def _require_columns(wanted: Sequence[str], source: Source, tables: Sequence[CsvTable]) -> None:
    known = [*source.obs.kinds, *(column for table in tables for column in table.columns)]
    for name in wanted:
        if name not in known:
            close = nearest(name, known)
            where = " or the tables" if tables else ""
            hint = f"did you mean {close!r}? There are" if close else "there are"
            more = "" if tables else "; a table that has it is joined with --table"
            there = ", ".join(dict.fromkeys(known)) or "none"
            raise DataError(f"no column {name!r} in obs{where}: {hint}: {there}{more}")


def _labels(source: Source) -> list[str]:
    """Columns of obs that can name a kind of cell: not those of fractions."""
    return [
        name
        for name, kind in source.obs.kinds.items()
        if kind != "numeric" or not pd.api.types.is_float_dtype(source.obs.column(name).dtype)
    ]


def _label(first: Met, prefix: str) -> pd.Series:
    values = list(first.condition.values)
    names = [prefix + value for value in values]
    codes = pd.Categorical(first.labels.where(first.mask_n), categories=values).codes
    return pd.Series(pd.Categorical.from_codes(codes, categories=pd.Index(names)))


def _check_label(
    name: str,
    label: pd.Series,
    column: Callable[[str], pd.Series],
    source: Source,
    edit: pd.DataFrame,
    replace: bool,
) -> None:
    if replace or (name not in source.obs.kinds and name not in edit.columns):
        return
    before, chosen = column(name), label.notna().to_numpy()
    if not same_values(before[chosen], label[chosen]):
        raise DataError(
            f"obs has a column {name!r} already, with other values; choose another name for "
            "--label-as, or pass --replace-columns"
        )


def _counts(met: Sequence[Met], rows: NDArray[np.int64]) -> list[ValueCount]:
    found = []
    for one in met:
        before = one.labels.value_counts()
        after = one.labels.iloc[rows].value_counts()
        found += [
            ValueCount(
                one.condition.column, value, int(before.get(value, 0)), int(after.get(value, 0))
            )
            for value in one.condition.values
        ]
    return found


def _cross(
    met: Sequence[Met], by: str | None, column: Callable[[str], pd.Series]
) -> tuple[str | None, CrossTable | None]:
    """The first condition's values by ``by``, in the cells that meet every condition but those on it."""
    if not met:
        return None, None
    first = met[0]
    if by is None:
        by = next(
            (m.condition.column for m in met if m.condition.column != first.condition.column), None
        )
    if by is None or by == first.condition.column:
        return None, None
    mask = np.ones(len(first.mask_n), dtype=bool)
    for one in met:
        if one.condition.column != by:
            mask &= one.mask_n
    across = next((m.labels for m in met if m.condition.column == by), None)
    across = as_labels(column(by)) if across is None else across
    name = first.condition.column
    frame = pd.DataFrame({name: first.labels.to_numpy()[mask], by: across.to_numpy()[mask]})
    there = set(frame[name])
    values = [value for value in first.condition.values if value in there]
    summary = summarize_column(table_of_frame(frame, "cells"), name, by=by, values=values)
    return name, summary.cross
