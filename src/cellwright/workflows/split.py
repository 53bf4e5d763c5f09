"""Split a file and say whether the split is honest: what stands behind ``cellwright split``."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellwright.data.atomic import refuse_existing
from cellwright.data.blocks import iter_blocks
from cellwright.data.prepare.sidecar import with_columns_beside
from cellwright.data.reading import cell_hashes
from cellwright.data.split import PARTS, Split, split
from cellwright.data.split_file import write_split
from cellwright.errors import CheckFailed, DataError
from cellwright.evaluation.leakage import check_split
from cellwright.interfaces import Check

_log = logging.getLogger(__name__)
_MAX_CLASSES = 30


@dataclass(frozen=True)
class SplitReport:
    """A split that was written, with what was checked about it.

    table: rows ``cells``, ``groups`` and one per class; one column per part; counts.
    """

    split: Split
    table: pd.DataFrame
    checks: list[Check]
    out: Path
    toml: Path

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values, for JSON."""
        table = {
            str(part): {str(row): int(n) for row, n in self.table[part].items()} for part in PARTS
        }
        return {
            **self.split.to_dict(),
            "parts": table,
            "checks": [check.to_dict() for check in self.checks],
            "out": str(self.out),
            "split_toml": str(self.toml),
        }

    def text(self) -> str:
        """Everything as lines for people."""
        made = self.split
        how = f"whole groups of {made.by}" if made.by else "single cells"
        strata = f", stratified by {made.label}" if made.label else ", not stratified"
        lines = [f"Split by {how}{strata}, seed {made.seed}.", "", *_table_lines(self.table), ""]
        if made.note:
            lines.append(f"note     {made.note}")
        marks = {"note": "note", "warning": "WARNING", "failure": "FAILURE"}
        for check in self.checks:
            lines.append(f"{marks[check.severity]:<8} {check.sentence}")
            if check.remedy and check.severity != "note":
                lines.append(f"{'':<8}   -> {check.remedy}")
        lines += ["", f"wrote {self.out} and {self.toml}"]
        return "\n".join(lines)


def split_file(
    source: Path | str,
    out: Path | str,
    *,
    by: str | None = "auto",
    label: str | None = None,
    val: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
    layer: str | None = None,
    list_cells: bool = False,
    strict: bool = False,
    force: bool = False,
) -> SplitReport:
    """Split the cells of ``source``, check the split, and write ``out`` and its ``.split.toml``.

    Parameters
    ----------
    by, label, val, test, seed
        As ``data.split.split``.
    layer
        Where the counts are, for finding copies of cells.
    list_cells
        Also write the list of cells beside the ``.split.toml``.
    strict
        Write nothing if a check fails.

    Raises
    ------
    CheckFailed
        Under ``strict``; the sentence is that of the check.
    DataError, SettingsError, RunError
        As ``split`` and ``write_split``.
    """
    out = Path(out)
    toml = out.with_suffix(".split.toml")
    for path in (out, toml):
        refuse_existing(path, force=force)
    cells = with_columns_beside(source)
    made = split(cells, by=by, label=label, val=val, test=test, seed=seed)
    hashes, genes_n = _hashes(cells, layer)
    checks = check_split(made, cells.obs, hashes, genes_n=genes_n)
    failed = [check for check in checks if check.severity == "failure"]
    if strict and failed:
        raise CheckFailed(f"{failed[0].sentence} Nothing was written; {failed[0].remedy}")
    write_split(source, out, made, force=force)
    made.save(toml, cells=list_cells)
    return SplitReport(made, _table(made, cells.obs), checks, out, toml)


def _hashes(cells: Any, layer: str | None) -> tuple[Any, Any]:
    """Hash and number of detected genes of every cell; None where there are no counts."""
    try:
        blocks = [
            (cell_hashes(block.counts_ng), np.diff(block.counts_ng.indptr))
            for block in iter_blocks(cells, layer=layer, assume_counts=True)
        ]
    except DataError as error:
        _log.warning("copies of cells are not looked for: %s", error)
        return None, None
    return np.concatenate([h for h, _ in blocks]), np.concatenate([n for _, n in blocks])


def _table(made: Split, obs: pd.DataFrame) -> pd.DataFrame:
    parts = made.assignment.to_numpy()
    rows: dict[str, dict[str, int]] = {"cells": made.counts}
    if made.by is not None:
        groups = obs[made.by].groupby(parts).nunique()
        rows[f"groups of {made.by}"] = {part: int(groups.get(part, 0)) for part in PARTS}
    if made.label is not None:
        labels = obs[made.label].astype("string").fillna("(no label)")
        counts = pd.crosstab(labels.to_numpy(), parts).reindex(columns=PARTS, fill_value=0)
        for name, row in counts.iterrows():
            rows[f"{made.label} {name}"] = {part: int(row[part]) for part in PARTS}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(PARTS))


def _table_lines(table: pd.DataFrame) -> list[str]:
    """Counts with the share of each row in each part."""
    shown = table.head(_MAX_CLASSES + 2)
    width = max(len(str(name)) for name in shown.index)
    lines = [" " * width + "".join(f"{part:>18}" for part in PARTS)]
    for name, row in shown.iterrows():
        total = max(int(row.sum()), 1)
        cells = "".join(f"{f'{n:,} ({n / total:.1%})':>18}" for n in row)
        lines.append(f"{name:<{width}}{cells}")
    if len(table) > len(shown):
        lines.append(f"… {len(table) - len(shown)} more classes")
    return lines
