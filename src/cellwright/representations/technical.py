"""Technical shortcuts: what a label owes to sequencing depth or to the library alone.

A model that does not beat these has shown nothing about biology.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.reading import counts_of
from cellwright.data.split import split_unit
from cellwright.errors import DataError, RunError
from cellwright.representations.saved_state import load_state, save_state

SIZE_COLUMNS = (
    "libsize",
    "library_size",
    "total_counts",
    "n_counts",
    "nCount_RNA",
    "n_umi",
    "nUMI",
)
"""Columns of obs in which the size of the whole library is usually kept."""


class Depth:
    """Two numbers per cell: log counts and log genes detected, natural logarithm of one plus.

    Parameters
    ----------
    size_column
        Column of ``obs`` with the counts of the whole library, for files cut down to a panel of
        genes. None: the counts of the matrix.
    assume_counts
        Take fractions as counts, as in ``counts_of``.
    """

    name = "depth"

    def __init__(self, size_column: str | None = None, assume_counts: bool = False) -> None:
        self.size_column = size_column
        self.assume_counts = assume_counts

    def fit(self, cells: AnnData) -> Self:
        """Learn nothing: depth has no state."""
        return self

    def transform(self, cells: AnnData) -> NDArray[np.float32]:
        """(n, 2): log1p counts, log1p genes detected.

        Raises
        ------
        DataError
            If ``size_column`` is missing or holds something that is no size.
        """
        counts_ng = counts_of(cells, assume_counts=self.assume_counts)
        if self.size_column is None:
            size_n = np.asarray(counts_ng.sum(axis=1), dtype=np.float64).ravel()
        else:
            size_n = _sizes(cells.obs, self.size_column)
        # There are no explicit zeros among them.
        detected_n = np.diff(counts_ng.indptr)
        return np.log1p(np.column_stack([size_n, detected_n])).astype(np.float32)

    def save(self, path: Path) -> None:
        """Write the setting to one ``.npz``."""
        state = {"size_column": self.size_column or "", "assume_counts": self.assume_counts}
        save_state(path, self.name, state)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote."""
        state = load_state(path, cls.name)
        return cls(str(state["size_column"]) or None, bool(state["assume_counts"]))


class Batch:
    """One column per batch of the fitted cells, 1 where the cell belongs to it.

    A batch that was not there when it was fitted is a row of zeros: with whole batches held out
    this can only guess.

    Parameters
    ----------
    column
        Column of ``obs``; None: the column the cells would be split by (donor, library, batch).

    Attributes
    ----------
    column_
        The column used.
    batches_
        Its values in the fitted cells, sorted.
    """

    name = "batch"
    column_: str
    batches_: NDArray[np.str_]

    def __init__(self, column: str | None = None) -> None:
        self.column = column

    def fit(self, cells: AnnData) -> Self:
        """Note the batches of these cells.

        Raises
        ------
        DataError
            If the column is missing, or none was named and none is found.
        """
        column = self.column or split_unit(cells.obs)
        if column is None:
            raise DataError(
                "the representation 'batch' needs a column that names donor, library or batch, and "
                f"obs has none (columns: {', '.join(map(str, cells.obs.columns)) or 'none'}); "
                "name one with --group"
            )
        self.batches_ = np.unique(_named(cells.obs, column).dropna().to_numpy(dtype=str))
        self.column_ = column
        return self

    def transform(self, cells: AnnData) -> NDArray[np.float32]:
        """(n, batches) of zeros and ones."""
        if not hasattr(self, "batches_"):
            raise RunError("batch has not been fitted; call fit first")
        values = _named(cells.obs, self.column_)
        code_n = pd.Index(self.batches_).get_indexer(pd.Index(values.fillna("\0missing")))
        out_nd = np.zeros((len(values), len(self.batches_)), dtype=np.float32)
        known = np.flatnonzero(code_n >= 0)
        out_nd[known, code_n[known]] = 1.0
        return out_nd

    def save(self, path: Path) -> None:
        """Write column and batches to one ``.npz``."""
        save_state(path, self.name, {"column": self.column_, "batches": self.batches_})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote."""
        state = load_state(path, cls.name)
        out = cls(str(state["column"]))
        out.column_, out.batches_ = str(state["column"]), state["batches"]
        return out


class DepthAndBatch:
    """Depth and batch side by side: all that the shortcuts know together."""

    name = "depth+batch"

    def __init__(
        self,
        column: str | None = None,
        size_column: str | None = None,
        assume_counts: bool = False,
    ) -> None:
        self.column = column
        self.size_column = size_column
        self.assume_counts = assume_counts

    def fit(self, cells: AnnData) -> Self:
        """Note the batches of these cells."""
        self.batch_ = Batch(self.column).fit(cells)
        return self

    def transform(self, cells: AnnData) -> NDArray[np.float32]:
        """(n, 2 + batches): the columns of :class:`Depth`, then those of :class:`Batch`."""
        if not hasattr(self, "batch_"):
            raise RunError("depth+batch has not been fitted; call fit first")
        depth = Depth(self.size_column, self.assume_counts)
        return np.hstack([depth.transform(cells), self.batch_.transform(cells)])

    def save(self, path: Path) -> None:
        """Write settings and batches to one ``.npz``."""
        state = {
            "column": self.batch_.column_,
            "batches": self.batch_.batches_,
            "size_column": self.size_column or "",
            "assume_counts": self.assume_counts,
        }
        save_state(path, self.name, state)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote."""
        state = load_state(path, cls.name)
        size = str(state["size_column"]) or None
        out = cls(str(state["column"]), size, bool(state["assume_counts"]))
        out.batch_ = Batch(out.column)
        out.batch_.column_, out.batch_.batches_ = str(state["column"]), state["batches"]
        return out


def size_column(obs: pd.DataFrame) -> str | None:
    """The first column of ``obs`` that usually keeps the size of the whole library, or None."""
    by_lower = {str(column).lower(): str(column) for column in reversed(obs.columns)}
    return next((by_lower[c.lower()] for c in SIZE_COLUMNS if c.lower() in by_lower), None)


def _named(obs: pd.DataFrame, column: str) -> pd.Series:
    if column not in obs.columns:
        close = nearest(column, map(str, obs.columns))
        hint = (
            f"did you mean {close!r}?"
            if close
            else f"columns: {', '.join(map(str, obs.columns)) or 'none'}"
        )
        raise DataError(f"no column {column!r} in obs: {hint}")
    values = obs[column]
    return values.astype(object).where(values.notna(), None).map(str, na_action="ignore")


def _sizes(obs: pd.DataFrame, column: str) -> NDArray[np.float64]:
    values = _named(obs, column)
    size_n = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(size_n) | (size_n < 0))
    if len(wrong):
        raise DataError(
            f"column {column!r} holds {values.iloc[wrong[0]]!r} for cell "
            f"{obs.index[wrong[0]]}, expected the counts of its library (a number, 0 or more)"
        )
    return size_n
