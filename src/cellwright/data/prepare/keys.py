"""What cells are looked up by: the distinct texts of a column, compared without surrounding spaces."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.data.columns import as_labels

NAMES = "obs_names"

_WHOLE = re.compile(r"(-?\d+)\.0+")


@dataclass(frozen=True)
class Keys:
    """What n cells are looked up by.

    ``name`` is ``obs_names`` or a column, ``values`` its distinct texts, ``codes_n`` the position
    of each cell's text among them (-1 where it has none), ``numbers`` whether they are whole
    numbers, ``n_stripped`` how many cells had spaces around theirs.
    """

    name: str
    values: pd.Index
    codes_n: NDArray[np.int64]
    numbers: bool
    n_stripped: int

    @property
    def n_keyed(self) -> int:
        """How many cells have a key."""
        return int((self.codes_n >= 0).sum())

    def clean(self, texts: NDArray[Any]) -> tuple[NDArray[Any], int]:
        """Keys of a table as they are compared, and how many had spaces around them."""
        stripped = np.array([text.strip() for text in texts], dtype=object)
        n_stripped = int((stripped != texts).sum())
        if self.numbers:
            # A column that once had gaps was written as 2523.0.
            stripped[:] = [m[1] if (m := _WHOLE.fullmatch(t)) else t for t in stripped]
        return stripped, n_stripped


def keys_of(name: str, values: pd.Series | pd.Index) -> Keys:
    """The distinct keys in a column or index."""
    series = pd.Series(np.asarray(values, dtype=object)) if isinstance(values, pd.Index) else values
    labels = as_labels(series).to_numpy(dtype=object)
    codes, words = pd.factorize(labels)
    stripped = np.array([str(word).strip() for word in words], dtype=object)
    changed = stripped != np.asarray(words, dtype=object)
    n_stripped = int(changed[codes[codes >= 0]].sum()) if len(words) else 0
    stripped[stripped == ""] = None
    merged, distinct = pd.factorize(stripped)
    codes_n = np.where(codes >= 0, merged[codes], -1) if len(words) else codes
    kind = series.cat.categories.dtype if hasattr(series, "cat") else series.dtype
    return Keys(
        name,
        pd.Index(distinct, dtype=object),
        codes_n.astype(np.int64),
        bool(pd.api.types.is_numeric_dtype(kind)),
        n_stripped,
    )
