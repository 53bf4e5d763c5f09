"""What a reverse benchmark found: a table, the audit, checks and sentences; the figure on request."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from cellwright.errors import DataError
from cellwright.evaluation.target_confusion import PathwayConfusion
from cellwright.interfaces import Check
from cellwright.perturbation.reverse import Screen
from cellwright.report.reverse_curves import reverse_curves
from cellwright.report.reverse_figure import reverse_panels
from cellwright.report.reverse_train_figures import pathway_figure
from cellwright.workflows.findings_folder import write_findings
from cellwright.workflows.plain_files import plain
from cellwright.workflows.reverse_benchmark_pathways import pathway_table
from cellwright.workflows.reverse_score_figures import score_figures

SCHEMA = "cellwright.reverse-benchmark/1"


@dataclass(frozen=True)
class ReverseBenchmark:
    """Scores of every method.

    table: one row per method, genes (visible, hidden), size of query, stratum and metric. random:
    groups drawn at random. own: what targets' own transcripts explain. headline: genes and k
    that the sentences are about. scores: the rows of the
    table as score dictionaries with paired differences. folder: where it was written, or None.
    curves: a row per network, genes, size, partition and epoch. pathways: of each method of the
    headline, where gene sets were given.
    """

    split: str
    screen: Screen
    table: pd.DataFrame
    random: pd.DataFrame
    own: pd.DataFrame
    headline: tuple[str, str]
    scores: tuple[dict[str, Any], ...]
    checks: tuple[Check, ...]
    sentences: tuple[str, ...]
    settings: dict[str, Any]
    provenance: dict[str, Any]
    folder: Path | None = None
    curves: pd.DataFrame = field(default_factory=pd.DataFrame)
    pathways: dict[str, PathwayConfusion] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON types, as in ``metrics.json``."""
        return plain(
            {
                "schema": SCHEMA,
                "settings": self.settings,
                "headline": dict(zip(("genes", "k"), self.headline, strict=True)),
                "scores": list(self.scores),
                "random_groups": self.random.to_dict("records"),
                "own_transcripts": self.own.to_dict("records"),
                "pathways": {name: found.to_dict() for name, found in self.pathways.items()},
                "checks": [check.to_dict() for check in self.checks],
                "sentences": list(self.sentences),
                "out": None if self.folder is None else str(self.folder),
            }
        )

    def text(self, metric: str = "mrr") -> str:
        """One metric of every method, sizes of query side by side, and the findings."""
        rows = self.table[(self.table.metric == metric) & (self.table.stratum == "all")]
        words = [f"{r.value:.3f} [{r.low:.3f}, {r.high:.3f}]" for r in rows.itertuples()]
        wide = rows.assign(words=words).pivot_table(
            index=["genes", "method"], columns="k", values="words", aggfunc="first", sort=False
        )
        chance = rows.groupby("k")["chance"].first()
        wide.columns = pd.Index(
            [f"{k} cells (chance {chance[k]:.3f})" for k in wide.columns], name=None
        )
        lines = [f"{metric}, {self.split}", wide.reset_index().to_string(index=False), ""]
        lines += self._strata(metric)
        if self.pathways:
            shown = pathway_table(self.pathways).to_string(
                index=False, float_format="{:.3f}".format
            )
            lines += ["missed genes, and the share whose stand-in shares a pathway", shown, ""]
        lines += self.sentences
        lines += [f"{check.severity}: {check.sentence}" for check in self.checks]
        if self.folder is not None:
            lines.append(f"written to {self.folder}")
        return "\n".join(lines)

    def _strata(self, metric: str) -> list[str]:
        """The headline's rows by how many of the two genes were seen alone, and p."""
        genes, k = self.headline
        rows = self.table[
            (self.table.metric == metric) & (self.table.genes == genes) & (self.table.k == k)
        ]
        if rows.stratum.nunique() < 2:
            return []
        units = rows.groupby("stratum")["perturbations"].first()
        chance = rows.groupby("stratum")["chance"].first()
        wide = rows.pivot_table(
            index="method", columns="stratum", values="value", aggfunc="first", sort=False
        )
        wide.columns = pd.Index([f"{c} ({units[c]}, chance {chance[c]:.3f})" for c in wide.columns])
        whole = rows[rows.stratum == "all"].set_index("method")
        if whole["chance_permuted"].notna().any():
            wide["permuted chance"] = whole["chance_permuted"].reindex(wide.index)
        if whole["p"].notna().any():
            wide["permutation p"] = [f"{whole['p'][m]:.2g}" for m in wide.index]
        table = wide.reset_index().to_string(index=False, float_format=lambda x: f"{x:.3f}")
        return [f"{metric} by stratum, {k} cells, own genes {genes}", table, ""]

    def plot(self, metric: str = "mrr") -> Any:
        """One metric of every method by size of query, own genes visible and hidden, as Axes."""
        return reverse_panels(self.table, metric, title=f"Which gene was perturbed: {self.split}")

    def plot_curves(self, metric: str = "mrr") -> Any:
        """One metric over epochs, for training and unseen perturbations, of the headline, as Axes.

        Raises
        ------
        DataError
            If no network was asked.
        """
        curves = self.curves
        if len(curves):
            genes, k = self.headline
            rows = curves[curves.genes == genes]
            same = rows[rows.k.astype(str) == k]
            curves = same if len(same) else rows[rows.k == rows.k.max()]
        return reverse_curves(curves, metric, title=f"Seen and unseen: {self.split}")

    def plot_pathways(self, method: str | None = None) -> Any:
        """Pathways of perturbed genes and of those named by a method, default the best, as Axes.

        Raises
        ------
        DataError
            If no gene sets were given, or no such method was asked.
        """
        if method is None:
            genes, k = self.headline
            rows = self.table[(self.table.genes == genes) & (self.table.k == k)]
            rows = rows[(rows.metric == "mrr") & (rows.stratum == "all")]
            method = str(rows.sort_values("value", kind="stable").method.iloc[-1])
        if method not in self.pathways:
            raise DataError(
                f"there is no confusion by pathway of {method!r}; there is of "
                f"{', '.join(self.pathways) or 'no method: give gene sets'}"
            )
        found = self.pathways[method]
        return pathway_figure(found.weight_kk, found.pathways)

    def write(self, out: Path, *, force: bool = False) -> None:
        """Write scores.tsv, random_groups.tsv, own_transcripts.tsv, metrics.json, provenance.json
        and figures/scores, f1 and strata (.png and .pdf), curves.tsv and figures/curves of networks,
        and pathways.tsv and figures/pathways of the best method where gene sets were given.

        Raises
        ------
        RunError
            If ``out`` exists and ``force`` is False.
        DataError
            If it cannot be written.
        """
        title = f"Which gene was perturbed: {self.split}"
        figures = score_figures(self.table, k=self.headline[1], title=title)
        if len(self.curves):
            figures["curves"] = self.plot_curves
        if self.pathways:
            figures["pathways"] = self.plot_pathways
        write_findings(
            out,
            tables={
                "scores": self.table,
                "random_groups": self.random,
                "own_transcripts": self.own,
                "curves": self.curves,
                "pathways": pathway_table(self.pathways),
            },
            figures=figures,
            provenance=self.provenance,
            metrics=self.to_dict(),
            force=force,
        )
