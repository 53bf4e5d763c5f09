"""What a gene classification found: scores, sentences and checks, as tables, figures and JSON."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cellwright.data.gene_labels import GeneLabels
from cellwright.errors import SettingsError
from cellwright.evaluation import metrics
from cellwright.evaluation.comparison import Difference
from cellwright.evaluation.gene_classification import HEADLINE, GeneTask
from cellwright.evaluation.gene_folds import GENES
from cellwright.evaluation.gene_hidden import HiddenScore
from cellwright.evaluation.gene_scores import roc_within_folds
from cellwright.interfaces import Check, Predictions, Score
from cellwright.report.canvas import new_axes
from cellwright.report.confusion import confusion_matrix
from cellwright.report.gene_figures import gene_scores, hidden_labels, recall_per_class
from cellwright.report.roc import roc_curves
from cellwright.workflows.classify_genes_subject import GeneSubject
from cellwright.workflows.classify_genes_views import GeneViews
from cellwright.workflows.plain_files import plain

SCHEMA = "cellwright.classify-genes/1"
HELD_OUT = {"repeated": "single genes held out", "grouped": "whole families held out"}


@dataclass(frozen=True)
class GeneClassification:
    """What was found about some labels of genes.

    answers: every method and design; scores, differences: with intervals over genes, or families
    where those were held out; hidden: scores as training labels are hidden; ceilings: methods that
    read a near-label; sentences: the findings in words; folder: where it was written, or None.
    """

    labels: GeneLabels
    subject: GeneSubject
    views: GeneViews
    task: GeneTask
    answers: tuple[Predictions, ...]
    scores: tuple[Score, ...]
    differences: tuple[Difference, ...]
    hidden: tuple[HiddenScore, ...]
    checks: tuple[Check, ...]
    sentences: tuple[str, ...]
    ceilings: tuple[str, ...]
    folder: Path | None = None

    @property
    def designs(self) -> tuple[str, ...]:
        """``repeated`` (single genes held out), and ``grouped`` (whole families) where possible."""
        return tuple(d.name for d in self.task.designs)

    def answer(self, rep: str, design: str = GENES) -> Predictions:
        """What a method answered in a design."""
        known = [a for a in self.answers if a.split == design]
        for found in known:
            if found.rep == rep:
                return found
        raise SettingsError(
            f"no answers of {rep!r} in the {design} design; there are: "
            f"{', '.join(a.rep for a in known) or 'none'}"
        )

    def score(self, rep: str, metric: str = HEADLINE, design: str = GENES) -> Score:
        """One score by name."""
        for s in self.scores:
            if (s.rep, s.metric, s.split, s.stratum) == (rep, metric, design, "all"):
                return s
        raise SettingsError(f"no {metric} of {rep!r} in the {design} design")

    def table(self, design: str = GENES) -> pd.DataFrame:
        """Scores of a design, methods by metrics, best AUC first."""
        rows = [s.to_dict() for s in self.scores if s.split == design and s.stratum == "all"]
        wide = pd.DataFrame(rows).pivot_table(
            index="rep", columns="metric", values="value", sort=False
        )
        return wide.sort_values(HEADLINE, ascending=False, kind="stable")

    def best_of_each(self, design: str = GENES) -> list[str]:
        """The method of the highest AUC of every kind of vectors: models first, then simple ones;
        near-labels are not among them."""
        best: dict[str, Score] = {}
        for s in self.scores:
            if (s.metric, s.split, s.stratum) != (HEADLINE, design, "all"):
                continue
            source = s.rep.split(" + ")[0]
            beaten = source not in best or s.value > best[source].value
            if beaten and s.rep not in self.ceilings:
                best[source] = s
        simple = set(self.baselines)
        order = sorted(best.values(), key=lambda s: (s.rep in simple, -s.value))
        return [s.rep for s in order]

    @property
    def baselines(self) -> list[str]:
        """Names of the simple methods."""
        return list(dict.fromkeys(a.rep for a in self.answers if a.baseline))

    def plot_roc(self, design: str = GENES) -> Any:
        """ROC of the best classifier of every kind of vectors; returns an Axes."""
        shown = self.best_of_each(design)
        return roc_curves(
            {rep: roc_within_folds(self.answer(rep, design)) for rep in shown},
            auc={rep: self.score(rep, design=design).value for rep in shown},
            baselines=self.baselines,
            positive=self.labels.classes[-1],
            title="ROC of held-out genes",
            subtitle=f"{HELD_OUT[design]}; the best classifier of each",
            ax=new_axes(9.0, 4.8),
        )

    def plot_scores(self, metric: str = "macro_f1", design: str = GENES) -> Any:
        """One metric of every method with its interval; returns an Axes."""
        return gene_scores(
            self.scores,
            metric=metric,
            split=design,
            baselines=self.baselines,
            ceilings=self.ceilings,
        )

    def plot_recall(self, design: str = GENES) -> Any:
        """Recall of each class; returns an Axes."""
        return recall_per_class(self.scores, self.best_of_each(design), split=design)

    def plot_confusion(self, rep: str, design: str = GENES) -> Any:
        """Genes per true and predicted class, all repeats together; returns an Axes."""
        found = self.answer(rep, design)
        repeats = len(found.rows_m) // len(self.task.codes_g)
        return confusion_matrix(
            metrics.confusion(found) / max(repeats, 1),
            found.classes,
            title="Confusion matrix",
            subtitle=f"{rep}, {HELD_OUT[design]}; genes, mean of {repeats} "
            f"repeat{'' if repeats == 1 else 's'}",
            ax=new_axes(5.4 + 0.4 * len(found.classes), 3.6 + 0.4 * len(found.classes)),
        )

    def plot_hidden(self, metric: str = HEADLINE) -> Any:
        """A metric against the share of labels hidden; returns an array of Axes."""
        return hidden_labels([h.to_dict() for h in self.hidden], metric=metric)

    def to_dict(self) -> dict[str, Any]:
        """What ``metrics.json`` holds."""
        answers = [a for a in self.answers if a.split == GENES]
        return plain(
            {
                "schema": SCHEMA,
                "label": self.labels.label,
                "classes": self.labels.classes,
                "positive": self.labels.classes[-1],
                "genes_labelled": self.labels.sizes,
                "genes_compared": len(self.views.kept),
                "families": len(set(self.task.families_g.tolist())),
                "designs": [
                    {
                        "name": d.name,
                        "held_out": d.fold_unit,
                        "unit": d.unit,
                        "folds": len(d.folds),
                        "note": d.note,
                    }
                    for d in self.task.designs
                ],
                "asked": self.views.asked,
                "baselines": self.baselines,
                "ceilings": self.ceilings,
                "properties_lacking": self.views.lacks,
                "scores": [s.to_dict() for s in self.scores],
                "differences": [d.to_dict() for d in self.differences],
                "hidden": [h.to_dict() for h in self.hidden],
                "per_class": {a.rep: metrics.per_class(a) for a in answers},
                "confusion": {
                    a.rep: {"classes": a.classes, "counts": metrics.confusion(a)} for a in answers
                },
                "classifier_notes": self.task.notes,
                "checks": [c.to_dict() for c in self.checks],
                "sentences": self.sentences,
            }
        )
