"""Answers side by side: every metric with its interval, and paired differences on the same resamples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.evaluation.intervals import Measured, paired_difference
from cellwright.evaluation.resampling import Resamples, by_row, by_unit
from cellwright.evaluation.sentences import SHORTCUTS, verdicts
from cellwright.interfaces import Check, Predictions, Score

FEWEST_UNITS = 6

Measure = Callable[[Predictions, Resamples], dict[str, Measured]]
Table = Mapping[str, Mapping[str, Measured]]


@dataclass(frozen=True)
class Difference:
    """``value = rep - rival`` in one metric and design, on the same units, with its 95 % interval."""

    rep: str
    rival: str
    metric: str
    split: str
    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, Any]:
        """The fields as a plain mapping."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class Judgement:
    """All that was found about some representations in one task.

    scores: every representation (baselines too), design, metric and stratum.
    differences: every representation that is no baseline against every baseline.
    checks: what the reader must be warned of. sentences: what a report prints, one a line.
    """

    scores: tuple[Score, ...]
    differences: tuple[Difference, ...]
    checks: tuple[Check, ...]
    sentences: tuple[str, ...]


def judge(
    answers: Sequence[Predictions],
    measure: Measure,
    *,
    resamples: int = 2000,
    seed: int = 0,
    headline: str = "accuracy",
    shortcuts: Mapping[str, str] = SHORTCUTS,
) -> Judgement:
    """Score all answers (any mix of designs; rivals are those marked ``baseline``) in one go.

    Intervals resample the design's unit. With fewer than six units (donors, libraries) an
    interval over them would be a pretence: every unit is listed as a stratum of its own, and the
    interval over all is one over cells and says so in ``unit``. The best baseline is chosen per
    metric by its value on these cells; it is a rival of the representation, not of itself.

    Raises
    ------
    DataError
        If two answers in one design are not about the same cells.
    """
    scores: list[Score] = []
    differences: list[Difference] = []
    checks: list[Check] = []
    for split in dict.fromkeys(a.split for a in answers):
        group = [a for a in answers if a.split == split]
        rivals = [a.rep for a in group if a.baseline]
        _require_same_cells(group)
        units = units_of(group[0], resamples=resamples, seed=seed)
        table = {a.rep: measure(a, units.drawn) for a in group}
        for a in group:
            scores += scores_of(a, [] if a.baseline else rivals, table, units)
            differences += _differences(a, [] if a.baseline else rivals, table, units.drawn)
        for stratum, rows in units.listed.items():
            drawn = by_row(len(rows), draws=resamples, seed=seed)
            own = Units(drawn, "cells", {})
            part = [_rows(a, rows) for a in group]
            table = {a.rep: measure(a, drawn) for a in part}
            for a in part:
                scores += scores_of(a, [] if a.baseline else rivals, table, own, stratum)
        checks += _checks(group, units)
    lines = verdicts(scores, differences, metric=headline, shortcuts=shortcuts)
    return Judgement(tuple(scores), tuple(differences), tuple(checks), tuple(lines))


