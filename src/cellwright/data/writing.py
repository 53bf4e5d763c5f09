"""Cells out: write an .h5ad atomically, and note in it what was done."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData, settings
from anndata.io import write_elem

from cellwright.data.atomic import atomic_file, refuse_existing
from cellwright.data.full_disk import CalmHDF5
from cellwright.errors import CellwrightError, DataError

_SLOT = "cellwright"


def write_cells(cells: AnnData, path: Path | str, *, force: bool = False) -> None:
    """Write an .h5ad, compressed, under a temporary name that becomes ``path`` when complete.

    ``cells`` stays as it is (``AnnData.write_h5ad`` would turn its strings into categories and
    point backed cells at the new file). Text columns with gaps are written as categories, the
    only form of theirs that every reader knows; all else reads back as it was.

    Parameters
    ----------
    force
        Replace ``path`` if it exists. The file that backed cells are being read from is never
        replaced.

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
        raise DataError(f"cannot write {path}: it is a folder, expected a file such as cells.h5ad")
    refuse_existing(path, force=force)
    if cells.isbacked and path.exists() and path.samefile(cells.filename):
        raise DataError(f"cannot write {path}: the cells are being read from it; name another file")
    try:
        with atomic_file(path) as temporary:
            _write(cells, temporary)
    except CellwrightError:
        raise
    except Exception as error:  # anndata's own exception for types it cannot hold is private
        raise DataError(f"cannot write {path}: {_reason(error)}") from error


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
        If ``uns["cellwright"]`` is there and is not a mapping, or ``facts`` is not JSON.
    """
    cells.uns[_SLOT] = noted(cells.uns.get(_SLOT, {}), stage, facts)


def noted(slot: Any, stage: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The records of earlier stages with one more.

    Raises
    ------
    DataError
        If ``slot`` is not a mapping, or ``facts`` is not JSON.
    """
    if not hasattr(slot, "keys"):
        raise DataError(
            f'uns["{_SLOT}"] is {slot!r}, expected a mapping of stages; remove it and run again'
        )
    try:
        text = json.dumps(facts, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"stage {stage!r} cannot be noted: {error}, in {facts!r}") from error
    numbers = [int(key[:4]) for key in slot if key[:4].isdigit()]
    return {**slot, f"{max(numbers, default=0) + 1:04d}-{stage}": text}


def _write(cells: AnnData, file: Path) -> None:
    parts: dict[str, Any] = {
        "obs": writable(cells.obs, "obs"),
        "var": writable(cells.var, "var"),
    }
    for key in ("obsm", "varm", "obsp", "varp", "layers", "uns"):
        parts[key] = dict(getattr(cells, key))
    if cells.X is not None:
        parts["X"] = cells.X
    if cells.raw is not None:
        parts["raw"] = cells.raw
    calm = CalmHDF5(file)
    with (
        calm as out,
        warnings.catch_warnings(),
        settings.override(allow_write_nullable_strings=True),
    ):
        warnings.simplefilter("ignore")
        out.attrs["encoding-type"], out.attrs["encoding-version"] = "anndata", "0.1.0"
        for key, part in parts.items():
            write_elem(out, key, part, dataset_kwargs={"compression": "gzip"})
            calm.verify()


def writable(frame: pd.DataFrame, table: str) -> pd.DataFrame:
    """The table with each object column in a type that .h5ad has.

    Raises
    ------
    DataError
        If a column mixes kinds.
    """
    changed: dict[str, Any] = {}
    for column in frame.select_dtypes(object).columns:
        values = frame[column]
        kind = pd.api.types.infer_dtype(values, skipna=True)
        gaps = bool(values.isna().any())
        if kind == "string" and gaps:
            changed[column] = values.astype("category")
        elif kind in ("boolean", "integer", "floating", "mixed-integer-float", "empty"):
            changed[column] = (
                values.infer_objects().convert_dtypes() if gaps else values.infer_objects()
            )
            if kind == "empty":
                changed[column] = values.astype(float)
        elif kind not in ("string", "categorical"):
            example = next(v for v in values if not isinstance(v, str))
            raise DataError(
                f"{table}[{column!r}] cannot be written: it mixes kinds ({kind}), e.g. {example!r}; "
                "make it text with .astype(str) or numbers with pandas.to_numeric"
            )
    return frame.assign(**changed) if changed else frame


def _reason(error: BaseException) -> str:
    return " ".join(str(error).split())[:400]
