"""What stands in one column of a table: its categories, counts, examples, and across another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.tables import Table
from cellwright.errors import DataError

_MOST_FREQUENT = 10
_EXAMPLES = 5
_LISTED = 1000
# A numeric column with more values than this is a measurement, not a label.
_LABEL_VALUES = 100


@dataclass(frozen=True)
class CrossTable:
    """Cells by the values of two columns; what is beyond the ten most frequent is summed up."""

    by: str
    rows: list[str]
    columns: list[str]
    counts: list[list[int]]

    def to_dict(self) -> dict[str, Any]:
        return {
            "by": self.by,
            "rows": self.rows,
            "columns": self.columns,
            "counts": self.counts,
        }


@dataclass(frozen=True)
class ColumnSummary:
    """One column of n cells.

    ``categories``: every value with its number of cells, most frequent first (the first thousand).
    ``examples``: the first few different values, in the order of the cells. ``quantiles``:
    of a numeric column. ``wanted``: the values asked for with their numbers of cells.
    """

    name: str
    kind: str
    n: int
    n_missing: int
    n_categories: int
    n_unused: int
    categories: list[tuple[str, int]]
    examples: list[str]
    quantiles: dict[str, float] | None
    wanted: list[tuple[str, int]] | None
    cross: CrossTable | None

    @property
    def most_frequent(self) -> list[tuple[str, int]]:
        """The ten most frequent values with their numbers of cells."""
        return self.categories[:_MOST_FREQUENT]

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "n_categories": self.n_categories,
            "n_missing": self.n_missing,
            "n_unused": self.n_unused,
            "most_frequent": _pairs(self.most_frequent),
            "categories": _pairs(self.categories),
            "examples": self.examples,
            "quantiles": self.quantiles,
            "values": None if self.wanted is None else _pairs(self.wanted),
            "cross": None if self.cross is None else self.cross.to_dict(),
        }


def summarize_column(
    table: Table, name: str, *, by: str | None = None, values: Sequence[str] | None = None
) -> ColumnSummary:
    """Summarize one column of a table.

    Parameters
    ----------
    by
        Another column, for a cross table of the ten most frequent values of both (of ``values``
        if given).
    values
        Values whose cells are to be counted.

    Raises
    ------
    DataError
        If a column or a value does not exist; the nearest is named.
    """
    raw = table.column(name)
    labels = as_labels(raw)
    counted = labels.value_counts(sort=False)
    # Ties in the order of the names, so that the same file always reads the same.
    order = np.lexsort((counted.index.to_numpy().astype(str), -counted.to_numpy()))
    categories = [(str(counted.index[i]), int(counted.iloc[i])) for i in order]
    wanted = None if values is None else _count_wanted(name, dict(categories), values)
    cross = None
    if by is not None:
        rows = [value for value, _ in wanted or categories[:_MOST_FREQUENT]]
        cross = _cross(labels, rows, as_labels(table.column(by)), by)
    known = table.n_categories.get(name)
    return ColumnSummary(
        name=name,
        kind=table.kinds[name],
        n=table.n,
        n_missing=int(labels.isna().sum()),
        n_categories=len(categories),
        n_unused=0 if known is None else known - len(categories),
        categories=categories[:_LISTED],
        examples=[str(v) for v in labels.dropna().drop_duplicates()[:_EXAMPLES]],
        quantiles=_quantiles(raw) if table.kinds[name] == "numeric" else None,
        wanted=wanted,
        cross=cross,
    )


def is_measurement(summary: ColumnSummary) -> bool:
    """True for a numeric column with so many values that listing them says little."""
    return summary.quantiles is not None and summary.n_categories > _LABEL_VALUES


def lists_well(summary: ColumnSummary) -> bool:
    """False for a measurement, and for a column with another value in every cell."""
    every = summary.n_categories == summary.n - summary.n_missing > _MOST_FREQUENT
    return not (every or is_measurement(summary))


def as_labels(values: pd.Series) -> pd.Series:
    """Values as text, missing ones as None; 3.0 becomes "3"."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        texts = as_labels(pd.Series(values.cat.categories)).to_numpy(dtype=object)
        codes = values.cat.codes.to_numpy()
        found = np.full(len(values), None, dtype=object)
        found[codes >= 0] = texts[codes[codes >= 0]]
        return pd.Series(found, dtype=object)
    present = values.notna().to_numpy()
    found = np.full(len(values), None, dtype=object)
    found[present] = [_label(v) for v in values.to_numpy(dtype=object)[present]]
    return pd.Series(found, dtype=object)


def _label(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _count_wanted(
    name: str, counts: dict[str, int], values: Sequence[str]
) -> list[tuple[str, int]]:
    for value in values:
        if value not in counts:
            close = nearest(value, counts)
            some = ", ".join(list(counts)[:_MOST_FREQUENT])
            hint = f"did you mean {close!r}?" if close else f"the most frequent are {some}"
            raise DataError(f"no cell has {value!r} in column {name!r}: {hint}")
    return [(value, counts[value]) for value in values]


def _cross(labels: pd.Series, rows: list[str], across: pd.Series, by: str) -> CrossTable:
    filled = across.where(across.notna(), "(missing)")
    columns = [str(c) for c in filled.value_counts().index[:_MOST_FREQUENT]]
    if filled.nunique() > len(columns):
        filled = filled.where(filled.isin(columns), "(other)")
        columns.append("(other)")
    shown = labels.where(labels.isin(rows) | labels.isna(), "(other)").fillna("(missing)")
    row_names = rows + [extra for extra in ("(other)", "(missing)") if (shown == extra).any()]
    table = pd.crosstab(shown.to_numpy(), filled.to_numpy())
    table = table.reindex(index=row_names, columns=columns, fill_value=0)
    return CrossTable(by, row_names, columns, table.to_numpy().astype(int).tolist())


def _quantiles(values: pd.Series) -> dict[str, float] | None:
    return quantiles(pd.to_numeric(values, errors="coerce").dropna().to_numpy(dtype=float))


def quantiles(numbers: NDArray[Any]) -> dict[str, float] | None:
    """Lowest, 5 %, 25 %, median, 75 %, 95 % and highest finite value, and the mean of them."""
    numbers = numbers[np.isfinite(numbers)]
    if numbers.size == 0:
        return None
    names = ("min", "q05", "q25", "median", "q75", "q95", "max")
    found = np.quantile(numbers, [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1])
    return dict(zip(names, found.tolist(), strict=True)) | {"mean": float(np.mean(numbers))}


def _pairs(pairs: list[tuple[str, int]]) -> list[dict[str, Any]]:
    return [{"value": value, "n": n} for value, n in pairs]