def score(
    answers: Predictions,
    rivals: Sequence[Predictions],
    measure: Measure,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> list[Score]:
    """The scores of one representation beside its rivals in the same design (see ``judge``)."""
    others = [replace(r, baseline=True) for r in rivals if r.split == answers.split]
    others = [r for r in others if r.rep != answers.rep]
    group = [replace(answers, baseline=False), *others]
    found = judge(group, measure, resamples=resamples, seed=seed)
    return [s for s in found.scores if s.rep == answers.rep]


@dataclass(frozen=True)
class Units:
    """What the intervals of one design resample.

    listed: the rows of every unit where there are too few of them for an interval.
    """

    drawn: Resamples
    unit: str
    listed: dict[str, NDArray[np.int64]]


def units_of(answers: Predictions, *, resamples: int, seed: int) -> Units:
    """Resamples of the named units if there are at least six, else of cells with the units listed."""
    listed: dict[str, NDArray[np.int64]] = {}
    if answers.unit != "cells":
        units, names_u = by_unit(answers.unit_m, draws=resamples, seed=seed)
        if units.n_units >= FEWEST_UNITS:
            return Units(units, answers.unit, {})
        listed = {str(u): np.flatnonzero(units.unit_m == i) for i, u in enumerate(names_u)}
    return Units(by_row(len(answers.rows_m), draws=resamples, seed=seed), "cells", listed)


def scores_of(
    a: Predictions,
    rivals: Sequence[str],
    table: Table,
    units: Units,
    stratum: str = "all",
) -> list[Score]:
    """The scores of one representation beside the best of its rivals, from a table of measures."""
    out = []
    for metric, own in table[a.rep].items():
        best = _best(metric, [r for r in rivals if r != a.rep], table)
        out.append(
            Score(
                task=a.task,
                rep=a.rep,
                model=a.model,
                metric=metric,
                value=own.value,
                low=own.interval.low,
                high=own.interval.high,
                interval=own.interval.method,
                unit=units.unit,
                n=units.drawn.n_units,
                chance=own.chance,
                split=a.split,
                fold_unit=a.fold_unit,
                seen=a.seen,
                stratum=stratum,
                baseline=best,
                difference=None if best is None else _paired(own, table[best][metric], units.drawn),
            )
        )
    return out


def _best(metric: str, rivals: Sequence[str], table: Table) -> str | None:
    known = [r for r in rivals if metric in table[r]]
    return max(known, key=lambda r: table[r][metric].value, default=None)


def _paired(own: Measured, other: Measured, drawn: Resamples) -> dict[str, float]:
    return paired_difference(
        own.value,
        other.value,
        own.draws_b,
        other.draws_b,
        own.interval,
        other.interval,
        drawn.sizes_u,
    )


def _differences(
    a: Predictions, rivals: Sequence[str], table: Table, drawn: Resamples
) -> list[Difference]:
    return [
        Difference(a.rep, r, metric, a.split, **_paired(own, table[r][metric], drawn))
        for r in rivals
        for metric, own in table[a.rep].items()
        if r != a.rep and metric in table[r]
    ]


def _rows(a: Predictions, rows: NDArray[np.int64]) -> Predictions:
    return replace(
        a,
        rows_m=a.rows_m[rows],
        truth_m=a.truth_m[rows],
        predicted_m=a.predicted_m[rows],
        probability_mk=a.probability_mk[rows],
        unit_m=a.unit_m[rows],
        fold_m=a.fold_m[rows],
        unit="cells",
    )


def _require_same_cells(group: Sequence[Predictions]) -> None:
    first = group[0]
    for a in group[1:]:
        if not np.array_equal(a.rows_m, first.rows_m) or not np.array_equal(
            a.truth_m, first.truth_m
        ):
            raise DataError(
                f"the answers of {first.rep} ({len(first.rows_m)} cells) and {a.rep} "
                f"({len(a.rows_m)} cells) in the {a.split} design are not about the same cells in "
                "the same order, so they cannot be compared; answer both with one task"
            )


def _checks(group: Sequence[Predictions], units: Units) -> list[Check]:
    checks = []
    first = group[0]
    if units.listed:
        checks.append(
            Check(
                "few-units",
                "warning",
                f"The {first.split} design has {len(units.listed)} of {first.unit!r}, too few for an "
                f"interval over them (at least {FEWEST_UNITS}): each is listed by itself, and the "
                "intervals over all cells say nothing about new ones.",
                f"Use data with more of {first.unit!r} before claiming that a result carries over.",
            )
        )
    for a in group:
        if a.baseline or a.seen == "clean":
            continue
        sentence, remedy = SEEN[a.seen]
        # Clustering holds nothing out: its cells are simply those that are judged.
        cells = "these cells" if a.split == "none" else f"cells that the {a.split} design holds out"
        checks.append(Check("seen", "warning", sentence.format(rep=a.rep, cells=cells), remedy))
    return checks


SEEN = {
    "seen-unlabelled": (
        "{rep} was trained on {cells}, without their labels.",
        "Compare on cells it has not seen: hold out the test part of its own split.",
    ),
    "seen-labelled": (
        "{rep} was trained on the labels of {cells}.",
        "Hold out other cells.",
    ),
    "unknown": (
        "What {rep} was trained on is unknown; it may have seen {cells}.",
        "Use a representation whose training cells are recorded, or treat its score as an upper bound.",
    ),
}
