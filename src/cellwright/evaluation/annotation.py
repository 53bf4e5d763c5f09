"""The annotation task: can a linear probe read the label off the vectors of held-out cells?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from cellwright.evaluation.comparison import Judgement
from cellwright.evaluation.folds import Design
from cellwright.evaluation.probe import Probe
from cellwright.interfaces import CellView, Check, Predictions, Score


@dataclass(frozen=True)
class ShuffleControl:
    """Balanced accuracy of probes fitted on permuted training labels; it must hold chance.

    value: mean over ``shuffles``; low, high: 95 % interval of that mean; least, most: the range of
    single shuffles.
    """

    rep: str
    metric: str
    split: str
    value: float
    low: float
    high: float
    least: float
    most: float
    chance: float
    shuffles: int

    @property
    def holds(self) -> bool:
        """True if chance lies inside the interval (widened by 0.02)."""
        raise NotImplementedError

    def check(self) -> Check:
        """A note if chance holds, a failure if permuted labels can be predicted."""
        raise NotImplementedError

    def to_dict(self) -> dict[str, Any]:
        """The fields and ``holds`` as a plain mapping."""
        raise NotImplementedError


@dataclass(frozen=True)
class Annotation:
    """Task: predict a label of cells with a logistic-regression probe.

    Parameters
    ----------
    label_codes_n
        Index of each cell's class in ``classes``, -1 for a cell that takes no part.
    classes
        Names of the classes (at least two in use).
    cell_names_n
        ``obs_names``; must equal the index of every view's ``obs``.
    groups_n, group_name
        What is held out whole (library, donor) and its column name; None if there is none.
    split_n
        ``obs["split"]`` (train, val, test), needed by the design ``given``.
    designs
        Any of ``grouped``, ``random``, ``given``. None: ``grouped`` if there are groups, and ``random``.
    unseen_n
        True where a cell may take part in ``grouped`` and ``random`` folds: the cells that no
        representation in the comparison has been trained on. None: all.
    positive
        Class whose F1 is scored and whose probability the ROC curve of two classes uses.
    label
        Name of the label column, for messages.
    """

    name: ClassVar[str] = "annotation"
    needs: ClassVar[Literal["cells", "genes", "candidates", "finetune"]] = "cells"

    label_codes_n: NDArray[np.int64]
    classes: Sequence[str]
    cell_names_n: NDArray[np.str_]
    groups_n: NDArray[np.str_] | None = None
    group_name: str = "groups"
    split_n: NDArray[np.str_] | None = None
    designs: Sequence[str] | None = None
    unseen_n: NDArray[np.bool_] | None = None
    positive: str | None = None
    label: str = "label"
    class_weight: str | None = "balanced"
    C: float = 1.0
    folds: int = 5
    test_share: float = 0.2
    seed: int = 0
    resamples: int = 2000
    shuffles: int = 20

    def draw(self) -> list[Design]:
        """The designs with their folds (positions into all cells). Deterministic; cell order does not matter."""
        raise NotImplementedError

    def predict(self, view: CellView) -> list[Predictions]:
        """Answers for the held-out cells, one ``Predictions`` per design; ``fitted`` holds the probe of each fold."""
        raise NotImplementedError

    def score(self, answers: Predictions, rivals: Sequence[Predictions]) -> list[Score]:
        """All metrics of ``answers`` with intervals and the paired difference to the best of ``rivals``."""
        raise NotImplementedError

    def judge(self, answers: Sequence[Predictions]) -> Judgement:
        """Score many representations and designs at once (``comparison.judge`` with this task's settings)."""
        raise NotImplementedError

    def control(self, view: CellView) -> list[ShuffleControl]:
        """The label-shuffle control of one representation, one per design."""
        raise NotImplementedError

    def fit_all(self, view: CellView) -> Probe:
        """The final probe: fitted on every labelled cell; what ``probe.npz`` keeps."""
        raise NotImplementedError
