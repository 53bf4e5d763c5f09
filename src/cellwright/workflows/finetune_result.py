"""What fine-tuning found beside every other method, as tables, figures and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellwright.errors import SettingsError
from cellwright.evaluation import metrics
from cellwright.evaluation.comparison import Difference
from cellwright.evaluation.folds import Design
from cellwright.interfaces import Check, Predictions, Score
from cellwright.report.confusion import confusion_matrix
from cellwright.report.embedding import embedding_map
from cellwright.report.finetune_curves import finetune_curves
from cellwright.report.label_curves import label_curves_figure
from cellwright.report.method_bars import method_bars
from cellwright.report.notebook import scores_html
from cellwright.report.roc import roc_curves
from cellwright.representations.finetuned import FinetunedRun
from cellwright.workflows.finetune_methods import FINETUNED, FROZEN, PLAIN
from cellwright.workflows.label_efficiency import LabelEfficiency
from cellwright.workflows.labels import Labels
from cellwright.workflows.pictures import Picture
from cellwright.workflows.plain_files import plain

SCHEMA = "cellwright.finetune/1"
FROZEN_METHOD = f"{FROZEN} + {PLAIN}"


@dataclass(frozen=True)
class FinetuneResult:
    """What fine-tuning found; a table in a notebook.

    run: fine-tuned on the train cells of ``final``, ready to embed and to predict. answers: of
    every method, in one design. histories: of each fold's fine-tuning, the final one last. pictures:
    ``frozen`` and ``fine-tuned``, of the cells the final run was not given labels of. few_labels:
    every method at fewer labels, where that was asked for.
    """

    run: FinetunedRun
    labels: Labels
    design: Design
    answers: tuple[Predictions, ...]
    scores: tuple[Score, ...]
    differences: tuple[Difference, ...]
    checks: tuple[Check, ...]
    sentences: tuple[str, ...]
    chosen: Mapping[str, list[dict[str, Any]]]
    seconds: Mapping[str, float]
    histories: tuple[list[dict[str, float]], ...]
    final: Mapping[str, Any]
    pictures: Mapping[str, Picture]
    settings: Mapping[str, Any]
    cells_n: tuple[str, ...]
    base: str
    folder: Path | None = None
    few_labels: LabelEfficiency | None = None

    def answer(self, method: str) -> Predictions:
        """What a method answered for the held-out cells."""
        return next(a for a in self.answers if a.rep == method)

    def table(self) -> pd.DataFrame:
        """Scores, methods by metrics, best first."""
        frame = pd.DataFrame([s.to_dict() for s in self.scores if s.stratum == "all"])
        wide = frame.pivot_table(index="rep", columns="metric", values="value", sort=False)
        return wide.sort_values("accuracy", ascending=False, kind="stable")

    @cached_property
    def baselines(self) -> list[str]:
        """Methods that use nothing of the pretrained run."""
        return [a.rep for a in self.answers if a.baseline]

    def plot_methods(self, metric: str = "accuracy") -> Any:
        """Every method's score with its interval as bars, as Axes."""
        return method_bars(self.scores, metric=metric, baselines=self.baselines)

    def plot_confusion(self, method: str = FINETUNED) -> Any:
        """Confusion matrix of held-out cells, as Axes."""
        answers = self.answer(method)
        return confusion_matrix(
            metrics.confusion(answers),
            answers.classes,
            title=f"{method}: {self.labels.column}",
            subtitle=f"{len(answers.rows_m):,} held-out cells, whole {self.design.fold_unit} held out"
            if self.design.unit != "cells"
            else f"{len(answers.rows_m):,} held-out cells",
        )

    def plot_roc(self) -> Any:
        """ROC of the two uses of the run and of the best baselines, as Axes."""
        auc = {s.rep: s.value for s in self.scores if s.metric == "roc_auc" and s.stratum == "all"}
        best = sorted(self.baselines, key=lambda rep: -auc.get(rep, 0.0))[:5]
        shown = [a for a in self.answers if not a.baseline or a.rep in best]
        positive = self.labels.positive
        return roc_curves(
            {a.rep: metrics.roc_points(a, positive) for a in shown},
            auc=auc,
            baselines=best,
            positive=positive,
            title="ROC of held-out cells",
            subtitle=f"{self.labels.curve_of}; the five best baselines",
        )

    def plot_curves(self) -> Any:
        """Validation loss and accuracy over epochs, of every fold and of the final run."""
        return finetune_curves(self.histories, [int(e) for e in self._best_epochs])

    def plot_few_labels(self, metric: str = "macro_f1") -> Any:
        """A metric of every method over the number of labels, as Axes.

        Raises
        ------
        SettingsError
            If fewer labels were not asked for.
        """
        if self.few_labels is None:
            raise SettingsError("fewer labels were not asked for; give labels_per_class")
        return label_curves_figure(self.few_labels.table(), metric=metric, label=self.labels.column)

    def plot_map(self, which: str) -> Any:
        """UMAP of the ``frozen`` or the ``fine-tuned`` vectors of held-out cells, as Axes."""
        found = self.pictures[which]
        shown = self.labels.class_n[self.final["picture_rows"]][found.projection.rows_m]
        return embedding_map(
            found.projection.xy_m2,
            shown,
            method="umap",
            rep=f"{which} {self.base}",
            title=f"UMAP of held-out cells: {self.base}, {which}",
            label=self.labels.column,
            knn=found.knn.to_dict(),
            order=self.labels.classes,
        )

    @property
    def _best_epochs(self) -> list[int]:
        folds = [int(c["epoch"]) for c in self.chosen[FINETUNED]]
        return [*folds, int(self.final["best_epoch"])]

    def to_dict(self) -> dict[str, Any]:
        """What ``metrics.json`` holds."""
        labels, design = self.labels, self.design
        found = {
            "schema": SCHEMA,
            "label": labels.column,
            "classes": list(labels.classes),
            "positive": labels.positive,
            "cells": len(labels.codes_n),
            "excluded": labels.excluded,
            "run": self.base,
            "settings": dict(self.settings),
            "design": {
                "name": design.name,
                "fold_unit": design.fold_unit,
                "unit": design.unit,
                "train": [len(f.train) for f in design.folds],
                "test": [len(f.test) for f in design.folds],
                "note": design.note,
            },
            "asked": [a.rep for a in self.answers if not a.baseline],
            "baselines": self.baselines,
            "scores": [score.to_dict() for score in self.scores],
            "differences": [difference.to_dict() for difference in self.differences],
            "checks": [check.to_dict() for check in self.checks],
            "sentences": list(self.sentences),
            "chosen": {method: list(values) for method, values in self.chosen.items()},
            "seconds": dict(self.seconds),
            "per_class": {a.rep: metrics.per_class(a) for a in self.answers},
            "final": {k: v for k, v in self.final.items() if k != "picture_rows"},
            "label_efficiency": None if self.few_labels is None else self.few_labels.to_dict(),
            "knn_2d": {which: found.to_dict() for which, found in self.pictures.items()},
        }
        return dict(plain(found))

    def predictions(self) -> pd.DataFrame:
        """One row per held-out cell and method."""
        names_n = np.asarray(self.cells_n, dtype=str)
        frames = []
        for a in self.answers:
            classes = np.array(a.classes, dtype=str)
            frame = pd.DataFrame(
                {
                    "cell": names_n[a.rows_m],
                    "method": a.rep,
                    "fold": a.fold_m,
                    "class": classes[a.truth_m],
                    "prediction": classes[a.predicted_m],
                }
            )
            for k, name in enumerate(classes):
                frame[f"p_{name}"] = a.probability_mk[:, k].round(6)
            frames.append(frame)
        return pd.concat(frames)

    def _repr_html_(self) -> str:
        return scores_html(list(self.scores))
