"""Train, validation and test cells: whole donors or libraries on one side wherever they are known."""

from __future__ import annotations

import difflib
from pathlib import Path

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from cellwright.data.prepare.sidecar import with_columns_beside
from cellwright.data.split_hash import PARTS
from cellwright.data.split_record import Split
from cellwright.data.stratify import choose_cells, choose_groups
from cellwright.errors import DataError, SettingsError

__all__ = ["PARTS", "UNIT_COLUMNS", "Split", "group_columns", "split", "split_unit"]

UNIT_COLUMNS = (
    "donor",
    "donor_id",
    "donor_label",
    "donor_name",
    "individual",
    "patient",
    "patient_id",
    "subject",
    "subject_id",
    "library_label",
    "library",
    "library_id",
    "library_prep",
    "sample",
    "sample_id",
    "sample_name",
    "experiment_sample_name",
    "orig_ident",
    "batch",
    "batch_id",
    "channel",
    "run",
    "plate",
    "chip",
    "c1_chip_id",
)
"""Columns that name what was sampled, the widest unit first."""


def group_columns(obs: pd.DataFrame) -> list[str]:
    """The columns of ``obs`` that can group cells, widest unit first.

    A column fits if its name, in lower case and with ``_`` for spaces, points and hyphens, stands
    in ``UNIT_COLUMNS``, it has at least two values, and it does not name each cell singly.
    """
    found: dict[str, str] = {}
    for column in obs.columns:
        name = str(column).lower()
        for mark in " .-":
            name = name.replace(mark, "_")
        if name in UNIT_COLUMNS and 2 <= obs[column].nunique() < max(obs[column].count(), 3):
            found.setdefault(name, str(column))
    return [found[name] for name in UNIT_COLUMNS if name in found]


def split_unit(obs: pd.DataFrame) -> str | None:
    """The column to split by: donors, then libraries, then batches; None if there is none.

    The first fitting column with at least three groups is taken (train, val and test each need
    one), else the first with two.
    """
    fitting = group_columns(obs)
    return next((c for c in fitting if obs[c].nunique() >= 3), fitting[0] if fitting else None)


def split(
    cells: AnnData | Path | str,
    *,
    by: str | None = "auto",
    label: str | None = None,
    val: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
) -> Split:
    """Divide cells into train, val and test without changing ``cells``.

    Parameters
    ----------
    cells
        AnnData, or the path of an h5ad; only ``obs`` is used.
    by
        A column whose groups stay whole; ``"auto"`` for the rule of ``split_unit``; None,
        ``"none"`` or ``"random-cells"`` for single cells.
    label
        A column whose classes keep their shares in each part, as far as whole groups allow.
    val, test
        Shares of *all* cells, in [0, 1), together below 1. ``val`` is carved from ``train`` by
        the same unit and does not change which cells are in ``test``.
    seed
        The same seed gives the same parts, whatever the order of the cells.

    Returns
    -------
    Split
        With ``assignment`` (obs_name -> part) and ``note``, the sentences on what could not be
        done as asked: no grouping column, too few groups, cells without group or label.

    Raises
    ------
    DataError
        For a missing column (the nearest is named), one group only, one class only, names that
        are not unique.
    SettingsError
        For shares outside [0, 1) or summing to 1 or more, or a label given as group.
    """
    _check_shares(val, test)
    obs = _obs_of(cells)
    unit = _unit(obs, by, label)
    notes = []
    if unit is None:
        notes.append(
            "No column groups the cells: single cells were split, so cells of one donor or "
            "library lie on both sides."
            if by == "auto"
            else "Single cells were split, as asked: cells of one donor or library may lie on "
            "both sides."
        )
    order = np.argsort(obs.index.to_numpy(dtype=str), kind="stable")
    labels_n = _codes(obs, label, notes)[order]
    groups_n = np.full(len(obs), -1) if unit is None else _group_codes(obs, unit, notes)[order]
    parts_n = np.full(len(obs), "train", dtype="<U5")
    for part, share, leave, stream in (
        ("test", test, 2 if val > 0 else 1, 0),
        ("val", val, 1, 1),
    ):
        if share > 0:
            free_m = np.flatnonzero(parts_n == "train")
            rng = np.random.default_rng([seed, stream])
            goal = share * len(obs) / len(free_m)
            taken_m = _take(groups_n[free_m], labels_n[free_m], goal, leave, rng, part, unit, notes)
            parts_n[free_m[taken_m]] = part
    assignment = pd.Series(parts_n, index=obs.index[order].astype(str), name="split")
    return Split.make(
        assignment.reindex(obs.index.astype(str)),
        by=unit,
        label=label,
        seed=seed,
        val=val,
        test=test,
        note=" ".join(notes),
    )


