"""A split into a file: the h5ad is copied as it is, and only ``obs["split"]`` is added."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.io import write_elem

from cellwright.data.amend import amend
from cellwright.data.split_hash import PARTS
from cellwright.data.split_record import Split


def write_split(
    source: Path | str, target: Path | str, split: Split, *, force: bool = False
) -> None:
    """Write ``target``, a copy of ``source`` with ``obs["split"]`` and a record in ``uns``.

    The matrices are copied byte by byte, so that memory does not grow with the cells; a file in
    an old format is read and written anew.

    Raises
    ------
    RunError
        If ``target`` exists and ``force`` is False.
    DataError
        If ``source`` holds a cell that the split does not know, or ``target`` cannot be written.
    """
    amend(source, target, split.apply, _write, force=force)


def _write(file: h5py.File, changed: AnnData) -> None:
    parts = pd.Categorical(changed.obs["split"], categories=list(PARTS))
    write_elem(file["obs"], "split", parts)
    order = [str(column) for column in file["obs"].attrs.get("column-order", [])]
    if "split" not in order:
        columns = np.array([*order, "split"], dtype=h5py.string_dtype())
        file["obs"].attrs["column-order"] = columns
