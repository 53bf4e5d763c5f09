"""The cells of a disease test: their states, base cells and donors, and what is wrong with them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.split import split_unit
from cellwright.errors import DataError, SettingsError
from cellwright.evaluation.disease_designs import BASE, Cohort
from cellwright.interfaces import Check
from cellwright.workflows.designs import group_values
from cellwright.workflows.subject import Subject, read_subject


def read_cohort(
    source: AnnData | Path | str,
    *,
    state_column: str = "state",
    normal: str = "normal",
    donor: str | None = "auto",
    donor_pattern: str | None = None,
    layer: str | None = None,
    assume_counts: bool = False,
) -> tuple[Subject, Cohort, list[Check]]:
    """Read cells and find out what must not be split: base cells, and donors where there are two.

    Parameters
    ----------
    donor
        Column whose values are held out whole; ``"auto"``: donor, library or batch where a column
        is called so; None or ``"none"``: base cells only.
    donor_pattern
        Regular expression; what it finds in the column's values is the donor (``[0-9]+`` makes
        ``ctrl101`` and ``stim101`` one donor).

    Raises
    ------
    DataError
        If a column is missing (the nearest is named), no cell is normal, or all are; if the column
        asked for names one donor only, or the pattern finds nothing.
    """
    subject = read_subject(source, layer=layer, assume_counts=assume_counts)
    obs = subject.cells.obs
    state_n = _column(obs, state_column, "--state-column")
    if state_n.isna().any():
        raise DataError(
            f"{int(state_n.isna().sum())} of {len(obs)} cells have no {state_column!r} "
            f"({str(obs.index[state_n.isna()][0])!r} first); leave them out or name their state"
        )
    states = state_n.astype(str).to_numpy(dtype=str)
    found = sorted(map(str, np.unique(states)))
    if normal not in found:
        close = nearest(normal, found)
        raise DataError(
            f"no cell is in the normal state {normal!r}: {state_column!r} holds "
            f"{', '.join(map(repr, found[:6]))}"
            + (f"; did you mean {close!r}?" if close else "; name it with --normal")
        )
    if len(found) < 2:
        raise DataError(
            f"all {len(obs)} cells are {normal!r} in {state_column!r}; a test needs diseased ones"
        )
    classes = (normal, *(name for name in found if name != normal))
    codes_n = pd.Index(classes).get_indexer(pd.Index(states)).astype(np.int64)
    names_n = np.asarray(obs.index, dtype=np.str_)
    base_n = names_n
    if BASE in obs.columns:
        base_n = obs[BASE].astype(str).to_numpy(dtype=str).astype(np.str_)
    donor_n, column, checks = _donor(obs, donor, donor_pattern, state_column, codes_n)
    cohort = Cohort(codes_n, classes, names_n, base_n, donor_n, column or "donor")
    return subject, cohort, checks


def _donor(
    obs: pd.DataFrame,
    asked: str | None,
    pattern: str | None,
    state_column: str,
    codes_n: NDArray[np.int64],
) -> tuple[NDArray[np.str_] | None, str | None, list[Check]]:
    if asked is None or asked == "none":
        return None, None, []
    column = split_unit(obs.drop(columns=state_column)) if asked == "auto" else asked
    if column is None:
        said = "No column names a donor, library or batch: whole base cells are held out."
        return None, None, [Check("donors", "warning", said, "Name one with --donor.")]
    if column == state_column:
        raise DataError(f"--donor {column!r} is the state itself; name another column")
    _column(obs, column, "--donor")
    donor_n = group_values(obs, column)
    if pattern is not None:
        donor_n = _extracted(donor_n, pattern, column)
    donors = np.unique(donor_n)
    if len(donors) < 2:
        raise DataError(
            f"a donor split needs two donors, and {column!r} names one, {str(donors[0])!r}; "
            "give --donor none to hold out base cells only"
        )
    pairs = np.unique(np.stack([np.unique(donor_n, return_inverse=True)[1], codes_n]), axis=1)
    if pairs.shape[1] == len(donors) < len(obs):
        said = (
            f"Every one of the {len(donors)} {column!r} holds one state only: whatever tells them "
            "apart may pass for the state."
        )
        remedy = (
            "If the names hold state and donor together, give the donor's part: --donor-pattern."
        )
        return donor_n, column, [Check("confounded-donors", "warning", said, remedy)]
    return donor_n, column, []


def _extracted(donor_n: NDArray[np.str_], pattern: str, column: str) -> NDArray[np.str_]:
    try:
        wanted = re.compile(pattern)
    except re.error as error:
        raise SettingsError(
            f"--donor-pattern {pattern!r} is no regular expression: {error}"
        ) from None
    names, of_n = np.unique(donor_n, return_inverse=True)
    parts = []
    for name in names:
        hit = wanted.search(str(name))
        if hit is None or not hit[0]:
            raise DataError(f"--donor-pattern {pattern!r} finds nothing in {column} {str(name)!r}")
        parts.append(hit[1] if hit.groups() else hit[0])
    return np.array(parts, dtype=np.str_)[of_n]


def _column(obs: pd.DataFrame, column: str, option: str) -> pd.Series:
    if column not in obs.columns:
        close = nearest(column, map(str, obs.columns))
        known = ", ".join(map(str, obs.columns)) or "nothing"
        raise DataError(
            f"no column {column!r} in obs: "
            + (f"did you mean {close!r}?" if close else f"it has {known}; name one with {option}")
        )
    return obs[column]
