"""What in-silico edits did: a ranked table, the null, checks and sentences; figures on request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cellwright.data.atomic import atomic_folder
from cellwright.interfaces import Check, Score, Seen
from cellwright.report.canvas import save_figure
from cellwright.report.perturb_figure import p_histogram, ranked_shifts, shift_by_place
from cellwright.workflows.plain_files import plain, write_json

SCHEMA = "cellwright.perturb/1"
# Edits that metrics.json holds; perturb.csv has all.
IN_JSON = 100
# p-values that make a histogram worth drawing.
_FOR_HISTOGRAM = 50


@dataclass(frozen=True)
class PerturbResult:
    """What the edits did, those first that stand out most from their null.

    table: one row per edit asked for. null: one row per null edit, empty where all genes are the
    null of each other. genes: of the first edits, the other genes whose contextual vectors moved
    most. headline: the statistic that ranks, ``toward`` or ``cosine``. folder: where it was
    written, or None.
    """

    run: str
    kind: str
    factor: float | None
    headline: str
    goal: str | None
    seen: Seen
    table: pd.DataFrame
    null: pd.DataFrame
    genes: pd.DataFrame
    settings: dict[str, Any]
    direction: dict[str, Any] | None
    checks: tuple[Check, ...]
    sentences: tuple[str, ...]
    provenance: dict[str, Any]
    folder: Path | None = None

    @property
    def scores(self) -> list[Score]:
        """The mean shift of each edit with its interval; ``chance`` is the median of its null."""
        out = []
        for row in self.table.head(IN_JSON).to_dict("records"):
            for metric in dict.fromkeys((self.headline, "cosine", "genes")):
                out.append(
                    Score(
                        task="perturb",
                        rep=self.run,
                        model=self.kind,
                        metric=metric,
                        value=row[metric],
                        low=row[f"{metric}_low"],
                        high=row[f"{metric}_high"],
                        interval="bootstrap" if row["unit"] else "none",
                        unit=row["unit"] or "cells",
                        n=int(row["units"]),
                        chance=row[f"{metric}_null"],
                        split="none",
                        fold_unit="none",
                        seen=self.seen,
                        stratum=row["edit"],
                    )
                )
        return out

    def to_dict(self) -> dict[str, Any]:
        return plain(
            {
                "schema": SCHEMA,
                "run": self.run,
                "kind": self.kind,
                "factor": self.factor,
                "goal": self.goal,
                "headline": self.headline,
                "settings": self.settings,
                "direction": self.direction,
                "n_edits": len(self.table),
                "edits": self.table.head(IN_JSON).to_dict("records"),
                "scores": [score.to_dict() for score in self.scores],
                "checks": [check.to_dict() for check in self.checks],
                "sentences": list(self.sentences),
                "out": None if self.folder is None else str(self.folder),
            }
        )

    def text(self) -> str:
        """The first ten edits as a table, and the findings."""
        columns = {
            "edit": "edit",
            self.headline: "shift",
            f"{self.headline}_low": "low",
            f"{self.headline}_high": "high",
            f"{self.headline}_null": "null",
            f"{self.headline}_z": "z",
            f"{self.headline}_p": "p",
            f"{self.headline}_q": "q",
            "cells": "cells",
            "place": "place",
        }
        shown = self.table.head(10)[list(columns)].rename(columns=columns)
        shown["place"] = shown["place"].round().astype("Int64")
        lines = [shown.to_string(index=False, float_format=lambda x: f"{x:.3g}", na_rep="-")]
        if len(self.table) > 10:
            lines.append(f"… {len(self.table) - 10:,} edits more in perturb.csv")
        lines += ["", *self.sentences]
        lines += [f"{c.severity}: {c.sentence}" for c in self.checks]
        if self.folder is not None:
            lines.append(f"written to {self.folder}")
        return "\n".join(lines)

    def plot_ranked(self) -> Any:
        """The furthest edits with their intervals, each over its null, as Axes."""
        return ranked_shifts(self.table, self.headline, title=self._title, subtitle=self._small)

    def plot_place(self) -> Any:
        """Every edit by the place of its genes in the cells, null edits in grey, as Axes."""
        return shift_by_place(self.table, self.null, self.headline, title=self._title)

    def plot_p(self) -> Any:
        """Histogram of the p-values beside what chance gives, as Axes."""
        return p_histogram(self.table[f"{self.headline}_p"], title=self._title)

    def write(self, out: Path, *, force: bool = False) -> None:
        """Write perturb.csv, metrics.json, provenance.json, figures, and where there is something to
        write null.csv and genes.csv.

        Raises
        ------
        RunError
            If ``out`` exists and ``force`` is False.
        DataError
            If it cannot be written.
        """
        with atomic_folder(out, force=force) as folder:
            for name in ("table", "null", "genes"):
                if name != "table" and not len(getattr(self, name)):
                    continue
                file = "perturb.csv" if name == "table" else f"{name}.csv"
                getattr(self, name).to_csv(folder / file, index=False, lineterminator="\n")
            figures = folder / "figures"
            figures.mkdir()
            for ending in ("png", "pdf"):
                save_figure(self.plot_ranked(), figures / f"ranked.{ending}")
                save_figure(self.plot_place(), figures / f"place.{ending}")
                if len(self.table) >= _FOR_HISTOGRAM:
                    save_figure(self.plot_p(), figures / f"p_values.{ending}")
            write_json(self.provenance, folder / "provenance.json")
            write_json(self.to_dict(), folder / "metrics.json")

    @property
    def _title(self) -> str:
        done = {"delete": "Genes deleted", "raise": "Genes raised to the front"}
        what = done.get(self.kind, f"Genes scaled by {self.factor or 1:g}")
        return what if self.goal is None else f"{what}, along {self.goal}"

    @property
    def _small(self) -> str:
        units = {str(unit) for unit in self.table["unit"].head(20) if unit}
        over = f"95 % intervals over {' or '.join(sorted(units))}; " if units else ""
        return f"{over}grey: central 95 % of matched random genes in as many cells"
