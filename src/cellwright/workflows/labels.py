"""From a column of obs to classes: who is labelled, what is positive, who is left out and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.errors import DataError, SettingsError

POSITIVE, NEGATIVE = "positive", "negative"


@dataclass(frozen=True)
class Labels:
    """The classes of a label column.

    column: its name. text_n: what the file says of each cell, empty if nothing. codes_n: index
    into ``classes``, -1 for a cell that takes no part. positive: the class that F1 and ROC speak
    of, None with more than two classes. unlabelled: cells without a label; left_out: cells per
    label that was not mapped or too rare.
    """

    column: str
    text_n: NDArray[np.str_]
    codes_n: NDArray[np.int64]
    classes: tuple[str, ...]
    positive: str | None
    unlabelled: int
    left_out: dict[str, int]

    @property
    def excluded(self) -> int:
        """Cells that take no part in any score."""
        return int((self.codes_n < 0).sum())

    @property
    def curve_of(self) -> str:
        """What a ROC curve of these classes speaks of."""
        if self.positive is None:
            return "mean over the classes, each against the rest"
        return f"{self.positive} against the rest"

    @property
    def class_n(self) -> NDArray[np.str_]:
        """The class of each cell by name, empty for a cell that takes no part."""
        return np.array([*self.classes, ""], dtype=str)[self.codes_n]


def read_labels(
    obs: pd.DataFrame,
    column: str,
    *,
    positive: str | Sequence[str] | None = None,
    negative: str | Sequence[str] | None = None,
    ignore_unmapped: bool = False,
    min_cells: int = 0,
    fewest: int = 2,
) -> Labels:
    """Read the classes of ``column``.

    Parameters
    ----------
    positive, negative
        Labels (or one text of labels separated by commas) that make up the two classes of a binary
        problem. A class of one label keeps its name. ``positive`` alone is enough where the column
        holds two labels.
    ignore_unmapped
        Leave cells out whose label is neither; otherwise they are an error.
    min_cells
        Leave classes with fewer cells out.
    fewest
        Cells a class that is not left out must have: two, where some are held out.

    Raises
    ------
    DataError
        If the column is missing, is no label, has one class, or a class has too few cells.
    SettingsError
        If ``positive`` or ``negative`` name a label that is not there, the same label twice, or
        leave labels unmapped.
    """
    text_n = _text(obs, column)
    present = [str(label) for label in np.unique(text_n[text_n != ""])]
    if not present:
        raise DataError(f"label column {column!r} is empty in all {len(obs)} cells")
    if len(present) > max(20, len(obs) // 2):
        raise DataError(
            f"column {column!r} holds {len(present)} different values in {len(obs)} cells; "
            "that is not a class label"
        )
    mapping = _mapping(present, column, positive, negative)
    unmapped = {label: int((text_n == label).sum()) for label in present if label not in mapping}
    if unmapped and not ignore_unmapped:
        listed = ", ".join(f"{label!r} ({n} cells)" for label, n in unmapped.items())
        raise SettingsError(
            f"--positive and --negative do not say where these labels of {column!r} belong: "
            f"{listed}; add them to one side or pass --ignore-unmapped"
        )
    classes = list(dict.fromkeys(mapping.values()))
    sizes = {
        c: int(np.isin(text_n, [x for x in mapping if mapping[x] == c]).sum()) for c in classes
    }
    rare = [c for c in classes if sizes[c] < min_cells]
    classes = [c for c in classes if c not in rare]
    left_out = {**unmapped, **{label: sizes[label] for label in rare}}
    _enough(column, classes, sizes, left_out, fewest)
    index = {c: i for i, c in enumerate(classes)}
    codes_n = np.array([index.get(mapping.get(label, ""), -1) for label in text_n], dtype=np.int64)
    return Labels(
        column=column,
        text_n=text_n,
        codes_n=codes_n,
        classes=tuple(classes),
        positive=classes[-1] if len(classes) == 2 else None,
        unlabelled=int((text_n == "").sum()),
        left_out=left_out,
    )


def _text(obs: pd.DataFrame, column: str) -> NDArray[np.str_]:
    if column not in obs.columns:
        close = nearest(column, map(str, obs.columns))
        hint = (
            f"did you mean {close!r}?"
            if close
            else f"columns: {', '.join(map(str, obs.columns)) or 'none'}"
        )
        raise DataError(f"no label column {column!r} in obs: {hint}")
    values = obs[column]
    known = values.notna().to_numpy()
    return np.where(known, values.astype(str).to_numpy(dtype=object), "").astype(str)


def _mapping(
    present: list[str],
    column: str,
    positive: str | Sequence[str] | None,
    negative: str | Sequence[str] | None,
) -> dict[str, str]:
    """Label -> class; negative before positive, so that the positive class is the second."""
    if positive is None and negative is None:
        return {label: label for label in present}
    if positive is None:
        raise SettingsError(f"--negative {negative!r} needs --positive beside it")
    yes = _listed(positive, present, column, "--positive")
    if negative is None:
        rest = [label for label in present if label not in yes]
        no = rest if len(present) == 2 else []
        if not no:
            raise SettingsError(
                f"--positive {', '.join(yes)} needs --negative beside it: {column!r} also holds "
                f"{', '.join(map(repr, rest)) or 'nothing else'}"
            )
    else:
        no = _listed(negative, present, column, "--negative")
    both = [label for label in yes if label in no]
    if both:
        raise SettingsError(f"label {both[0]!r} stands in --positive and in --negative")
    return {
        **{label: no[0] if len(no) == 1 else NEGATIVE for label in no},
        **{label: yes[0] if len(yes) == 1 else POSITIVE for label in yes},
    }


def _listed(given: str | Sequence[str], present: list[str], column: str, option: str) -> list[str]:
    if isinstance(given, str):
        # A label may hold a comma itself.
        given = [given] if given in present else [part.strip() for part in given.split(",")]
    listed = list(dict.fromkeys(part for part in given if part))
    if not listed:
        raise SettingsError(f"{option} names no label of {column!r}")
    for label in listed:
        if label not in present:
            close = nearest(label, present)
            known = ", ".join(map(repr, present[:10])) + (" …" if len(present) > 10 else "")
            hint = f"did you mean {close!r}?" if close else f"labels: {known}"
            raise SettingsError(f"{option}: no cell has the label {label!r} in {column!r}: {hint}")
    return listed


def _enough(
    column: str, classes: list[str], sizes: dict[str, int], left_out: dict[str, int], fewest: int
) -> None:
    if len(classes) < 2:
        only = ", ".join(f"{c!r} ({sizes[c]} cells)" for c in classes) or "none"
        gone = f"; {len(left_out)} labels were left out" if left_out else ""
        raise DataError(f"label column {column!r} has one class only: {only}{gone}; expected two")
    alone = [c for c in classes if sizes[c] < fewest]
    if alone:
        listed = ", ".join(map(repr, alone[:5])) + (" …" if len(alone) > 5 else "")
        raise DataError(
            f"{len(alone)} of {len(classes)} classes of {column!r} have one cell only: {listed}; "
            "a class needs cells to train on and cells to test on: merge it, or leave it out "
            "with --min-cells 2"
        )
