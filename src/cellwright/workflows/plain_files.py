"""Results in files that every program reads: JSON without NaN or NumPy types, tables with tabs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def write_json(values: Mapping[str, Any], path: Path) -> None:
    """Write JSON that every parser reads: no NaN, no NumPy types."""
    text = json.dumps(plain(values), indent=1, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    """The value in JSON's own types; NaN and infinity become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def write_tsv(table: pd.DataFrame, path: Path) -> None:
    """Write a table with tabs and Unix line ends, without the index."""
    table.to_csv(path, sep="\t", index=False, lineterminator="\n")
