"""What a probe found: scores, sentences and checks, as tables, figures and JSON."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellwright.errors import SettingsError
from cellwright.evaluation import metrics
from cellwright.evaluation.comparison import Difference
from cellwright.evaluation.probe import Probe
from cellwright.evaluation.shuffling import ShuffleControl
from cellwright.interfaces import Check, Predictions, Score
from cellwright.report.confusion import confusion_matrix
from cellwright.report.embedding import embedding_map
from cellwright.report.notebook import scores_html
from cellwright.report.roc import roc_curves
from cellwright.report.scores import score_panels
from cellwright.workflows.designs import Exam
from cellwright.workflows.labels import Labels
from cellwright.workflows.pictures import Picture, picture
from cellwright.workflows.plain_files import plain
from cellwright.workflows.projections import METHODS, Method, narrowed
from cellwright.workflows.subject import Subject
from cellwright.workflows.views import SIMPLE, Views

SCHEMA = "cellwright.probe/1"


@dataclass(frozen=True)
class ProbeResult:
    """What a probe found; a table in a notebook.

    scores: every representation, design and metric. checks: what was looked
    at for leaks and pretence. sentences: the findings in words. folder: where it was written, or None.
    """

    labels: Labels
    exam: Exam
    subject: Subject
    views: Views
    answers: tuple[Predictions, ...]
    scores: tuple[Score, ...]
    differences: tuple[Difference, ...]
    controls: tuple[ShuffleControl, ...]
    checks: tuple[Check, ...]
    sentences: tuple[str, ...]
    folder: Path | None = None

    @property
    def headline(self) -> str:
        """The design that counts: given, grouped or random."""
        return self.exam.designs[0].name

    def answer(self, rep: str, design: str | None = None) -> Predictions:
        """What ``rep`` answered in a design (default: the headline)."""
        known = [a for a in self.answers if a.split == (design or self.headline)]
        for found in known:
            if found.rep == rep:
                return found
        raise SettingsError(
            f"no answers of {rep!r} in the {design or self.headline} design; "
            f"there are: {', '.join(a.rep for a in known) or 'none'}"
        )

    def table(self, design: str | None = None) -> pd.DataFrame:
        """Scores of a design (default: the headline), representations by metrics, best first."""
        rows = [s for s in self.scores if s.split == (design or self.headline)]
        frame = pd.DataFrame([s.to_dict() for s in rows if s.stratum == "all"])
        wide = frame.pivot_table(index="rep", columns="metric", values="value", sort=False)
        return wide.sort_values("accuracy", ascending=False, kind="stable")

    @cached_property
    def probes(self) -> dict[str, Probe]:
        """The final probes, fitted on every labelled cell; never the ones that were scored."""
        return {view.name: self.exam.tasks[0].fit_all(view) for view in self.views}

    @cached_property
    def pictured(self) -> tuple[str, ...]:
        """The representations that are drawn: those asked for, an untrained encoder and pca."""
        beside = [v.name for v in self.views if v.name.startswith("untrained") or v.name == "pca"]
        return tuple(dict.fromkeys([*self.views.asked, *beside]))

    @cached_property
    def pictures(self) -> dict[tuple[str, Method], Picture]:
        """Every picture of ``pictured``, by representation and method (``pca``, ``tsne``, ``umap``)."""
        rows = np.flatnonzero(self.labels.codes_n >= 0)
        seed = self.exam.tasks[0].seed
        out = {}
        for rep in self.pictured:
            vectors_nd = narrowed(self.views[rep].vectors(rows))
            for method in METHODS:
                out[rep, method] = picture(rep, vectors_nd, self.labels.class_n, method, seed=seed)
        return out

    def plot_scores(self, design: str | None = None) -> Any:
        """Accuracy, macro F1 and AUC with intervals, as an array of Axes."""
        # A simple method that was asked for is judged like a model and drawn as what it is.
        baselines = [view.name for view in self.views if view.baseline or view.name in SIMPLE]
        chosen = design or self.headline
        names = ("accuracy", "macro_f1", "roc_auc")
        known = {s.metric for s in self.scores if s.split == chosen}
        return score_panels(
            self.scores,
            metrics=[n for n in names if n in known],
            split=chosen,
            baselines=baselines,
        )

    def plot_confusion(self, rep: str, design: str | None = None) -> Any:
        """Confusion matrix of held-out cells, as Axes."""
        answers = self.answer(rep, design)
        return confusion_matrix(
            metrics.confusion(answers),
            answers.classes,
            title=f"{rep}: {self.labels.column}",
            subtitle=f"{len(answers.rows_m)} held-out cells, {answers.split} design",
        )

    def plot_roc(self, design: str | None = None) -> Any:
        """ROC curves of all representations, as Axes."""
        chosen = design or self.headline
        answers = [a for a in self.answers if a.split == chosen]
        auc = {s.rep: s.value for s in self.scores if (s.split, s.metric) == (chosen, "roc_auc")}
        positive = self.labels.positive
        return roc_curves(
            {a.rep: metrics.roc_points(a, positive) for a in answers},
            auc=auc,
            baselines=[a.rep for a in answers if a.baseline],
            positive=positive,
            title="ROC of held-out cells",
            subtitle=f"{self.labels.curve_of}, {chosen} design",
        )

    def plot_map(self, rep: str, method: Method = "umap") -> Any:
        """A picture coloured by label with its kNN accuracy, as Axes."""
        found = self.pictures[rep, method]
        return embedding_map(
            found.projection.xy_m2,
            self.labels.class_n[found.projection.rows_m],
            method=method,
            rep=rep,
            label=self.labels.column,
            knn=found.knn.to_dict(),
            order=self.labels.classes,
        )

    def to_dict(self) -> dict[str, Any]:
        """What ``metrics.json`` holds, less the pictures."""
        headline = [a for a in self.answers if a.split == self.headline]
        labels = self.labels
        found = {
            "schema": SCHEMA,
            "label": labels.column,
            "classes": list(labels.classes),
            "positive": labels.positive,
            "cells": len(labels.codes_n),
            "excluded": labels.excluded,
            "unlabelled": labels.unlabelled,
            "left_out": labels.left_out,
            "asked": list(self.views.asked),
            "baselines": [view.name for view in self.views if view.baseline],
            "design": self.exam.to_dict(),
            "scores": [score.to_dict() for score in self.scores],
            "differences": [difference.to_dict() for difference in self.differences],
            "controls": [control.to_dict() for control in self.controls],
            "checks": [check.to_dict() for check in self.checks],
            "sentences": list(self.sentences),
            "per_class": {a.rep: metrics.per_class(a) for a in headline},
            "confusion": {
                a.rep: {
                    "classes": list(a.classes),
                    "counts": metrics.confusion(a).tolist(),
                }
                for a in headline
            },
            "roc": {a.rep: metrics.roc_points(a, labels.positive) for a in headline},
        }
        return dict(plain(found))

    def _repr_html_(self) -> str:
        return scores_html([s for s in self.scores if s.split == self.headline])
