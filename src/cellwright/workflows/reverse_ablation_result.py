"""What an ablation of gene knowledge found; the figure on request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cellwright.interfaces import Check
from cellwright.report.ablation_figure import ablation_panels
from cellwright.workflows.findings_folder import write_findings
from cellwright.workflows.plain_files import plain

SCHEMA = "cellwright.reverse-ablate/1"


@dataclass(frozen=True)
class Ablation:
    """What each source of gene knowledge adds.

    table: one row per method, variant (none, all, only X, without X, shuffled X) and metric.
    differences: per method, source and metric the paired differences ``alone``, ``shuffled`` and
    ``left out``. folder: where it was written, or None.
    """

    split: str
    table: pd.DataFrame
    differences: pd.DataFrame
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
                "differences": self.differences.to_dict("records"),
                "checks": [check.to_dict() for check in self.checks],
                "sentences": list(self.sentences),
                "out": None if self.folder is None else str(self.folder),
            }
        )

    def text(self, metric: str = "mrr") -> str:
        """One metric of every variant, and what each source adds."""
        rows = self.table[self.table.metric == metric]
        cells = [
            f"{r['value']:.3f} [{r['low']:.3f}, {r['high']:.3f}]" for r in rows.to_dict("records")
        ]
        wide = rows.assign(cell=cells).pivot_table(
            index="variant", columns="method", values="cell", aggfunc="first", sort=False
        )
        wide.columns.name = None
        head = f"{metric}, {self.split}, chance {rows.chance.mean():.3f}"
        lines = [head, wide.reset_index().to_string(index=False), "", *self.sentences]
        lines += [f"{check.severity}: {check.sentence}" for check in self.checks]
        if self.folder is not None:
            lines.append(f"written to {self.folder}")
        return "\n".join(lines)

    def plot(self, metric: str = "mrr") -> Any:
        """What each source adds, with 95 % intervals, as Axes."""
        return ablation_panels(
            self.differences, metric, title=f"What gene knowledge adds: {self.split}"
        )

    def write(self, out: Path, *, force: bool = False) -> None:
        """Write scores.tsv, differences.tsv, metrics.json, provenance.json and figures/knowledge.*.

        Raises
        ------
        RunError
            If ``out`` exists and ``force`` is False.
        DataError
            If it cannot be written.
        """
        write_findings(
            out,
            tables={"scores": self.table, "differences": self.differences},
            figures={"knowledge": self.plot},
            provenance=self.provenance,
            metrics=self.to_dict(),
            force=force,
        )
