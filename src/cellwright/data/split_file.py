"""A split into a file: the h5ad is copied as it is, and only ``obs["split"]`` is added."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.io import read_elem, write_elem

from cellwright.data.atomic import atomic_file, refuse_existing
from cellwright.data.opening import open_h5ad
from cellwright.data.reading import read_cells, write_cells
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
    source, target = Path(source), Path(target)
    refuse_existing(target, force=force)
    with open_h5ad(source) as file:
        old = isinstance(file["obs"], h5py.Dataset) or "encoding-type" not in file.attrs
        if not old:
            names = read_elem(file["obs"]).index
            done = "cellwright" in file.get("uns", {})
            stages = dict(read_elem(file["uns"]["cellwright"])) if done else {}
    if old:
        cells = read_cells(source)
        split.apply(cells)
        write_cells(cells, target, force=force)
        return
    skeleton = AnnData(obs=pd.DataFrame(index=names), uns={"cellwright": stages})
    split.apply(skeleton)
    with atomic_file(target) as temporary:
        shutil.copyfile(source, temporary)
        temporary.chmod(0o644)
        with h5py.File(temporary, "r+") as file:
            parts = pd.Categorical(skeleton.obs["split"], categories=list(PARTS))
            write_elem(file["obs"], "split", parts)
            order = [str(column) for column in file["obs"].attrs.get("column-order", [])]
            if "split" not in order:
                columns = np.array([*order, "split"], dtype=h5py.string_dtype())
                file["obs"].attrs["column-order"] = columns
            if "uns" not in file:
                write_elem(file, "uns", {})
            write_elem(file["uns"], "cellwright", skeleton.uns["cellwright"])
