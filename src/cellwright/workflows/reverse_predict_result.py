"""A ranking of genes for a user's cells: table, evidence, flag, words and figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cellwright.data.atomic import atomic_folder
from cellwright.perturbation.control_likeness import ControlLikeness
from cellwright.perturbation.reverse_reference import Unlikeness
from cellwright.report.canvas import save_figure
from cellwright.report.reverse_ranking_figure import ranking_figure
from cellwright.workflows.plain_files import plain, write_json, write_tsv

SCHEMA = "cellwright.reverse-predict/1"
DRAWN = 12
"""Cases that get a figure."""


@dataclass(frozen=True)
class CaseRanking:
    """The ranking for one state.

    table: ``rank``, ``gene``, ``probability``, ``log_odds``, ``firm`` (share of smaller groups with
    the gene among their first five), ``in_training`` (whether training saw it perturbed),
    ``own_shift`` (of the gene's own transcript, log expression;
    empty if not measured) and annotations. evidence: per gene the measured genes on which its
    score rests. number: of perturbed genes, two: the probability that it is two, told: whether the
    run can tell (else both are those of its training perturbations); likeness: whether
    the cells are told from controls; unscored: candidates that training never saw perturbed.
    """

    case: str
    cells: int
    controls: int
    groups: int
    table: pd.DataFrame
    evidence: pd.DataFrame
    number: int
    two: float
    told: bool
    unlike: Unlikeness
    likeness: ControlLikeness
    unscored: int
    top: int

    def to_dict(self) -> dict[str, Any]:
        shown = self.table.head(self.top)
        genes = []
        for row in shown.drop(columns="case").to_dict("records"):
            own = self.evidence[self.evidence.gene == row["gene"]]
            genes.append({**row, "evidence": own.drop(columns=["case", "gene"]).to_dict("records")})
        return {
            "case": self.case,
            "cells": self.cells,
            "controls": self.controls,
            "groups": self.groups,
            "number_of_genes": self.number,
            "probability_of_two": self.two,
            "number_told": self.told,
            "out_of_distribution": self.unlike.flagged,
            "weak": bool(self.unlike.weak),
            "looks_like_control": self.likeness.flagged,
            "control_p": self.likeness.p,
            "unlike": dict(self.unlike.__dict__),
            "not_scored": self.unscored,
            "genes": genes,
        }

    def text(self, most: int = 10) -> str:
        """The first genes, what speaks for the first of them, and the flag."""
        table = self.table.head(min(most, self.top)).drop(columns=["case", "log_odds"])
        if table["in_training"].all():
            table = table.drop(columns="in_training")
        words = {"probability": "{:.3f}".format, "firm": "{:.0%}".format, "own_shift": "{:+.2f}".format}  # fmt: skip
        many = "likely two genes" if self.number == 2 else "likely one gene"
        if not self.told:
            many = "one or two genes, which this run cannot tell"
        if self.likeness.flagged:
            many = "not told from controls"
        lines = [
            f"{self.case}: {self.cells} cells against {self.controls} controls; {many}",
        ]
        if self.likeness.sentence:
            head = "LOOKS LIKE CONTROL CELLS. " if self.likeness.flagged else ""
            lines.append(head + self.likeness.sentence)
        lines.append(table.to_string(index=False, formatters=words, na_rep=""))
        for gene in table["gene"].head(self.number):
            own = self.evidence[(self.evidence.gene == gene) & (self.evidence.log_odds_lost > 0)]
            found = ", ".join(
                f"{r.measured_gene} ({r.shift:+.2f})" for r in own.head(6).itertuples()
            )
            lines.append(f"{gene} rests on: {found or 'no single gene'}")
        if self.unlike.flagged:
            lines.append("OUT OF DISTRIBUTION. " + " ".join(self.unlike.reasons))
        if self.unlike.weak:
            lines.append(f"WEAK. {self.unlike.weak}")
        if self.unscored:
            lines.append(
                f"{self.unscored} candidates cannot be scored: training never saw them perturbed."
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class ReversePrediction:
    """Rankings of every case; folder: where they were written, or None."""

    run: str
    rankings: tuple[CaseRanking, ...]
    sentences: tuple[str, ...]
    settings: dict[str, Any]
    folder: Path | None = None

    @property
    def table(self) -> pd.DataFrame:
        """All rankings, one row per case and gene."""
        return pd.concat([r.table for r in self.rankings], ignore_index=True)

    @property
    def evidence(self) -> pd.DataFrame:
        """All evidence, one row per case, gene and measured gene."""
        return pd.concat([r.evidence for r in self.rankings], ignore_index=True)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON types, as in ``metrics.json``."""
        return plain(
            {
                "schema": SCHEMA,
                "run": self.run,
                "settings": self.settings,
                "cases": [r.to_dict() for r in self.rankings],
                "sentences": list(self.sentences),
                "out": None if self.folder is None else str(self.folder),
            }
        )

    def text(self) -> str:
        """The rankings and what must be known of them, as lines for a terminal."""
        lines = [*(r.text() + "\n" for r in self.rankings[:DRAWN]), *self.sentences]
        if len(self.rankings) > DRAWN:
            lines.append(f"{len(self.rankings) - DRAWN} more cases stand in the table.")
        if self.folder is not None:
            lines.append(f"written to {self.folder}")
        return "\n".join(lines)

    def plot(self, case: str | None = None) -> Any:
        """The first genes of one case (default the first) and the evidence for them, as Axes."""
        found = next((r for r in self.rankings if r.case == case), self.rankings[0])
        flag = found.unlike.weak or None
        if found.likeness.flagged:
            flag = f"Looks like control cells. {found.likeness.sentence}"
        if found.unlike.flagged:
            flag = f"Out of distribution. {found.unlike.reasons[0]}"
        return ranking_figure(found.table, found.evidence, title=found.case, flag=flag)

    def write(self, out: Path, *, force: bool = False) -> None:
        """Write ranking.tsv, evidence.tsv, metrics.json and a figure for each of the first cases.

        Raises
        ------
        RunError
            If ``out`` exists and ``force`` is False.
        DataError
            If it cannot be written.
        """
        with atomic_folder(out, force=force) as folder:
            write_tsv(self.table, folder / "ranking.tsv")
            write_tsv(self.evidence, folder / "evidence.tsv")
            figures = folder / "figures"
            figures.mkdir()
            for number, ranking in enumerate(self.rankings[:DRAWN], start=1):
                safe = "".join(c if c.isalnum() else "_" for c in ranking.case)[:40]
                save_figure(self.plot(ranking.case), figures / f"{number:02d}_{safe}.png")
            write_json(self.to_dict(), folder / "metrics.json")
