"""Make the names of cells and genes unique: by a suffix, by dropping cells, by adding up genes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from anndata.utils import make_index_unique
from numpy.typing import NDArray

from cellwright.data.disk.rewrite import (
    DEFAULT_MEMORY,
    Rewritten,
    TableEdit,
    rewrite,
)
from cellwright.data.disk.sink import Compression
from cellwright.data.disk.source import Source, open_source
from cellwright.errors import SettingsError

GeneRule = Literal["make_unique", "collapse"]
CellRule = Literal["make_unique", "drop"]


@dataclass(frozen=True)
class UniquePlan:
    """What has to be done so that every name stands once.

    ``rows``, ``columns``: positions that stay, None for all. ``merge``: for every gene the
    position in ``columns`` that its values are added to, None if genes stay apart. ``obs_names``,
    ``var_names``: new names for every row of the source, None if they stay. ``repeated_cells``,
    ``repeated_genes``: names that repeat an earlier one.
    """

    genes: GeneRule
    cells: CellRule
    rows: NDArray[np.int64] | None
    columns: NDArray[np.int64] | None
    merge: NDArray[np.int64] | None
    obs_names: pd.Index | None
    var_names: pd.Index | None
    repeated_cells: int
    repeated_genes: int

    def facts(self) -> dict[str, Any]:
        """For the record in the file and for ``--json``."""
        return {
            "genes": self.genes,
            "cells": self.cells,
            "repeated_cells": self.repeated_cells,
            "repeated_genes": self.repeated_genes,
        }

    def sentence(self) -> str:
        """How many names there were, and what was done."""
        done = {"make_unique": "given a suffix", "collapse": "added up", "drop": "dropped"}
        told = [
            f"{n:,} {what} repeated an earlier name: {done[rule]}"
            if n
            else f"every {one} name stood once"
            for n, what, one, rule in (
                (self.repeated_cells, "cells", "cell", self.cells),
                (self.repeated_genes, "genes", "gene", self.genes),
            )
        ]
        return "; ".join(told)


@dataclass(frozen=True)
class UniqueResult:
    """What ``unique`` found and wrote."""

    plan: UniquePlan
    written: Rewritten

    def to_dict(self) -> dict[str, Any]:
        """The keys of ``--json``."""
        return {
            "schema": "cellwright.unique/1",
            "n_obs": self.written.n_obs,
            "n_vars": self.written.n_vars,
            **self.plan.facts(),
            "bytes": self.written.n_bytes,
            "notes": self.written.notes,
            "out": str(self.written.path),
        }

    def text(self) -> str:
        """The same for people."""
        return "\n".join([self.plan.sentence(), self.written.sentence(), *self.written.notes])


def plan_unique(
    source: Source, genes: GeneRule = "make_unique", cells: CellRule = "make_unique"
) -> UniquePlan:
    """Find repeated names and what to do about them.

    Raises
    ------
    SettingsError
        For an unknown rule.
    """
    _check("genes", genes, get_args(GeneRule))
    _check("cells", cells, get_args(CellRule))
    obs_names, var_names = source.obs.index(), source.var.index()
    repeated_n, repeated_g = obs_names.duplicated(), var_names.duplicated()
    rows = columns = merge = new_obs = new_var = None
    if repeated_n.any():
        if cells == "drop":
            rows = np.flatnonzero(~repeated_n)
        else:
            new_obs = _unique(obs_names)
    if repeated_g.any():
        if genes == "collapse":
            columns = np.flatnonzero(~repeated_g)
            merge = var_names[columns].get_indexer(var_names).astype(np.int64)
        else:
            new_var = _unique(var_names)
    return UniquePlan(
        genes,
        cells,
        rows,
        columns,
        merge,
        new_obs,
        new_var,
        int(repeated_n.sum()),
        int(repeated_g.sum()),
    )


def unique(
    file: Path | str,
    out: Path | str,
    *,
    genes: GeneRule = "make_unique",
    cells: CellRule = "make_unique",
    keep_raw: bool = True,
    compression: Compression = "gzip",
    memory: int = DEFAULT_MEMORY,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
    dask: str | None = None,
) -> UniqueResult:
    """Write ``out``, the cells of ``file`` with every name of a cell and of a gene once.

    Parameters
    ----------
    genes
        ``make_unique`` appends -1, -2, … to a repeated name; ``collapse`` adds the values of genes
        of one name in X and in every layer and keeps the first row of var. Added up, counts stay
        counts; logarithms and scaled values lose their meaning.
    cells
        ``make_unique`` as above; ``drop`` keeps the first cell of each name.
    memory
        Bytes that matrices in work may take together.

    Raises
    ------
    DataError, RunError, SettingsError
        As :func:`~cellwright.data.disk.rewrite.rewrite`; for an unknown rule.
    """
    with open_source(file) as source:
        plan = plan_unique(source, genes, cells)
    written = rewrite(
        file,
        out,
        rows=plan.rows,
        columns=plan.columns,
        merge=plan.merge,
        obs=TableEdit(names=plan.obs_names),
        var=TableEdit(names=plan.var_names),
        stage=("unique", plan.facts()),
        keep_raw=keep_raw,
        compression=compression,
        memory=memory,
        force=force,
        progress=progress,
        workers=workers,
        dask=dask,
    )
    return UniqueResult(plan, written)


def _unique(names: pd.Index) -> pd.Index:
    with warnings.catch_warnings():
        # That some names ended in -1 before is no cause for alarm: all are unique afterwards.
        warnings.simplefilter("ignore", UserWarning)
        return make_index_unique(names.astype(str)).rename(names.name)


def _check(name: str, rule: str, rules: tuple[str, ...]) -> None:
    if rule not in rules:
        raise SettingsError(f"{name} is {rule!r}, expected {' or '.join(rules)}")
