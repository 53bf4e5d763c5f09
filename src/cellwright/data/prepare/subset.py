"""The cells and genes one wants out of an atlas, chosen by their labels, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cellwright.config import nearest
from cellwright.data.disk.rewrite import DEFAULT_MEMORY, TableEdit, rewrite
from cellwright.data.disk.sink import Compression
from cellwright.data.disk.source import Source, open_source
from cellwright.data.disk.target import check_target
from cellwright.data.prepare.cell_table import Joined, On, cell_table
from cellwright.data.prepare.csv_table import CsvTable, open_csv
from cellwright.data.prepare.gene_list import match_genes, read_gene_list
from cellwright.data.prepare.join import refuse_inputs
from cellwright.data.prepare.matching import Duplicates
from cellwright.data.prepare.same_values import same_values
from cellwright.data.prepare.sidecar import read_sidecar, sidecar_path, with_sidecar
from cellwright.data.prepare.subset_result import SubsetResult, count_values, cross_counts
from cellwright.data.prepare.where import Condition, Met, Where, all_of, meet, parse_where
from cellwright.errors import DataError, SettingsError


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
        counts = [] if rows is None else count_values(met, rows)
        crossed, cross = cross_counts(met, by, column)
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
