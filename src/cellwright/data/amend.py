"""A copy of an h5ad with vectors added: the matrices are copied byte by byte, never through memory."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.io import read_elem, write_elem
from numpy.typing import NDArray

from cellwright.data.atomic import atomic_file, refuse_existing
from cellwright.data.opening import open_h5ad
from cellwright.data.reading import read_cells, record, write_cells


def write_with_vectors(
    source: Path | str,
    target: Path | str,
    *,
    obsm: Mapping[str, NDArray[Any]],
    varm: Mapping[str, NDArray[Any]],
    stage: str,
    facts: dict[str, Any],
    force: bool = False,
) -> None:
    """Write ``target``: ``source`` with these ``obsm`` and ``varm`` keys and a record in ``uns``.

    A key that is there already is replaced in the copy. A file in an old format is read and
    written anew.

    Raises
    ------
    RunError
        If ``target`` exists and ``force`` is False.
    DataError
        If ``source`` is not an h5ad, or ``target`` cannot be written.
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
        cells.obsm.update(obsm)
        cells.varm.update(varm)
        record(cells, stage, facts)
        write_cells(cells, target, force=force)
        return
    skeleton = AnnData(obs=pd.DataFrame(index=names), uns={"cellwright": stages})
    record(skeleton, stage, facts)
    with atomic_file(target) as temporary:
        shutil.copyfile(source, temporary)
        temporary.chmod(0o644)
        with h5py.File(temporary, "r+") as file:
            for group, added in (("obsm", obsm), ("varm", varm)):
                if group not in file:
                    write_elem(file, group, {})
                for key, values in added.items():
                    write_elem(file[group], key, np.ascontiguousarray(values))
            if "uns" not in file:
                write_elem(file, "uns", {})
            write_elem(file["uns"], "cellwright", dict(skeleton.uns["cellwright"]))
