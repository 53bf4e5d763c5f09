"""What predicting shifts found: a row per perturbation, means, findings; the figure on request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellwright.interfaces import Check
from cellwright.report.forward_figure import forward_panels
from cellwright.workflows.findings_folder import write_findings
from cellwright.workflows.plain_files import plain

SCHEMA = "cellwright.reverse-forward/1"


@dataclass(frozen=True)
class ReverseForward:
    """Scores of every method.

    each: one row per partition, perturbation, method, genes (visible, hidden) and metric. table:
    means over perturbations. scores: rows of the table as score dictionaries with paired
    differences. folder: where it was written, or None.
    """

    split: str
    each: pd.DataFrame
    table: pd.DataFrame
    scores: tuple[dict[str, Any], ...]
    checks: tuple[Check, ...]
    sentences: tuple[str, ...]
    settings: dict[str, Any]
    provenance: dict[str, Any]
    folder: Path | None = None

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON types, as in ``metrics.json``."""
        return plain(
            {
                "schema": SCHEMA,
                "settings": self.settings,
                "scores": list(self.scores),
                "checks": [check.to_dict() for check in self.checks],
                "sentences": list(self.sentences),
                "out": None if self.folder is None else str(self.folder),
            }
        )

    def text(self) -> str:
        """Both metrics of every method, strata where there are any, and the findings."""
        lines = []
        views = list(dict.fromkeys(self.table.genes))
        for genes in views:
            rows = self.table[(self.table.genes == genes) & (self.table.stratum == "all")]
            units = int(rows.perturbations.iloc[0])
            lines.append(f"{self.split}, {units} perturbations, candidates' own genes {genes}")
            lines += [_wide(rows, "metric", bounds=True), ""]
        rows = self.table[self.table.genes == views[-1]]
        if set(rows.stratum) != {"all"}:
            for metric, part in rows.groupby("metric", sort=False):
                named = [f"{r['stratum']} ({r['perturbations']})" for r in part.to_dict("records")]
                lines.append(f"{metric} by stratum, candidates' own genes {views[-1]}")
                lines += [_wide(part.assign(stratum=named), "stratum", bounds=False), ""]
        lines += self.sentences
        lines += [f"{check.severity}: {check.sentence}" for check in self.checks]
        if self.folder is not None:
            lines.append(f"written to {self.folder}")
        return "\n".join(lines)

    def plot(self) -> Any:
        """Distance and correlation of every method over perturbations, as Axes."""
        return forward_panels(self.each, self.table, title=f"Shifts predicted: {self.split}")

    def write(self, out: Path, *, force: bool = False) -> None:
        """Write perturbations.tsv, scores.tsv, metrics.json, provenance.json and figures/shifts.*.

        Raises
        ------
        RunError
            If ``out`` exists and ``force`` is False.
        DataError
            If it cannot be written.
        """
        write_findings(
            out,
            tables={"perturbations": self.each, "scores": self.table},
            figures={"shifts": self.plot},
            provenance=self.provenance,
            metrics=self.to_dict(),
            force=force,
        )


def _wide(rows: pd.DataFrame, columns: str, *, bounds: bool) -> str:
    """Methods in rows; values with their intervals, or alone."""
    cells = []
    for row in rows.to_dict("records"):
        value, low, high = (float(row[name]) for name in ("value", "low", "high"))
        text = "not defined" if np.isnan(value) else f"{value:.3f}"
        cells.append(text if np.isnan(low) or not bounds else f"{text} [{low:.3f}, {high:.3f}]")
    wide = rows.assign(cell=cells).pivot_table(
        index="method", columns=columns, values="cell", aggfunc="first", sort=False
    )
    wide.columns.name = None
    return str(wide.reset_index().to_string(index=False))
