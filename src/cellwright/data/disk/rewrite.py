"""Write a selection of an atlas to a new file, block by block, within a memory bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from numpy.typing import NDArray

Compression = Literal["gzip", "lzf", "none"]
DEFAULT_MEMORY = 512 << 20


@dataclass(frozen=True)
class TableEdit:
    """What changes in obs or var beside the selection.

    ``names``: a new name, ``add``: new columns (a column of the same name is replaced), each for
    every row of the *source* table, in its order; the selection is applied to them too.
    """

    names: pd.Index | None = None
    add: pd.DataFrame | None = None


@dataclass(frozen=True)
class Rewritten:
    """What was written: shape, size of the file, and sentences on what changed form."""

    path: Path
    n_obs: int
    n_vars: int
    n_stored: int
    n_bytes: int
    notes: list[str] = field(default_factory=list)


def rewrite(
    source: Path | str,
    out: Path | str,
    *,
    rows: NDArray[Any] | None = None,
    columns: NDArray[Any] | None = None,
    obs: TableEdit | None = None,
    var: TableEdit | None = None,
    uns: Mapping[str, Any] | None = None,
    stage: tuple[str, Mapping[str, Any]] | None = None,
    keep_raw: bool = True,
    compression: Compression = "gzip",
    memory: int = DEFAULT_MEMORY,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Rewritten:
    """Write ``out`` (.h5ad or .zarr), the selected cells and genes of ``source`` with all that hangs on them."""
    raise NotImplementedError
