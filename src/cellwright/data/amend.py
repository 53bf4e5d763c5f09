"""A changed copy of an h5ad whose matrices are copied byte by byte, never through memory."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import pandas as pd
from anndata import AnnData
from anndata.io import read_elem, write_elem

from cellwright.data.atomic import atomic_file, refuse_existing
from cellwright.data.opening import open_h5ad
from cellwright.data.reading import read_cells, write_cells


def amend(
    source: Path | str,
    target: Path | str,
    apply: Callable[[AnnData], None],
    write: Callable[[h5py.File, AnnData], None],
    *,
    force: bool = False,
) -> None:
    """Write ``target``, a copy of ``source`` with a change made to all but its matrices.

    Parameters
    ----------
    apply
        Makes the change to an AnnData. It is given one without matrices: the names of cells and
        genes and the records of earlier stages. A file in an old format is read whole, changed
        and written anew.
    write
        Puts what ``apply`` left in that AnnData into the copied file; the records of the stages
        are written for it.

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
            obs, var = (pd.DataFrame(index=read_elem(file[key]).index) for key in ("obs", "var"))
            done = "cellwright" in file.get("uns", {})
            stages = dict(read_elem(file["uns"]["cellwright"])) if done else {}
    if old:
        cells = read_cells(source)
        apply(cells)
        write_cells(cells, target, force=force)
        return
    skeleton = AnnData(obs=obs, var=var, uns={"cellwright": stages})
    apply(skeleton)
    with atomic_file(target) as temporary:
        shutil.copyfile(source, temporary)
        temporary.chmod(0o644)
        with h5py.File(temporary, "r+") as file:
            write(file, skeleton)
            if "uns" not in file:
                write_elem(file, "uns", {})
            write_elem(file["uns"], "cellwright", dict(skeleton.uns["cellwright"]))
