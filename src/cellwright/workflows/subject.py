"""The cells under examination: read once, with their counts and what is made of them for all."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.data.hashes import cell_hashes
from cellwright.data.reading import counts_of, read_cells
from cellwright.errors import DataError
from cellwright.representations.expression import LogCounts, log_normalized


@dataclass(frozen=True)
class Subject:
    """The cells under examination with their counts, read once.

    cells: as the user gave them. slim: the same cells and genes with the counts as ``X`` and
    nothing else that is large, which is what representations are given.
    """

    cells: AnnData
    counts_ng: sp.csr_matrix
    assume_counts: bool = False

    @cached_property
    def slim(self) -> AnnData:
        return AnnData(self.counts_ng, obs=self.cells.obs, var=self.cells.var)

    @cached_property
    def expression(self) -> LogCounts:
        genes = np.asarray(self.cells.var_names, dtype=str)
        return LogCounts(log_normalized(self.counts_ng), genes, 1e4)

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        return cell_hashes(self.counts_ng)


def read_subject(
    source: AnnData | Path | str, *, layer: str | None = None, assume_counts: bool = False
) -> Subject:
    """Read cells and their counts; cell names must be unique, because scores are kept by name."""
    cells = read_cells(source)
    if not cells.obs_names.is_unique:
        twice = cells.obs_names[cells.obs_names.duplicated()][0]
        raise DataError(
            f"the cell name {twice!r} stands {int((cells.obs_names == twice).sum())} times; scores "
            "are kept by cell name: make the names unique with cellwright unique"
        )
    return Subject(cells, counts_of(cells, layer=layer, assume_counts=assume_counts), assume_counts)
