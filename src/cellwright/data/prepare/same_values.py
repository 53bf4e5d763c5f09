"""Whether two columns say the same of every cell, however each is stored."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.data.columns import as_labels


def same_values(one: pd.Series, other: pd.Series) -> bool:
    """Whether two columns say the same of every cell, as numbers or as text."""
    return bool(equal_values(one, other).all())


def equal_values(one: pd.Series, other: pd.Series) -> NDArray[np.bool_]:
    """For each row whether two columns agree, as numbers or as text; missing equals missing."""
    numbers = all(pd.api.types.is_float_dtype(s.dtype) for s in (one, other))
    if numbers:
        # A table cannot hold more digits than the narrower of the two.
        narrow = np.float32 if np.float32 in (one.dtype, other.dtype) else np.float64
        a, b = one.to_numpy(dtype=narrow), other.to_numpy(dtype=narrow)
        return (a == b) | (np.isnan(a) & np.isnan(b))
    a, b = as_labels(one).to_numpy(dtype=object), as_labels(other).to_numpy(dtype=object)
    return a == b
