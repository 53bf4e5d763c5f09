"""A small table beside a large file: columns joined to its cells without writing the file again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import pandas as pd
from anndata import AnnData, settings
from anndata.io import read_elem, write_elem

from cellwright.data.atomic import atomic_file, refuse_existing
from cellwright.data.disk.source import Source, open_source
from cellwright.data.full_disk import CalmHDF5
from cellwright.data.opening import translated
from cellwright.data.reading import read_cells
from cellwright.data.tables import Table, table_of_frame
from cellwright.errors import DataError

_log = logging.getLogger("cellwright.data")
_SCHEMA = "cellwright.sidecar/1"


def sidecar_path(file: Path | str) -> Path:
    """``neurons.h5ad`` -> ``neurons.sidecar.h5``."""
    return Path(file).with_suffix(".sidecar.h5")


def write_sidecar(
    source: Source, columns: pd.DataFrame, facts: Mapping[str, Any], *, force: bool = False
) -> Path:
    """Write the joined columns beside the source, with a hash of the names of its cells.

    Parameters
    ----------
    columns
        One row per cell, in the order of the source.
    facts
        Where they come from: file names, keys, counts; kept as JSON.

    Raises
    ------
    RunError
        If there is a sidecar already and ``force`` is False.
    DataError
        If there is no column to write, or the place cannot be written.
    """
    path = sidecar_path(source.path)
    refuse_existing(path, force=force)
    if columns.empty:
        raise DataError(f"there is no new column to put beside {source.path}; nothing was written")
    with (
        atomic_file(path) as temporary,
        CalmHDF5(temporary) as file,
        warnings.catch_warnings(),
        settings.override(allow_write_nullable_strings=True),
    ):
        warnings.simplefilter("ignore")
        plain = columns.set_axis(pd.RangeIndex(len(columns)).astype(str), axis=0)
        write_elem(file, "obs", plain, dataset_kwargs={"compression": "gzip"})
        file.attrs["schema"] = _SCHEMA
        file.attrs["names"] = _names_hash(source.obs.index())
        file.attrs["facts"] = json.dumps(dict(facts))
    return path


def read_sidecar(source: Source) -> pd.DataFrame | None:
    """The columns beside a source, one row per cell in its order; None if there are none.

    Raises
    ------
    DataError
        If the sidecar is damaged, or was made for cells of other names or in another order.
    """
    path = sidecar_path(source.path)
    if not path.exists():
        return None
    with translated(path), h5py.File(path, "r") as file:
        if file.attrs.get("schema") != _SCHEMA:
            raise DataError(
                f"{path} is not a table that cellwright join --sidecar wrote; move it away"
            )
        names, frame = str(file.attrs["names"]), read_elem(file["obs"])
    if len(frame) != source.obs.n or names != _names_hash(source.obs.index()):
        raise DataError(
            f"{path} was written for other cells than {source.path} holds now ({len(frame):,} "
            f"there, {source.obs.n:,} here, or other names); write it again with cellwright join "
            "--sidecar --force, or remove it"
        )
    return frame.reset_index(drop=True)


def with_sidecar(source: Source, frame: pd.DataFrame | None) -> Source:
    """The source with what ``read_sidecar`` gave among the columns of obs, where it wins."""
    if frame is None:
        return source
    beside, obs = table_of_frame(frame, "obs"), source.obs
    merged = Table(
        name="obs",
        n=obs.n,
        kinds=obs.kinds | beside.kinds,
        n_categories={k: n for k, n in obs.n_categories.items() if k not in beside.kinds}
        | beside.n_categories,
        index=obs.index,
        read=lambda name: frame[name] if name in beside.kinds else obs.read(name),
    )
    return dataclasses.replace(source, obs=merged)


def with_columns_beside(file: Path | str) -> AnnData:
    """The cells of an .h5ad, matrices left on disk, with the columns beside it in ``obs``.

    Raises
    ------
    DataError
        As ``read_cells`` and ``read_sidecar``.
    """
    cells = read_cells(file, backed=True)
    if sidecar_path(file).exists():
        with open_source(file) as source:
            frame = read_sidecar(source)
        if frame is not None:
            _log.info("read %s beside the file", sidecar_path(file))
            cells.obs = cells.obs.assign(**{c: frame[c].array for c in frame.columns})
    return cells


def _names_hash(names: pd.Index) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(names), 100_000):
        digest.update("\n".join(map(str, names[start : start + 100_000])).encode())
        digest.update(b"\n")
    return digest.hexdigest()[:32]
