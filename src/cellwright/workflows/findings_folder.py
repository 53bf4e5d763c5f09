"""A folder of findings: tables, figures for paper and screen, where they come from, what they say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from cellwright.data.atomic import atomic_folder
from cellwright.report.canvas import save_figure
from cellwright.workflows.plain_files import write_json, write_tsv

ENDINGS = ("png", "pdf")


def write_findings(
    out: Path,
    *,
    tables: Mapping[str, pd.DataFrame],
    figures: Mapping[str, Callable[[], Any]],
    provenance: Mapping[str, Any],
    metrics: Mapping[str, Any],
    force: bool = False,
) -> None:
    """Write tables that have rows, figures as PNG and PDF, provenance.json and metrics.json; all or nothing.

    Parameters
    ----------
    figures
        What draws each, by the name of its file.

    Raises
    ------
    RunError
        If ``out`` exists and ``force`` is False.
    DataError
        If it cannot be written.
    """
    with atomic_folder(out, force=force) as folder:
        for name, table in tables.items():
            if len(table):
                write_tsv(table, folder / f"{name}.tsv")
        (folder / "figures").mkdir()
        for name, draw in figures.items():
            for ending in ENDINGS:
                save_figure(draw(), folder / "figures" / f"{name}.{ending}")
        write_json(provenance, folder / "provenance.json")
        write_json(metrics, folder / "metrics.json")
