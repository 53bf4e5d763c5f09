"""The metadata tables that come with an atlas, for simulated cells."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cellwright.data.atomic import atomic_file, refuse_existing
from cellwright.data.neuron_markers import SUBCLASSES
from cellwright.errors import DataError

TABLES = ("cell_metadata.csv", "cluster.csv", "cluster_annotation_term.csv")
_PREFIX = "CS202210140"


def metadata_tables(obs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Tables as the Allen Brain Cell Atlas publishes them, by file name.

    Parameters
    ----------
    obs
        Simulated cells with ``x`` and ``y``, as ``simulate_to_file`` returns them.

    Returns
    -------
    ``cell_metadata.csv`` (``cell_label``, ``cell_barcode``, ``cluster_alias``, ``x``, ``y``,
    library, donor and region), ``cluster.csv`` (``label`` such as CS202210140_2523,
    ``cluster_alias``, ``number_of_cells``) and ``cluster_annotation_term.csv`` (``label``,
    ``description``), which join on ``cluster_alias`` and ``label``.

    Raises
    ------
    DataError
        If a column is missing.
    """
    columns = ["cell_barcode", "cluster_alias", "x", "y", "library_label", "donor"]
    columns.append("anatomical_division_label")
    missing = [c for c in columns if c not in obs.columns]
    if missing:
        raise DataError(f"obs has no column {missing[0]!r}; metadata tables need simulated cells")
    sizes = obs["cluster_alias"].value_counts().sort_index()
    labels = [f"{_PREFIX}_{alias}" for alias in sizes.index]
    return {
        "cell_metadata.csv": obs[columns]
        .rename(columns={"donor": "donor_label"})
        .rename_axis("cell_label")
        .reset_index(),
        "cluster.csv": pd.DataFrame(
            {
                "cluster_alias": sizes.index.to_numpy(),
                "number_of_cells": sizes.to_numpy(),
                "label": labels,
            }
        ),
        "cluster_annotation_term.csv": pd.DataFrame(
            {"label": labels, "description": [_description(int(a)) for a in sizes.index]}
        ),
    }


def write_tables(obs: pd.DataFrame, folder: Path | str, *, force: bool = False) -> list[Path]:
    """Write ``metadata_tables`` into ``folder``, which is made if needed.

    Raises
    ------
    RunError
        If one of the files exists and ``force`` is False.
    DataError
        If a column is missing or the folder cannot be written.
    """
    folder = Path(folder)
    tables = metadata_tables(obs)
    paths = [folder / name for name in tables]
    for path in paths:
        refuse_existing(path, force=force)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {folder}: {error.strerror or error}") from error
    for path, table in zip(paths, tables.values(), strict=True):
        with atomic_file(path) as temporary:
            table.to_csv(temporary, index=False, float_format="%.5g", lineterminator="\n")
    return paths


def _description(alias: int) -> str:
    """Such as "MGE interneuron (subcluster 1)": the nearest subclass whose clusters start below."""
    subclass = max((s for s in SUBCLASSES if s.alias <= alias), key=lambda s: s.alias)
    return f"{subclass.supercluster} (subcluster {alias - subclass.alias + 1})"
