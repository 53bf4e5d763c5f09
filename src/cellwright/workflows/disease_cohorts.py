"""Cohorts for a disease test: the one in the file, and others made from its normal cells anew."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.gene_sets import read_gene_set
from cellwright.data.prepare.gene_list import match_genes
from cellwright.data.reading import counts_of, read_cells
from cellwright.errors import DataError
from cellwright.evaluation.disease_designs import Cohort
from cellwright.perturbation.disease import (
    NORMAL,
    Diseased,
    DiseaseSettings,
    Program,
    simulate_disease,
)
from cellwright.workflows.subject import Subject

STAGE = "disease-simulate"


@dataclass(frozen=True)
class Simulation:
    """How a file was simulated, from its own record: programs, settings, cell types."""

    programs: tuple[Program, ...]
    settings: DiseaseSettings
    type_column: str | None
    cell_types: tuple[str, ...]


@dataclass(frozen=True)
class BaseCells:
    """Normal cells that cohorts are made from. whole: all base cells of the file, not a part."""

    obs: pd.DataFrame
    var: pd.DataFrame
    counts_ng: sp.csr_matrix
    whole: bool

    def types(self, simulation: Simulation) -> tuple[NDArray[np.str_], NDArray[np.bool_] | None]:
        """Cell types of the law of counts, and which cells can show a disease."""
        column = simulation.type_column
        if column is None:
            return np.full(len(self.obs), "all"), None
        types_n = self.obs[column].astype(str).to_numpy(dtype=str)
        shown = np.isin(types_n, simulation.cell_types) if simulation.cell_types else None
        return types_n, shown


def read_simulation(uns: Any, var: pd.DataFrame) -> Simulation | None:
    """The last simulation noted in ``uns["cellwright"]``; None if there is none.

    Raises
    ------
    DataError
        If the record does not name its genes, or they are not in the file.
    """
    slot = uns.get("cellwright", {})
    keys = sorted(k for k in slot if str(k).endswith(STAGE)) if hasattr(slot, "keys") else []
    if not keys:
        return None
    facts = json.loads(str(slot[keys[-1]]))
    position = {str(name): i for i, name in enumerate(var.index)}
    programs = []
    for state, found in facts["programs"].items():
        if "names" not in found:
            raise DataError(
                f"the record of the simulation does not name the genes of {state!r}; simulate the "
                "file again with this version"
            )
        columns = [position[name] for name in found["names"] if name in position]
        if not columns:
            raise DataError(
                f"none of the {len(found['names'])} genes of {state!r} is in the file any more: "
                f"it was made with {', '.join(found['names'][:3])}"
            )
        programs.append(Program(state, np.array(columns, dtype=np.int64), float(found["fold"])))
    settings = DiseaseSettings(
        tuple(float(d) for d in facts["doses"]),
        float(facts["penetrance"]),
        bool(facts["keep_depth"]),
        bool(facts["paired"]),
        int(facts["seed"]),
    )
    types = tuple(str(t) for t in facts["cell_types"])
    return Simulation(tuple(programs), settings, facts["type_column"], types)


def scored_programs(
    var: pd.DataFrame, simulation: Simulation | None, up: str | None, down: str | None
) -> dict[str, NDArray[np.int64]]:
    """Columns of the genes that are scored: those of the simulation, or those the user names.

    Raises
    ------
    DataError
        If no gene of a named set is there.
    """
    if up is None and down is None:
        found = () if simulation is None else simulation.programs
        return {program.state: program.columns for program in found}
    return {
        name: match_genes(read_gene_set(given, f"--{name}").genes, var).columns
        for name, given in (("up", up), ("down", down))
        if given is not None
    }


def read_base(
    subject: Subject,
    cohort: Cohort,
    normal: str,
    simulation: Simulation,
    base: AnnData | Path | str | None,
) -> BaseCells:
    """The cells a cohort was made from: those of ``base``, else the normal cells of the cohort.

    Raises
    ------
    DataError
        If ``base`` lacks base cells or genes of the cohort, or its counts are others.
    """
    normal_n = cohort.state_codes_n == cohort.classes.index(normal)
    names = np.unique(cohort.base_n)
    if base is None:
        rows = np.flatnonzero(normal_n)
        obs = subject.cells.obs.iloc[rows].copy()
        obs.index = pd.Index(cohort.base_n[rows])
        counts = sp.csr_matrix(subject.counts_ng[rows])
        found = BaseCells(obs, subject.cells.var, counts, len(rows) == len(names))
    else:
        cells = read_cells(base)
        place = pd.Index(cells.obs_names.astype(str)).get_indexer(pd.Index(names))
        if (place < 0).any():
            raise DataError(
                f"--base lacks {int((place < 0).sum())} of the {len(names)} base cells "
                f"({str(names[place < 0][0])!r} first); give the file the cohort was simulated from"
            )
        if not cells.var_names.equals(subject.cells.var_names):
            raise DataError(
                f"--base has {cells.n_vars} genes and the cohort {subject.cells.n_vars}, or in "
                "another order; give the file the cohort was simulated from"
            )
        place = np.sort(place)
        counts = counts_of(cells, assume_counts=subject.assume_counts)[place]
        if not simulation.settings.keep_depth:
            rows = np.flatnonzero(normal_n)
            at = pd.Index(cells.obs_names[place].astype(str)).get_indexer(
                pd.Index(cohort.base_n[rows])
            )
            other = np.asarray(abs(counts[at] - subject.counts_ng[rows]).sum(axis=1)).ravel() > 0
            if other.any():
                raise DataError(
                    f"the normal cell {str(cohort.base_n[rows][other][0])!r} has other counts in "
                    "--base than in the cohort; give the file the cohort was simulated from"
                )
        found = BaseCells(cells.obs.iloc[place].copy(), cells.var, sp.csr_matrix(counts), True)
    column = simulation.type_column
    if column is not None and column not in found.obs.columns:
        close = nearest(column, map(str, found.obs.columns))
        raise DataError(
            f"the simulation took cell types from {column!r}, which obs lacks"
            + (f"; did you mean {close!r}?" if close else "")
        )
    return found


def new_cohort(
    base: BaseCells,
    simulation: Simulation,
    donor_b: NDArray[np.str_] | None,
    donor_name: str,
    *,
    sets: Sequence[NDArray[np.int64]] | None = None,
    dose: float | None = None,
    paired: bool = False,
    seed: int = 0,
) -> tuple[Subject, Cohort, dict[str, NDArray[np.int64]]]:
    """A cohort made from base cells, and the columns of its programs.

    Parameters
    ----------
    sets
        Genes in place of the programs' own, one array each.
    dose
        One dose for all; 0 changes nothing. None: as simulated.
    paired
        Every base cell in every state.
    """
    programs = [
        replace(
            program,
            columns=program.columns if sets is None else sets[i],
            fold=program.fold if dose != 0 else 1.0,
        )
        for i, program in enumerate(simulation.programs)
    ]
    settings = replace(
        simulation.settings,
        paired=paired,
        seed=seed,
        doses=simulation.settings.doses if dose is None else (dose or 1.0,),
    )
    types_n, shown = base.types(simulation)
    made: Diseased = simulate_disease(base.counts_ng, types_n, programs, settings, can_show_n=shown)
    names_b = np.asarray(base.obs.index, dtype=str)
    base_m = names_b[made.base_m]
    label_m = np.char.add(np.char.add(base_m, "|"), made.state_m)
    if paired and len(settings.doses) > 1:
        label_m = np.char.add(label_m, np.array([f"|{d:g}" for d in made.dose_m]))
    obs = base.obs.iloc[made.base_m].copy()
    obs.index = pd.Index(label_m)
    counts = sp.csr_matrix(made.counts_mg, dtype=np.float32)
    subject = Subject(AnnData(counts, obs=obs, var=base.var), counts)
    classes = (NORMAL, *(program.state for program in programs))
    codes = pd.Index(classes).get_indexer(pd.Index(made.state_m)).astype(np.int64)
    cohort = Cohort(
        codes,
        classes,
        label_m.astype(np.str_),
        base_m.astype(np.str_),
        None if donor_b is None else donor_b[made.base_m],
        donor_name,
    )
    return subject, cohort, {program.state: program.columns for program in programs}