def _take(
    groups_m: NDArray[np.int64],
    labels_m: NDArray[np.int64],
    share: float,
    leave: int,
    rng: np.random.Generator,
    part: str,
    unit: str | None,
    notes: list[str],
) -> NDArray[np.bool_]:
    """Which of the free cells go to ``part``: whole groups, and of the ungrouped single cells."""
    grouped_m = groups_m >= 0
    names, codes_m = np.unique(groups_m[grouped_m], return_inverse=True)
    if len(names) == 1:
        notes.append(
            f"One group of {unit} was left, so {part} holds single cells of it: "
            f"{part} and train share that group."
        )
        grouped_m, names = np.zeros_like(grouped_m), names[:0]
    taken_m = np.zeros(len(groups_m), dtype=bool)
    if len(names):
        counts_gk = np.zeros((len(names), int(labels_m.max()) + 1))
        np.add.at(counts_gk, (codes_m, labels_m[grouped_m]), 1.0)
        counts_gk = counts_gk[:, counts_gk.sum(axis=0) > 0]
        chosen_g = choose_groups(counts_gk, share, rng, leave=min(leave, len(names) - 1))
        taken_m[grouped_m] = chosen_g[codes_m]
    if not grouped_m.all():
        _, classes = np.unique(labels_m[~grouped_m], return_inverse=True)
        taken_m[~grouped_m] = choose_cells(classes, share, rng)
    return taken_m


def _check_shares(val: float, test: float) -> None:
    for name, share in (("val", val), ("test", test)):
        if not 0 <= share < 1:
            raise SettingsError(f"{name} is {share}, expected a share of the cells in [0, 1)")
    if val + test >= 1:
        raise SettingsError(
            f"val {val} and test {test} sum to {val + test:g}, which leaves no cell to train on; "
            "expected shares of all cells that sum to less than 1"
        )
    if val + test == 0:
        raise SettingsError("val and test are both 0: there is nothing to split off")


def _obs_of(cells: AnnData | Path | str) -> pd.DataFrame:
    obs = (cells if isinstance(cells, AnnData) else with_columns_beside(cells)).obs
    if len(obs) < 3:
        raise DataError(f"{len(obs)} cells cannot be split into train, val and test; needs 3")
    if not obs.index.is_unique:
        twice = obs.index[obs.index.duplicated()][0]
        raise DataError(
            f"the cell name {twice!r} stands {int((obs.index == twice).sum())} times; a split "
            "needs unique names: cellwright unique gives each a suffix, or drops all but the first"
        )
    return obs


def _unit(obs: pd.DataFrame, by: str | None, label: str | None) -> str | None:
    if by is None or by in ("none", "random-cells"):
        return None
    if by == "auto":
        return split_unit(obs[[column for column in obs.columns if column != label]])
    _require(obs, by)
    if by == label:
        raise SettingsError(
            f"{by!r} was given as group and as label: whole groups would leave every class on one "
            "side; split by the donor or library instead"
        )
    if obs[by].nunique() < 2:
        values = ", ".join(repr(str(v)) for v in obs[by].dropna().unique()) or "nothing"
        raise DataError(
            f"column {by!r} holds one group only ({values}) for {len(obs)} cells; whole groups "
            "on two sides need at least two, or pass by='none' to split single cells"
        )
    return by


def _group_codes(obs: pd.DataFrame, unit: str, notes: list[str]) -> NDArray[np.int64]:
    values = obs[unit]
    codes_n, _ = pd.factorize(values.astype("string"), sort=True)
    lone = int(values.isna().sum())
    if lone:
        notes.append(
            f"{lone} of {len(obs)} cells have no {unit}: each was placed on its own, so they may "
            "share a source with cells on the other side."
        )
    if values.nunique() == 2:
        notes.append(f"{unit} has two groups only.")
    return codes_n.astype(np.int64)


def _codes(obs: pd.DataFrame, label: str | None, notes: list[str]) -> NDArray[np.int64]:
    """Class of each cell, with cells without label as a class of their own."""
    if label is None:
        return np.zeros(len(obs), dtype=np.int64)
    _require(obs, label)
    values = obs[label]
    classes = values.nunique()
    if classes < 2:
        only = ", ".join(repr(str(v)) for v in values.dropna().unique()) or "nothing"
        raise DataError(
            f"label column {label!r} holds one class only ({only}) in {len(obs)} cells; "
            "expected at least two, or leave the label out"
        )
    if classes > max(20, len(obs) / 2):
        raise DataError(
            f"column {label!r} holds {classes} different values in {len(obs)} cells; "
            "that is not a class label"
        )
    codes_n, names = pd.factorize(values.astype("string"), sort=True)
    unlabelled = int((codes_n < 0).sum())
    if unlabelled:
        notes.append(
            f"{unlabelled} of {len(obs)} cells have no {label}; they were split as a class of "
            "their own."
        )
    sizes = np.bincount(codes_n[codes_n >= 0])
    single = [str(name) for name in np.asarray(names)[sizes == 1]]
    if single:
        shown = ", ".join(single[:5]) + (" …" if len(single) > 5 else "")
        notes.append(f"{len(single)} classes of {label} have one cell ({shown}).")
    return np.where(codes_n < 0, len(names), codes_n).astype(np.int64)


def _require(obs: pd.DataFrame, column: str) -> None:
    if column in obs.columns:
        return
    close = difflib.get_close_matches(column, [str(c) for c in obs.columns], n=1, cutoff=0.5)
    hint = (
        f"did you mean {close[0]!r}?"
        if close
        else f"columns: {', '.join(str(c) for c in obs.columns) or 'none'}"
    )
    raise DataError(f"no column {column!r} in obs: {hint}")
