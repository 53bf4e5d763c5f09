"""What a disease test found, as tables, figures and JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellwright.errors import SettingsError
from cellwright.evaluation import metrics
from cellwright.evaluation.comparison import Difference
from cellwright.evaluation.disease_designs import CROSS, Cohort
from cellwright.evaluation.folds import Design
from cellwright.evaluation.shuffling import ShuffleControl
from cellwright.interfaces import Check, Predictions, Score
from cellwright.report.confusion import confusion_matrix
from cellwright.report.disease_figures import (
    clean_and_leaky,
    dose_curves,
    random_set_strips,
    real_and_simulated,
    state_scores,
)
from cellwright.report.embedding import embedding_map
from cellwright.report.notebook import scores_html
from cellwright.workflows.disease_cohorts import Simulation
from cellwright.workflows.disease_controls import Controls
from cellwright.workflows.disease_real import RealShift
from cellwright.workflows.pictures import Picture
from cellwright.workflows.plain_files import plain

SCHEMA = "cellwright.disease-test/1"


@dataclass(frozen=True)
class DiseaseTest:
    """What a disease test found; a table in a notebook.

    scores: ``task`` says the question, ``rep`` representation and classifier. controls: empty
    where the file is no simulated one. real: the real shift beside it, or None.
    """

    cohort: Cohort
    normal: str
    designs: tuple[Design, ...]
    answers: tuple[Predictions, ...]
    scores: tuple[Score, ...]
    differences: tuple[tuple[str, Difference], ...]
    checks: tuple[Check, ...]
    sentences: tuple[str, ...]
    shuffled: tuple[ShuffleControl, ...]
    controls: Controls
    real: RealShift | None
    pictures: Mapping[str, Picture]
    asked: tuple[str, ...]
    simulation: Simulation | None
    seed: int
    folder: Path | None = None

    @property
    def questions(self) -> list[str]:
        """``perturbed`` and, with more than one diseased state, ``state``."""
        return list(dict.fromkeys(a.task.partition(":")[2] for a in self.answers))

    def answer(self, rep: str, question: str = "perturbed", design: str = CROSS) -> Predictions:
        """What ``rep`` (representation and classifier: ``pca + logistic-regression``) answered."""
        known = [a for a in self.answers if a.split == design and a.task.endswith(f":{question}")]
        for found in known:
            if found.rep == rep:
                return found
        raise SettingsError(
            f"no answers of {rep!r} to {question!r} in the {design} design; there are: "
            f"{', '.join(a.rep for a in known) or 'none'}"
        )

    def of(self, question: str, design: str = CROSS) -> list[Score]:
        """The scores of one question in one design, over all its units."""
        return [
            s
            for s in self.scores
            if s.task.endswith(f":{question}") and s.split == design and s.stratum == "all"
        ]

    def table(self, question: str = "perturbed", design: str = CROSS) -> pd.DataFrame:
        """Scores, representation and classifier by metric, best first."""
        frame = pd.DataFrame([s.to_dict() for s in self.of(question, design)])
        wide = frame.pivot_table(index="rep", columns="metric", values="value", sort=False)
        return wide.sort_values("accuracy", ascending=False, kind="stable")

    def shift_table(self) -> pd.DataFrame:
        """Simulated and real shift in one table: AUC of each with its interval, by representation."""
        frames = []
        for which, scores in (("simulated", self.scores), ("real", self.real_scores)):
            rows = [
                s.to_dict() | {"shift": which}
                for s in scores
                if s.metric == "roc_auc" and s.task.endswith(":perturbed")
                and s.split == CROSS and s.stratum == "all"
            ]  # fmt: skip
            frames.append(pd.DataFrame(rows))
        columns = ["shift", "rep", "metric", "value", "low", "high", "chance", "unit", "n"]
        return pd.concat(frames)[columns]

    @property
    def real_scores(self) -> tuple[Score, ...]:
        return self.real.scores if self.real is not None else ()

    def best(self, question: str, rep: str) -> Predictions:
        """The classifier of ``rep`` with the most cells right in the cross-validation."""
        known = [
            a
            for a in self.answers
            if a.split == CROSS and a.task.endswith(f":{question}")
            and a.rep == f"{rep} + {a.model}"
        ]  # fmt: skip
        return max(known, key=lambda a: float((a.predicted_m == a.truth_m).mean()))

    def plot_scores(self, question: str = "perturbed", metric: str = "accuracy") -> Any:
        """Every representation and classifier with its interval, as Axes."""
        words = {"perturbed": "Perturbed or normal", "state": "Which state"}[question]
        return state_scores(self.of(question), metric=metric, asked=self.asked, title=words)

    def plot_confusion(self, rep: str, question: str | None = None) -> Any:
        """Confusion matrix of held-out cells, of the representation's best classifier, as Axes."""
        found = self.best(question or self.questions[-1], rep)
        held = "cells" if found.unit == "cells" else f"whole {found.fold_unit}"
        return confusion_matrix(
            metrics.confusion(found),
            found.classes,
            title=found.rep,
            subtitle=f"{len(found.rows_m):,} cells, {held} held out",
        )

    def plot_map(self, rep: str) -> Any:
        """UMAP coloured by state, as Axes."""
        found = self.pictures[rep]
        states_n = np.asarray(self.cohort.classes)[self.cohort.state_codes_n]
        return embedding_map(
            found.projection.xy_m2,
            states_n[found.projection.rows_m],
            rep=rep,
            label="state",
            knn=found.knn.to_dict(),
            order=self.cohort.classes,
        )

    def plot_random_sets(self) -> Any:
        """The disease's genes beside random sets, as an array of Axes."""
        return random_set_strips(self.controls.sets)

    def plot_doses(self) -> Any:
        """AUC over dose, as Axes."""
        return dose_curves(self.controls.doses)

    def plot_leak(self, metric: str = "accuracy") -> Any:
        """Copies split by base cell and at random, as an array of Axes."""
        return clean_and_leaky(self.controls.leak, metric=metric, note=self.controls.leak_note)

    def plot_real(self) -> Any:
        """AUC of the simulated and of the real shift side by side, as Axes."""
        rows: list[Any] = self.shift_table().to_dict("records")
        return real_and_simulated(rows)

    def plot_real_map(self) -> Any:
        """Simulated and real cells in one latent space, as Axes."""
        if self.real is None or self.real.picture is None:
            raise SettingsError("there is no real shift to draw; give --real")
        found = self.real.picture
        return embedding_map(
            found.projection.xy_m2,
            self.real.labels_n[found.projection.rows_m],
            label="cohort",
            title=f"Simulated and real shift in one space: UMAP of {found.rep}",
            knn=found.knn.to_dict(),
        )

    def to_dict(self) -> dict[str, Any]:
        """What ``metrics.json`` holds."""
        cohort, controls = self.cohort, self.controls
        found = {
            "schema": SCHEMA,
            "states": {
                name: int((cohort.state_codes_n == code).sum())
                for code, name in enumerate(cohort.classes)
            },
            "normal": self.normal,
            "cells": len(cohort.state_codes_n),
            "base_cells": len(np.unique(cohort.base_n)),
            "paired": cohort.paired,
            "donor": None if cohort.donor_n is None else cohort.donor_name,
            "donors": 0 if cohort.donor_n is None else len(np.unique(cohort.donor_n)),
            "seed": self.seed,
            "asked": list(self.asked),
            "designs": [
                {
                    "name": d.name,
                    "fold_unit": d.fold_unit,
                    "train": [len(f.train) for f in d.folds],
                    "test": [len(f.test) for f in d.folds],
                    "note": d.note,
                }
                for d in self.designs
            ],
            "scores": [s.to_dict() for s in self.scores],
            "differences": [{"question": q, **d.to_dict()} for q, d in self.differences],
            "checks": [c.to_dict() for c in self.checks],
            "sentences": list(self.sentences),
            "confusion": {
                f"{a.task.partition(':')[2]}: {a.rep}": {
                    "classes": list(a.classes),
                    "counts": metrics.confusion(a).tolist(),
                }
                for a in self.answers
                if a.split == CROSS
            },
            "controls": {
                "label_shuffle": [c.to_dict() for c in self.shuffled],
                "random_sets": [c.to_dict() for c in controls.sets],
                "random_sets_match": controls.matches,
                "fold_1": [c.to_dict() for c in controls.nulls],
                "dose_response": [p.to_dict() for p in controls.doses],
                "leak": [r.to_dict() for r in controls.leak],
                "leak_note": controls.leak_note,
            },
            "real": None
            if self.real is None
            else {
                "name": self.real.name,
                "scores": [s.to_dict() for s in self.real.scores],
                "shifts": list(self.real.shifts),
            },
        }
        return dict(plain(found))

    def _repr_html_(self) -> str:
        return scores_html(self.of("perturbed"))
