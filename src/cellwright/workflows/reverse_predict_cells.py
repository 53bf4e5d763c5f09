"""A user's cells for a reverse run: their states, controls and counts on the run's genes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.reading import counts_of, read_cells
from cellwright.errors import DataError, SettingsError
from cellwright.perturbation.reverse import CONTROL_NAMES, Screen
from cellwright.workflows.reverse_run import ReverseRun
from cellwright.workflows.reverse_screen import values_of

STATES = ("state", "condition", "perturbation", "disease", "status", "treatment", "group")
CONTROLS = (*CONTROL_NAMES, "normal", "healthy", "untreated", "unstimulated", "wildtype", "WT")


@dataclass(frozen=True)
class StateCells:
    """The user's cells on the run's genes: log expression, which genes are measured, states."""

    expression_ng: sp.csr_matrix
    measured_g: NDArray[np.bool_]
    screen: Screen
    var: pd.DataFrame
    notes: tuple[str, ...]


def state_cells(
    run: ReverseRun,
    source: AnnData | Path | str,
    case: Sequence[str],
    control: str | None,
    column: str | None,
    batch: str | None,
    *,
    layer: str | None,
    assume_counts: bool,
) -> StateCells:
    """Read cells, find their states and bring them to the genes of the run.

    Raises
    ------
    DataError, SettingsError
        If there are no such states, no counts, or too little in common with the run.
    """
    adata = read_cells(source)
    obs = adata.obs
    column = _column(obs, column, STATES, "--state-column")
    values = obs[column]
    state_n = np.where(values.isna(), "", values.astype(str).str.strip()).astype(str)
    present = [str(s) for s in np.unique(state_n) if s]
    if not present:
        raise DataError(f"no cell has a value in the column {column!r}, which names states")
    control = _control(present, control, column)
    for name in case:
        if name not in present:
            close = nearest(name, present)
            raise SettingsError(
                f"no cell is {name!r} in {column!r}"
                + (
                    f": did you mean {close!r}?"
                    if close
                    else f": it holds {', '.join(present[:5])}"
                )
            )
        if name == control:
            raise SettingsError(f"{name!r} is case and control; name two states")
    cases = tuple(dict.fromkeys(case)) or tuple(s for s in present if s != control)
    if not cases:
        raise DataError(f"every cell is {control!r} in {column!r}: there is no case to explain")
    alignment = run.vocabulary.align(adata.var)
    counts = counts_of(adata, layer=layer, assume_counts=assume_counts)
    counts = run.vocabulary.take(counts, alignment)
    code = {control: -1} | {name: i for i, name in enumerate(cases)}
    condition_n = np.array([code.get(s, -2) for s in state_n], dtype=np.int64)
    empty = np.asarray(counts.sum(axis=1)).ravel() == 0
    notes = []
    if (empty & (condition_n > -2)).any():
        number = int((empty & (condition_n > -2)).sum())
        notes.append(f"Cells without a count of the run's genes, which are left out: {number}.")
        condition_n = np.where(empty, -2, condition_n)
    for name in (control, *cases):
        if not (condition_n == code[name]).any():
            raise DataError(
                f"no cell that is {name!r} in {column!r} has a count of the run's genes"
            )
    missing = int((alignment.columns_g < 0).sum())
    if missing:
        notes.append(
            f"{missing} of the {len(run.vocabulary)} genes of the run are not measured and count "
            "as unchanged."
        )
    batch_n = np.full(len(obs), "all")
    if batch is not None:
        batch_n = obs[_column(obs, batch, (), "--batch")].astype(str).to_numpy(dtype=str)
    screen = Screen(
        conditions=cases,
        genes_p=tuple(() for _ in cases),
        condition_n=condition_n,
        candidates=run.candidates,
        targets_pc=np.zeros((len(cases), len(run.candidates)), dtype=bool),
        batch_n=batch_n,
    )
    keep = run.kept_g
    return StateCells(
        values_of(counts, run.settings.values),
        (alignment.columns_g >= 0)[keep],
        screen,
        adata.var,
        tuple(notes),
    )


def _column(obs: pd.DataFrame, given: str | None, usual: Sequence[str], option: str) -> str:
    if given is None:
        found = [name for name in usual if name in obs.columns]
        if not found:
            raise DataError(
                f"no column of obs names states (looked for {', '.join(usual)}; it has "
                f"{', '.join(map(str, obs.columns)) or 'none'}): name it with {option}"
            )
        return found[0]
    if given not in obs.columns:
        close = nearest(given, map(str, obs.columns))
        raise DataError(
            f"obs has no column {given!r} for {option}"
            + (f": did you mean {close!r}?" if close else "")
        )
    return given


def _control(present: Sequence[str], control: str | None, column: str) -> str:
    if control is not None and control not in present:
        close = nearest(control, present)
        raise SettingsError(
            f"no cell is {control!r} in {column!r}"
            + (f": did you mean {close!r}?" if close else f": it holds {', '.join(present[:5])}")
        )
    if control is not None:
        return control
    usual = {name.lower() for name in CONTROLS}
    found = [name for name in present if name.lower() in usual]
    if not found:
        raise DataError(
            f"no state in {column!r} is called like controls ({', '.join(CONTROLS[:3])} …), but "
            f"{', '.join(present[:5])}; name them with --control"
        )
    return found[0]
