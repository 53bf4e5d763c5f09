"""Which cells are meant: ``COLUMN=VALUE,VALUE`` read, and matched as exact text."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.columns import as_labels
from cellwright.errors import DataError, SettingsError

Where = Mapping[str, Any] | Sequence[str]
_MOST = 10
# Comparing spellings is slow; a column with more values names single cells.
_COMPARED = 20_000


@dataclass(frozen=True)
class Condition:
    """A cell meets it if the text of its value in ``column`` is one of ``values``."""

    column: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.column}={','.join(self.values)}"


@dataclass(frozen=True)
class Met:
    """A condition and the cells that meet it; ``labels``: the text of every cell's value."""

    condition: Condition
    labels: pd.Series
    mask_n: NDArray[np.bool_]

    @property
    def n(self) -> int:
        """How many cells meet it."""
        return int(self.mask_n.sum())


def parse_where(where: Where) -> list[Condition]:
    """Conditions from ``COLUMN=VALUE,VALUE`` each, or from a mapping of columns to values.

    Commas mean *or*; a value that holds a comma stands in double quotes, as in a CSV.

    Raises
    ------
    SettingsError
        If there is no column or no value.
    """
    if isinstance(where, str):
        where = [where]
    if isinstance(where, Mapping):
        return [_condition(str(column), _texts(given)) for column, given in where.items()]
    found = []
    for text in where:
        column, mark, values = text.partition("=")
        if not mark or not column.strip():
            raise SettingsError(
                f"--where is {text!r}, expected COLUMN=VALUE or COLUMN=VALUE,VALUE, such as "
                "cluster_alias=2523,210"
            )
        rows = list(csv.reader([values], skipinitialspace=True))
        found.append(_condition(column.strip(), [v.strip() for row in rows for v in row]))
    return found


def _condition(column: str, values: list[str]) -> Condition:
    values = list(dict.fromkeys(value for value in values if value))
    if not values:
        raise SettingsError(f"--where {column}= names no value; expected {column}=VALUE,VALUE")
    return Condition(column, tuple(values))


def _texts(given: Any) -> list[str]:
    values = [given] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)
    return [str(text) for text in as_labels(pd.Series(values, dtype=object))]


def meet(
    condition: Condition, column: pd.Series, others: Callable[[], Mapping[str, pd.Series]]
) -> Met:
    """The cells that meet a condition.

    Parameters
    ----------
    column
        The values of the condition's column, one per cell.
    others
        The other columns known of the cells, asked for only to say what an unknown value might
        mean.

    Raises
    ------
    DataError
        If a value stands in no cell; the sentence names what was probably meant.
    """
    labels = as_labels(column)
    counts = labels.value_counts()
    if pd.api.types.is_numeric_dtype(_inner(column)):
        values = tuple(re.sub(r"^(-?\d+)\.0+$", r"\1", value) for value in condition.values)
        condition = Condition(condition.column, tuple(dict.fromkeys(values)))
    for value in condition.values:
        if value not in counts.index:
            meant = _meant(condition.column, value, labels, others())
            raise DataError(
                f"no cell has {value!r} in {condition.column!r}: "
                + (meant or _closest(value, [str(v) for v in counts.index]))
            )
    return Met(condition, labels, labels.isin(condition.values).to_numpy())


def _meant(
    column: str, value: str, labels: pd.Series, others: Mapping[str, pd.Series]
) -> str | None:
    """What a value means that stands elsewhere, or ends in the number of a value that is here."""
    for name, other in others.items():
        if name == column:
            continue
        here = sorted(
            labels[(as_labels(other) == value).to_numpy()].dropna().unique(),
            key=lambda text: (len(text), text),
        )
        if len(here) > _MOST:
            return f"it is a value of {name!r}; give --where {name}={_quoted([value])}"
        if len(here):
            return (
                f"it is the {name} of {column} {' and '.join(here)}; give "
                f"--where {column}={_quoted(here)}"
            )
    number = re.search(r"(?<!\d)0*(\d+)\)?$", value)
    if number and (labels == number[1]).any():
        return f"it looks like a name of {column} {number[1]}; give --where {column}={number[1]}"
    return None


def _closest(value: str, known: Sequence[str]) -> str:
    close = nearest(value, known[:_COMPARED])
    if close is None:
        lower = {text.lower(): text for text in known}
        close = next((lower[text] for text in lower if value.lower() in text), None)
    some = ", ".join(known[:_MOST]) + (", …" if len(known) > _MOST else "")
    return f"did you mean {close!r}?" if close else f"the most frequent are {some or 'none'}"


def _quoted(values: Iterable[str]) -> str:
    """As it is typed in a shell."""
    text = ",".join(f'"{value}"' if "," in value else str(value) for value in values)
    return f"'{text}'" if re.search(r"[^\w,.:/+-]", text) else text


def _inner(column: pd.Series) -> Any:
    return column.cat.categories.dtype if hasattr(column, "cat") else column.dtype


def all_of(met: Sequence[Met], n: int) -> NDArray[np.int64]:
    """The positions of the cells that meet every condition.

    Raises
    ------
    DataError
        If there are none; the sentence counts the cells of each condition.
    """
    mask = np.ones(n, dtype=bool)
    for one in met:
        mask &= one.mask_n
    if not mask.any():
        each = ", ".join(f"{one.condition} ({one.n:,} cells)" for one in met)
        raise DataError(f"no cell meets all of: {each}; leave one out or choose other values")
    return np.flatnonzero(mask).astype(np.int64)
