"""An AnnData on disk, .h5ad or .zarr, open for reading: tables and matrices, nothing loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cellwright.data.opening import open_h5ad
from cellwright.data.tables import Table, open_table


@dataclass(frozen=True)
class Source:
    """``root`` is the open h5py.File or zarr.Group; ``obs`` and ``var`` read a column when asked."""

    path: Path
    root: Any
    obs: Table
    var: Table


@contextlib.contextmanager
def open_source(path: Path | str) -> Iterator[Source]:
    """Open an .h5ad or .zarr for reading by parts."""
    with open_h5ad(path) as root:
        yield Source(
            Path(path), root, open_table(root["obs"], "obs"), open_table(root["var"], "var")
        )
