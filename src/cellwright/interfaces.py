"""The shapes that pass between the stages: token batches, scores, checks and the protocols.

Axis letters everywhere: n cells, g genes, t tokens, d dims, k classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, Self, runtime_checkable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Severity = Literal["note", "warning", "failure"]
Seen = Literal["clean", "seen-unlabelled", "seen-labelled", "unknown"]


@dataclass(frozen=True)
class TokenBatch:
    """One batch of tokenized cells, plain NumPy.

    gene_ids_nt: index of each token's gene in the vocabulary.
    value_ids_nt: index of each token's value (bin, or rank).
    pad_nt: True where the token is padding.
    """

    gene_ids_nt: NDArray[np.int64]
    value_ids_nt: NDArray[np.uint8] | NDArray[np.int64]
    pad_nt: NDArray[np.bool_]


@dataclass(frozen=True)
class RowBlock:
    """Consecutive or selected rows of a count matrix.

    counts_ng: scipy CSR matrix, cells × genes; obs_names: (n,) str; rows: (n,) positions in the file.
    """

    counts_ng: Any
    obs_names: NDArray[np.str_]
    rows: NDArray[np.int64]


@dataclass(frozen=True)
class Check:
    """The outcome of one honesty check, as a sentence and what to do about it."""

    name: str
    severity: Severity
    sentence: str
    remedy: str = ""

    def to_dict(self) -> dict[str, str]:
        return {
            "name": self.name,
            "severity": self.severity,
            "sentence": self.sentence,
            "remedy": self.remedy,
        }


@dataclass(frozen=True)
class Score:
    """One number with everything needed to judge it.

    value, low, high: the metric and its 95 % interval, in the metric's units (higher is better
    unless ``higher_is_better`` is False). ``interval`` names the method (``wilson``, ``exact``,
    ``bootstrap``), ``unit`` what was resampled (cells, libraries, donors, genes, perturbations)
    and ``n`` how many of them. ``chance`` is the value of a guess that knows only the class
    sizes. ``baseline`` names the best simple method on the same units and ``difference`` is the
    paired difference to it: ``{"value", "low", "high"}``.
    """

    task: str
    rep: str
    model: str
    metric: str
    value: float
    low: float
    high: float
    interval: str
    unit: str
    n: int
    chance: float | None
    split: str
    fold_unit: str
    seen: Seen
    stratum: str = "all"
    baseline: str | None = None
    difference: dict[str, float] | None = None
    higher_is_better: bool = True

    def to_dict(self) -> dict[str, Any]:
        out = dict(self.__dict__)
        out["difference"] = None if self.difference is None else dict(self.difference)
        return out


@dataclass(frozen=True)
class CellView:
    """One representation as a task sees it: it cannot tell a model from a baseline.

    vectors(fit_rows) returns vectors_nd for *all* cells of ``obs``, with everything that is
    fitted (genes, means, components) fitted on the cells ``fit_rows`` only. A frozen or
    precomputed representation ignores ``fit_rows``. ``seen_n`` says, per cell, what the
    representation has seen of it.
    """

    name: str
    vectors: Callable[[NDArray[np.int64]], NDArray[np.float32]]
    seen_n: NDArray[np.str_]
    obs: pd.DataFrame
    baseline: bool = False
    refitted_per_fold: bool = False


@dataclass(frozen=True)
class Predictions:
    """What one representation answered in one design: one row per scored cell.

    rows_m: positions in ``obs``; truth_m and predicted_m: class indices into ``classes``;
    probability_mk: class probabilities (rows sum to 1); unit_m: the resampling unit of each row;
    fold_m: the fold in which the row was held out.
    """

    task: str
    rep: str
    model: str
    split: str
    fold_unit: str
    classes: tuple[str, ...]
    rows_m: NDArray[np.int64]
    truth_m: NDArray[np.int64]
    predicted_m: NDArray[np.int64]
    probability_mk: NDArray[np.float64]
    unit_m: NDArray[np.str_]
    unit: str
    fold_m: NDArray[np.int64]
    seen: Seen
    baseline: bool
    fitted: Sequence[Any] = field(default_factory=tuple, repr=False)


@runtime_checkable
class Tokenizer(Protocol):
    """Counts in, tokens out. Fitted on training cells only."""

    def fit(self, blocks: Iterable[RowBlock]) -> Self: ...

    def encode(self, counts_ng: Any) -> TokenBatch: ...

    def state(self) -> dict[str, NDArray[Any]]: ...

    @classmethod
    def from_state(cls, state: dict[str, NDArray[Any]]) -> Self: ...


@runtime_checkable
class Representation(Protocol):
    """Cells in, vectors out; baselines and models alike.

    ``cells`` is an AnnData whose counts ``data.reading.counts_of`` can find.
    """

    name: str

    def fit(self, cells: Any) -> Self: ...

    def transform(self, cells: Any) -> NDArray[np.float32]: ...

    def save(self, path: Path) -> None: ...


@runtime_checkable
class GeneVectors(Protocol):
    """A representation that also holds one vector per gene."""

    def gene_vectors(self) -> tuple[list[str], NDArray[np.float32]]: ...


@runtime_checkable
class Editable(Protocol):
    """A representation that can embed cells whose genes were edited.

    ``edits`` are those of ``perturbation.edits``: delete, raise or scale a gene or a set.
    """

    def transform_edited(self, cells: Any, edits: Sequence[Any]) -> NDArray[np.float32]:
        """(edits, cells, dims): the vectors of all cells after each edit, every edit by itself."""
        ...


@runtime_checkable
class Task(Protocol):
    """An exam for representations.

    ``predict`` answers for one view; ``score`` turns answers into numbers beside the rivals'
    answers on the same units, because a paired difference needs both.
    """

    name: ClassVar[str]
    needs: ClassVar[Literal["cells", "genes", "candidates", "finetune"]]

    def predict(self, view: CellView) -> list[Predictions]: ...

    def score(self, answers: Predictions, rivals: Sequence[Predictions]) -> list[Score]: ...


BlockStream = Iterator[RowBlock]
