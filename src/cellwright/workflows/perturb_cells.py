"""The cells whose genes are edited: drawn from a file, with their states and donors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.data.blocks import iter_blocks
from cellwright.data.reading import read_cells
from cellwright.errors import DataError
from cellwright.workflows.designs import batch_column, group_column, group_values
from cellwright.workflows.perturb_goal import Goal, read_goal


@dataclass(frozen=True)
class DrawnCells:
    """Some cells in memory, with all their genes.

    cells: counts as ``X``; counts_ng: the same. edited_n: True for those whose genes are edited,
    False for cells that are already in the state to reach. group: the column of donors or
    libraries, and groups_n its values. of: cells of the file that could have been drawn.
    """

    cells: AnnData
    counts_ng: sp.csr_matrix
    edited_n: NDArray[np.bool_]
    goal: Goal | None
    group: str | None
    groups_n: NDArray[np.str_] | None
    of: int


def draw_cells(
    source: AnnData | Path | str,
    *,
    states: str | None,
    goal: str | None,
    group: str | None,
    max_cells: int,
    seed: int,
    layer: str | None,
    assume_counts: bool,
) -> DrawnCells:
    """Draw up to ``max_cells`` cells (of each state where there is a goal), and read only those.

    Raises
    ------
    DataError, SettingsError
        If there are no counts, or a column or state is not there.
    """
    from_file = not isinstance(source, AnnData)
    subject = read_cells(source, backed=from_file)
    try:
        obs = subject.obs
        aim = read_goal(obs, states, goal)
        column = group_column(obs, group, aim.column if aim else "")
        if group == "auto":
            column = batch_column(obs, None, aim.column if aim else "")
        rng = np.random.default_rng(seed)
        if aim is None:
            parts = [np.arange(subject.n_obs)]
        else:
            state_n = obs[aim.column].astype("string").to_numpy(dtype=object, na_value="")
            parts = [np.flatnonzero(state_n == name) for name in (aim.start, aim.end)]
        drawn = [rng.permutation(rows)[:max_cells] for rows in parts]
        rows = np.sort(np.concatenate(drawn))
        blocks = iter_blocks(subject, layer=layer, rows=rows, assume_counts=assume_counts)
        counts_ng = sp.csr_matrix(sp.vstack([block.counts_ng for block in blocks], format="csr"))
        cells = AnnData(counts_ng, obs=obs.iloc[rows].copy(), var=subject.var.copy())
    finally:
        if subject.isbacked and from_file:
            subject.file.close()
    if not counts_ng.nnz:
        raise DataError(f"the {len(rows)} cells drawn have no counts at all")
    return DrawnCells(
        cells=cells,
        counts_ng=counts_ng,
        edited_n=np.isin(rows, drawn[0]),
        goal=aim,
        group=column,
        groups_n=None if column is None else group_values(cells.obs, column),
        of=sum(part.size for part in parts),
    )
