"""Coordinates and cluster of every cell, streamed from a table of millions of rows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.data.disk.source import open_source
from cellwright.data.opening import translated
from cellwright.data.prepare.csv_table import open_csv
from cellwright.errors import DataError

_ANNDATA = (".h5ad", ".zarr")
_MISSING = frozenset({"", "na", "n/a", "nan", "none", "null", "<na>"})
Piece = tuple[NDArray[np.float64], NDArray[np.int64], list[str | None]]
"""Coordinates (n, 2), cluster of each cell as a place in the list, -1 for none."""


@dataclass(frozen=True)
class MapPoints:
    """The cells that have coordinates, in the order of the file.

    ``xy_n2`` is finite; ``code_n`` points into ``aliases``, -1 where a cell has no cluster.
    """

    xy_n2: NDArray[np.float64]
    code_n: NDArray[np.int32]
    aliases: list[str]
    n_without_coordinates: int

    @property
    def n_read(self) -> int:
        """Rows of the file."""
        return len(self.code_n) + self.n_without_coordinates


def read_points(
    path: Path | str, *, x: str = "x", y: str = "y", cluster: str = "cluster_alias"
) -> MapPoints:
    """Read three columns of a table of cells, a piece at a time.

    Parameters
    ----------
    path
        A table of text as ``csv_table.open_csv`` reads it, or an ``.h5ad`` or ``.zarr`` whose obs
        has the columns.

    Raises
    ------
    DataError
        If the file cannot be read, a column is missing (the nearest is named), a coordinate is not
        a number, or no cell has coordinates.
    """
    path = Path(path)
    pieces = _of_obs if path.suffix.lower() in _ANNDATA else _of_csv
    known: dict[str, int] = {}
    xy_parts: list[NDArray[np.float64]] = []
    code_parts: list[NDArray[np.int32]] = []
    n_read = 0
    for xy, own, names in pieces(path, (x, y, cluster)):
        n_read += len(xy)
        there = np.isfinite(xy).all(axis=1)
        codes = [-1 if name is None else known.setdefault(name, len(known)) for name in names]
        # One more at the end, which the place -1 of a missing cluster points to.
        code_n = np.array([*codes, -1], dtype=np.int32)[own]
        xy_parts.append(xy[there])
        code_parts.append(code_n[there])
    n = sum(map(len, code_parts))
    if not n:
        raise DataError(
            f"{path} has nothing to draw: none of its {n_read:,} rows has a number in both {x!r} "
            f"and {y!r}"
        )
    return MapPoints(np.concatenate(xy_parts), np.concatenate(code_parts), list(known), n_read - n)


def _of_csv(path: Path, columns: tuple[str, str, str]) -> Iterator[Piece]:
    table = open_csv(path)
    before = 0
    for part in table.chunks(columns):
        xy = np.column_stack([_numbers(part[name], path, before) for name in columns[:2]])
        own, texts = pd.factorize(part[columns[2]].to_numpy(dtype=object))
        yield xy, own, [_alias(text) for text in texts]
        before += len(part)


def _of_obs(path: Path, columns: tuple[str, str, str]) -> Iterator[Piece]:
    with open_source(path) as source, translated(path):
        x, y, cluster = (source.obs.column(name) for name in columns)
        for name in columns[:2]:
            if source.obs.kinds[name] != "numeric":
                raise DataError(
                    f"column {name!r} of obs holds {source.obs.kinds[name]} values, expected numbers"
                )
        xy = np.column_stack([_floats(v) for v in (x, y)])
        own, texts = pd.factorize(cluster)
        yield xy, own, [_alias(text) for text in texts]


def _floats(values: pd.Series) -> NDArray[np.float64]:
    filled: Any = values.astype("Float64")
    return filled.to_numpy(dtype="float64", na_value=np.nan)


def _numbers(texts: pd.Series, path: Path, before: int) -> NDArray[np.float64]:
    """Text to numbers; missing is NaN, anything else that is no number is refused with its row."""
    values: Any = pd.to_numeric(texts, errors="coerce")
    values_n = values.to_numpy(dtype=np.float64)
    absent = texts[np.isnan(values_n)]
    wrong = [text for text in absent.unique() if str(text).strip().lower() not in _MISSING]
    if wrong:
        row = int(np.flatnonzero((texts == wrong[0]).to_numpy())[0])
        raise DataError(
            f"{path}: column {texts.name!r} holds {wrong[0][:40]!r} in row {before + row + 1:,}, "
            "expected a number (with a point, not a comma)"
        )
    return values_n


def _alias(value: object) -> str | None:
    """As text without spaces, 2523 for 2523.0 as a column with gaps writes it, None if missing."""
    text = re.sub(r"^(\d+)\.0+$", r"\1", str(value).strip())
    return None if text.lower() in _MISSING else text


def read_columns(path: Path | str, columns: Sequence[str]) -> pd.DataFrame:
    """Some columns of a small table as text without spaces around it; missing is None.

    Raises
    ------
    DataError
        If the file cannot be read or a column is missing.
    """
    table = pd.concat(list(open_csv(path).chunks(columns)), ignore_index=True)
    return pd.DataFrame({c: [_alias(text) for text in table[c]] for c in columns}, dtype=object)
