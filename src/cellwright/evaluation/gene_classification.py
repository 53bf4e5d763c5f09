"""The gene task: can a class of genes be read off their vectors, and off simpler things?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.evaluation.classifiers import fit_tuned
from cellwright.evaluation.comparison import Difference, Judgement, judge
from cellwright.evaluation.folds import Design, Fold
from cellwright.evaluation.gene_folds import FAMILIES
from cellwright.evaluation.gene_scores import families_measure
from cellwright.evaluation.sentences import verdicts
from cellwright.interfaces import Check, Predictions, Score, Seen, Severity

HEADLINE = "roc_auc"
# How a classifier is written after the name of what it reads.
SHORT: Mapping[str, str] = {
    "logistic-regression": "LR",
    "linear-svm": "SVM",
    "rbf-svm": "RBF-SVM",
    "random-forest": "RF",
    "xgboost": "XGBoost",
}


@dataclass(frozen=True)
class GeneView:
    """Vectors of the genes compared, whatever made them.

    vectors_gd: (g, d), NaN where a property is unknown (filled with the median of the training
    genes). baseline: a simple method. ceiling: a near-label, never a rival nor a result.
    """

    name: str
    vectors_gd: NDArray[np.floating]
    baseline: bool = False
    ceiling: bool = False
    classifiers: tuple[str, ...] | None = None


@dataclass(frozen=True)
class GeneTask:
    """Genes with their classes and families, and the folds they are held out in.

    codes_g: (g,) index into ``classes``, the last the positive one; gene_ids_g and families_g:
    (g,) names; designs: from ``gene_folds``; resamples: bootstrap draws of an interval; threads: of
    forests and boosted trees.
    """

    name: ClassVar[str] = "classify-genes"

    codes_g: NDArray[np.int64]
    classes: tuple[str, ...]
    gene_ids_g: NDArray[np.str_]
    families_g: NDArray[np.str_]
    designs: tuple[Design, ...]
    seed: int = 0
    resamples: int = 2000
    threads: int = 1
    notes: dict[str, str] = field(default_factory=dict)

    def answer(self, view: GeneView, classifier: str, design: Design) -> Predictions:
        """Answers of one tuned classifier on one kind of vectors for all held-out genes."""
        groups_g = self.families_g if design.name == FAMILIES else None

        def probability(fold: Fold, number: int) -> NDArray[np.float64]:
            x_gd = filled(view.vectors_gd, fold.train)
            tuned = fit_tuned(
                classifier,
                x_gd[fold.train],
                self.codes_g[fold.train],
                self.classes,
                groups_n=None if groups_g is None else groups_g[fold.train],
                seed=self.seed + number,
                threads=self.threads,
            )
            if tuned.note:
                self.notes[f"{view.name} + {classifier}"] = tuned.note
            return tuned.probability(x_gd[fold.test])

        short = SHORT.get(classifier, classifier)
        return self.collect(
            f"{view.name} + {short}", classifier, design, probability, baseline=view.baseline
        )

    def collect(
        self,
        rep: str,
        model: str,
        design: Design,
        probability: Callable[[Fold, int], NDArray[np.float64]],
        *,
        baseline: bool = False,
        seen: Seen = "clean",
    ) -> Predictions:
        """Ask for the (test, k) probabilities of every fold and put the answers in one order.

        Rows are sorted by gene, then by repeat; a gene is a row in every repeat.

        Raises
        ------
        DataError
            If a probability is not finite.
        """
        rows, parts, fold_of = [], [], []
        for number, fold in enumerate(design.folds):
            found_mk = np.asarray(probability(fold, number), dtype=np.float64)
            if not np.isfinite(found_mk).all():
                raise DataError(
                    f"{rep} answered {found_mk[~np.isfinite(found_mk)][0]} in fold {number + 1} of "
                    f"the {design.name} design, expected probabilities"
                )
            rows.append(fold.test)
            parts.append(found_mk)
            fold_of.append(np.full(len(fold.test), number))
        rows_m, fold_m = np.concatenate(rows), np.concatenate(fold_of)
        order = np.lexsort((fold_m, self.gene_ids_g[rows_m]))
        rows_m = rows_m[order]
        probability_mk = np.concatenate(parts)[order]
        units = self.families_g if design.unit == "families" else self.gene_ids_g
        return Predictions(
            task=self.name,
            rep=rep,
            model=model,
            split=design.name,
            fold_unit=design.fold_unit,
            classes=self.classes,
            rows_m=rows_m,
            truth_m=self.codes_g[rows_m],
            predicted_m=probability_mk.argmax(axis=1),
            probability_mk=probability_mk,
            unit_m=units[rows_m].astype(np.str_),
            unit=design.unit,
            fold_m=fold_m[order],
            seen=seen,
            baseline=baseline,
        )

    def judge(
        self,
        answers: Sequence[Predictions],
        *,
        shortcuts: Mapping[str, str],
        ceilings: Sequence[str] = (),
    ) -> Judgement:
        """Scores, paired differences to every simple method, and sentences about the best classifier
        of each kind of vectors.

        Parameters
        ----------
        shortcuts
            Simple methods that a sentence names whenever they are not beaten.
        ceilings
            Names of near-labels: scored, and never called better than anything.
        """
        seen = {a.rep: a.seen for a in answers}
        found = judge(
            # The sentences of judge speak of cells that were seen; of genes it is said below.
            [replace(a, seen="clean") for a in answers],
            families_measure(self.families_g),
            resamples=self.resamples,
            seed=self.seed,
            headline=HEADLINE,
            shortcuts=shortcuts,
        )
        near = set(ceilings)
        scores = tuple(
            replace(s, seen=seen[s.rep], baseline=None, difference=None)
            if s.rep in near
            else replace(s, seen=seen[s.rep])
            for s in found.scores
        )
        simple = {a.rep for a in answers if a.baseline}
        lines = []
        for design in self.designs:
            told = _best_of_each(found.scores, design.name)
            own = [
                s
                for s in found.scores
                if s.split == design.name
                and s.rep not in near
                and (s.rep in told or s.rep in simple)
            ]
            where = ", single genes held out" if design.name != FAMILIES else ""
            lines += [
                f"{line.rstrip('.')}{where}." if where else line
                for line in verdicts(
                    own, _pairs(found.differences, told), metric=HEADLINE, shortcuts=shortcuts
                )
            ]
        checks = [c for c in found.checks if c.name != "few-units"]
        for design in self.designs:
            if design.note:
                severity: Severity = "warning" if design.unit != design.fold_unit else "note"
                checks.append(
                    Check("folds", severity, f"The {design.name} design has {design.note}.")
                )
        differences = tuple(d for d in found.differences if d.rep not in near)
        return Judgement(scores, differences, tuple(checks), tuple(lines))


def _best_of_each(scores: Sequence[Score], design: str) -> set[str]:
    """The method of the highest AUC of every kind of vectors."""
    best: dict[str, Score] = {}
    for s in scores:
        if (s.metric, s.split, s.stratum) == (HEADLINE, design, "all"):
            source = s.rep.split(" + ")[0]
            if source not in best or s.value > best[source].value:
                best[source] = s
    return {s.rep for s in best.values()}


def _pairs(differences: Sequence[Difference], reps: set[str]) -> list[Difference]:
    return [d for d in differences if d.rep in reps]


def filled(vectors_gd: NDArray[np.floating], train: NDArray[np.int64]) -> NDArray[np.float64]:
    """The vectors with NaN replaced by the column's median over the training genes (0 if none)."""
    x_gd = np.array(vectors_gd, dtype=np.float64)
    for column in np.flatnonzero(~np.isfinite(x_gd).all(axis=0)):
        known = x_gd[train, column]
        known = known[np.isfinite(known)]
        hole = ~np.isfinite(x_gd[:, column])
        x_gd[hole, column] = np.median(known) if len(known) else 0.0
    return x_gd
