"""Simulated disease from file to file: what stands behind ``cellwright disease simulate``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.atomic import refuse_existing
from cellwright.data.gene_sets import GeneSet, read_gene_set
from cellwright.data.prepare.gene_list import GeneMatch, match_genes
from cellwright.data.reading import counts_of, read_cells, record, write_cells
from cellwright.errors import DataError, SettingsError
from cellwright.perturbation.disease import (
    Diseased,
    DiseaseSettings,
    Program,
    simulate_disease,
)

COLUMNS = ("state", "base_cell", "dose", "shows_disease")


@dataclass(frozen=True)
class DiseaseFile:
    """A simulated cohort that was written: cells by state and dose, and the genes of each program."""

    out: Path
    states: pd.DataFrame
    programs: dict[str, dict[str, Any]]
    facts: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        return {
            "schema": "cellwright.disease-simulate/1",
            "out": str(self.out),
            "states": self.states.to_dict("records"),
            "programs": self.programs,
            **self.facts,
        }

    def text(self) -> str:
        """Everything as lines for people."""
        lines = []
        for state, found in self.programs.items():
            missing = found["missing"]
            said = f"{state}: {found['found']} of {found['listed']} genes of {found['set']} found"
            if missing:
                more = ", …" if len(missing) > 10 else ""
                said += f"; missing: {', '.join(missing[:10])}{more}"
            lines.append(f"{said}; fold {found['fold']:g}")
        lines += ["", self.states.to_string(index=False), ""]
        design = "every cell in every state" if self.facts["paired"] else "each cell in one state"
        lines.append(f"{design}, seed {self.facts['seed']}; wrote {self.out}")
        if self.facts["paired"]:
            lines.append(
                "Copies of one cell are in several states: split by obs['base_cell'], or every test "
                "cell has a twin in training."
            )
        return "\n".join(lines)


def simulate_disease_file(
    source: AnnData | Path | str,
    out: Path | str,
    *,
    up: str | None = None,
    down: str | None = None,
    fold_up: float = 2.0,
    fold_down: float = 0.5,
    up_name: str = "up",
    down_name: str = "down",
    dose: Sequence[float] = (1.0,),
    type_column: str | None = None,
    cell_type: Sequence[str] = (),
    penetrance: float = 1.0,
    keep_depth: bool = False,
    paired: bool = False,
    seed: int = 0,
    layer: str | None = None,
    assume_counts: bool = False,
    force: bool = False,
) -> DiseaseFile:
    """Write cells of which some have gene programs pushed up or down, as a disease would.

    ``obs`` gets ``state`` (``normal`` or the program's name), ``base_cell`` (the cell it was made
    from: what a split must hold out whole), ``dose`` and ``shows_disease``; ``X`` holds the counts.

    Parameters
    ----------
    up, down
        Genes of each program: a text file, ``FILE.gmt:SET``, or names with commas.
    fold_up, fold_down
        How many times as much of a gene there is at dose 1; at dose d, fold**d. 1 changes nothing:
        the control that must not be found.
    type_column, cell_type
        Column of cell types, within which the law of a gene is learned; and the types that show the
        disease (default all).

    Raises
    ------
    DataError
        If no gene of a set is there, the counts are not whole numbers, or a column or cell type is
        missing (the nearest is named).
    SettingsError
        If a fold or dose cannot work, or the programs share a gene.
    RunError
        If ``out`` exists and ``force`` is False.
    """
    out = Path(out)
    settings = DiseaseSettings(tuple(dose), penetrance, keep_depth, paired, seed)
    if up is None and down is None:
        raise SettingsError("neither --up nor --down names genes; give one of them, or both")
    if not fold_up >= 1:
        raise SettingsError(f"--fold-up is {fold_up:g}, expected 1 or more")
    if not 0 < fold_down <= 1:
        raise SettingsError(f"--fold-down is {fold_down:g}, expected above 0 and up to 1")
    refuse_existing(out, force=force)
    cells = read_cells(source)
    taken = [column for column in COLUMNS if column in cells.obs.columns]
    if taken:
        raise DataError(
            f"obs has a column {taken[0]!r} already, which the simulation would write; rename it"
        )
    counts_ng = counts_of(cells, layer=layer, assume_counts=assume_counts)
    types_n, can_show_n = _types(cells.obs, type_column, cell_type)
    programs, described = [], {}
    for option, given, name, fold in (
        ("--up", up, up_name, fold_up),
        ("--down", down, down_name, fold_down),
    ):
        if given is None:
            continue
        genes = read_gene_set(given, option)
        match = match_genes(genes.genes, cells.var)
        programs.append(Program(name, match.columns, fold))
        described[name] = _described(genes, match, fold, cells.var_names)
    _refuse_shared(programs, cells.var_names)
    made = simulate_disease(counts_ng, types_n, programs, settings, can_show_n=can_show_n)
    written = _cells(cells, made)
    facts = {
        "doses": list(settings.doses),
        "penetrance": penetrance,
        "keep_depth": keep_depth,
        "paired": paired,
        "seed": seed,
        "type_column": type_column,
        "cell_types": list(cell_type),
        "n_obs": int(written.n_obs),
    }
    record(written, "disease-simulate", {**facts, "programs": described})
    write_cells(written, out, force=force)
    return DiseaseFile(out, _counted(made), described, facts)


def _types(
    obs: pd.DataFrame, column: str | None, shown: Sequence[str]
) -> tuple[NDArray[np.str_], NDArray[np.bool_]]:
    if column is None:
        if shown:
            raise SettingsError(
                f"--cell-type {shown[0]} needs --type-column: which column of obs holds the types?"
            )
        return np.full(len(obs), "all"), np.ones(len(obs), dtype=bool)
    if column not in obs.columns:
        close = nearest(column, map(str, obs.columns))
        raise DataError(
            f"no column {column!r} in obs: "
            + (
                f"did you mean {close!r}?"
                if close
                else f"it has {', '.join(map(str, obs.columns))}"
            )
        )
    types_n = obs[column].astype(str).to_numpy(dtype=str)
    known = np.unique(types_n)
    for name in shown:
        if name not in known:
            close = nearest(name, known)
            listed = ", ".join(known[:10]) + (" …" if len(known) > 10 else "")
            raise DataError(
                f"no cell is of the type {name!r} in {column!r}: "
                + (f"did you mean {close!r}?" if close else f"types: {listed}")
            )
    return types_n, np.isin(types_n, list(shown)) if shown else np.ones(len(obs), dtype=bool)


def _refuse_shared(programs: Sequence[Program], var_names: pd.Index) -> None:
    if len(programs) < 2:
        return
    one, other = programs
    shared = [str(name) for name in var_names[np.intersect1d(one.columns, other.columns)]]
    if shared:
        listed = ", ".join(shared[:5]) + (" …" if len(shared) > 5 else "")
        raise SettingsError(
            f"{listed} {'is' if len(shared) == 1 else 'are'} in {one.state!r} and in "
            f"{other.state!r}; a gene can go one way only: take it out of one of the two"
        )


def _described(
    genes: GeneSet, match: GeneMatch, fold: float, var_names: pd.Index
) -> dict[str, Any]:
    return {
        "set": genes.name,
        "listed": match.n_listed,
        "found": match.n_listed - len(match.missing),
        "genes": len(match.columns),
        "missing": match.missing,
        # Names in this file: what a test of the cohort scores and draws random sets beside.
        "names": [str(name) for name in var_names[match.columns]],
        "fold": fold,
    }


def _cells(cells: AnnData, made: Diseased) -> AnnData:
    obs = cells.obs.iloc[made.base_m].copy()
    names = np.asarray(cells.obs_names, dtype=str)[made.base_m]
    obs["state"] = pd.Categorical(made.state_m)
    obs["base_cell"] = names
    obs["dose"] = made.dose_m
    obs["shows_disease"] = made.shown_m
    if len(made.base_m) > cells.n_obs:
        dose = np.array([f"{d:g}" for d in made.dose_m])
        tail = np.where(made.state_m == "normal", "", np.char.add("-dose", dose))
        obs.index = pd.Index(np.char.add(np.char.add(np.char.add(names, "-"), made.state_m), tail))
    counts = made.counts_mg.astype(np.float32)
    return AnnData(counts, obs=obs, var=cells.var.copy(), uns=dict(cells.uns))


def _counted(made: Diseased) -> pd.DataFrame:
    table = pd.DataFrame({"state": made.state_m, "dose": made.dose_m, "shows": made.shown_m})
    found = table.groupby(["state", "dose"], as_index=False).agg(
        cells=("shows", "size"), show_it=("shows", "sum")
    )
    return found.astype({"cells": int, "show_it": int})
