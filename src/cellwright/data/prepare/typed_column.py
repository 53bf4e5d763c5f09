"""Text becomes the numbers, truths or words of a whole column, without losing a digit of any."""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Kind = Literal["empty", "bool", "int", "long", "float", "text"]

# What pandas.read_csv takes for a missing value.
MISSING = frozenset(
    (
        "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
        "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
    )
)  # fmt: skip
# Leading zeros are digits of an identifier, not of a number.
_INT = re.compile(r"0|-?[1-9]\d{0,17}")
_FLOAT = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[+-]?inf")
_EXACT = 2**53
_POOL = 100_000


def kind_of(texts: NDArray[Any]) -> Kind:
    """The narrowest kind that holds all of these texts exactly; missing ones count for nothing.

    ``long`` are whole numbers that a float would round: beside fractions they stay text.
    """
    kind: Kind = "empty"
    for text in map(str.strip, pd.unique(texts)):
        if text not in MISSING:
            kind = widen(kind, _kind_of_one(text))
            if kind == "text":
                break
    return kind


def widen(one: Kind, other: Kind) -> Kind:
    """The narrowest kind that holds both."""
    if one == other or other == "empty":
        return one
    if one == "empty":
        return other
    both = {one, other}
    if both == {"int", "long"}:
        return "long"
    return "float" if both == {"int", "float"} else "text"


def _kind_of_one(text: str) -> Kind:
    if _INT.fullmatch(text):
        return "int" if abs(int(text)) <= _EXACT else "long"
    if text in ("True", "False"):
        return "bool"
    found = _FLOAT.fullmatch(text)
    # Twenty digits without a point are an identifier that a float would cut.
    return "float" if found and not (len(text) > 18 and text.isdigit()) else "text"


class TypedColumn:
    """Values of one kind, filled in row by row."""

    def __init__(self, kind: Kind, size: int) -> None:
        dtypes = {"int": np.int64, "long": np.int64, "float": np.float64, "bool": np.bool_}
        self.kind = kind
        self._values: NDArray[Any] = np.zeros(size, dtype=dtypes.get(kind, object))
        self._there = np.zeros(size, dtype=bool)
        self._pool: dict[str, str] = {}

    def put(self, rows: NDArray[np.int64], texts: NDArray[Any]) -> None:
        """Set the values of some rows."""
        values, there = self._convert(texts)
        self._values[rows] = values
        self._there[rows] = there

    def differs(self, rows: NDArray[np.int64], texts: NDArray[Any]) -> NDArray[np.bool_]:
        """Where these texts are not the values that stand in the rows; missing equals missing."""
        values, there = self._convert(texts)
        here = self._there[rows]
        return (there != here) | (there & here & (values != self._values[rows]))

    def series(self, codes_n: NDArray[np.int64]) -> pd.Series:
        """The value of each row asked for, missing where the code is negative.

        Whole numbers and truths with gaps get pandas' nullable types; text that repeats or has
        gaps becomes categorical.
        """
        if len(self._values) == 0:
            return pd.Series(np.full(len(codes_n), np.nan))
        values, there = self._values[codes_n], self._there[codes_n] & (codes_n >= 0)
        if self.kind == "empty" or not there.any():
            return pd.Series(np.full(len(codes_n), np.nan))
        if self.kind == "float":
            return pd.Series(np.where(there, values, np.nan))
        if self.kind in ("int", "long"):
            return pd.Series(values if there.all() else pd.arrays.IntegerArray(values, ~there))
        if self.kind == "bool":
            return pd.Series(values if there.all() else pd.arrays.BooleanArray(values, ~there))
        values[~there] = None
        codes, words = pd.factorize(values, sort=True)
        if there.all() and len(words) == len(values):
            return pd.Series(values, dtype=object)
        return pd.Series(pd.Categorical.from_codes(codes, categories=pd.Index(words)))

    def _convert(self, texts: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        codes, written = pd.factorize(texts)
        words = [word.strip() for word in written]
        known = np.array([word not in MISSING for word in words], dtype=bool)
        if self.kind == "text":
            distinct = np.array([self._shared(word) for word in words], dtype=object)
        elif self.kind == "bool":
            distinct = np.array([word == "True" for word in words], dtype=bool)
        else:
            number = int if self.kind in ("int", "long") else float
            distinct = np.array(
                [number(word) if ok else 0 for word, ok in zip(words, known, strict=True)],
                dtype=self._values.dtype,
            )
        if not words:
            return np.zeros(len(texts), dtype=self._values.dtype), np.zeros(len(texts), dtype=bool)
        return distinct[codes], known[codes]

    def _shared(self, word: str) -> str:
        """One string for all cells that hold it; what hardly repeats is not remembered."""
        if len(self._pool) < _POOL:
            return self._pool.setdefault(word, word)
        return self._pool.get(word, word)
