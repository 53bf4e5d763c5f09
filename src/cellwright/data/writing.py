"""Cells out: write an .h5ad atomically, and note in it what was done."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from anndata import AnnData, settings

from cellwright.data.atomic import atomic_file, refuse_existing
from cellwright.errors import DataError

_SLOT = "cellwright"


def write_cells(cells: AnnData, path: Path | str, *, force: bool = False) -> None:
    """Write an .h5ad, compressed, under a temporary name that becomes ``path`` when complete.

    ``cells`` stays as it is; backed cells are read from their own file.

    Parameters
    ----------
    force
        Replace ``path`` if it exists. Replacing the very file that backed cells are read from is
        always refused.

    Raises
    ------
    RunError
        If ``path`` exists and ``force`` is False.
    DataError
        If the place cannot be written (no folder, no permission, disk full), or something in
        the cells has a type that .h5ad cannot hold. No partial file is left.
    """
    path = Path(path)
    if path.is_dir():
        raise DataError(
            f"cannot write {path}: it is a folder, expected a file name ending in .h5ad"
        )
    refuse_existing(path, force=force)
    try:
        with (
            atomic_file(path) as temporary,
            warnings.catch_warnings(),
            settings.override(allow_write_nullable_strings=True),
        ):
            warnings.simplefilter("ignore")
            cells.write_h5ad(temporary, compression="gzip")
    except (TypeError, ValueError, NotImplementedError, RuntimeError, KeyError) as error:
        text = " ".join(str(error).split())
        raise DataError(f"cannot write {path}: {text[:400]}") from error


def record(cells: AnnData, stage: str, facts: dict[str, Any]) -> None:
    """Note a stage in ``uns["cellwright"]``; this changes ``cells``.

    The key is a running number and the stage ("0001-split"), the value one JSON string.

    Parameters
    ----------
    facts
        What was done; must be JSON without NaN.

    Raises
    ------
    DataError
        If ``uns["cellwright"]`` is there and is not a mapping.
    """
    slot = cells.uns.setdefault(_SLOT, {})
    if not hasattr(slot, "keys"):
        raise DataError(
            f'uns["{_SLOT}"] is {slot!r}, expected a mapping of stages; remove it and run again'
        )
    numbers = [int(key[:4]) for key in slot if key[:4].isdigit()]
    slot[f"{max(numbers, default=0) + 1:04d}-{stage}"] = json.dumps(facts, allow_nan=False)
