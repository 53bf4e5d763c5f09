"""Does the test set know something it should not? Each check answers in a sentence with numbers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.data.hashes import cell_hashes
from cellwright.data.split import Split, group_columns, split_unit
from cellwright.errors import DataError
from cellwright.evaluation.confounding import check_confounding
from cellwright.evaluation.coverage import check_classes, check_size, some
from cellwright.interfaces import Check

_MIN_GENES = 10
_EMPTY = cell_hashes(np.zeros((1, 1)))[0]


def check_split(
    assignment: pd.Series | Split,
    obs: pd.DataFrame,
    hashes: NDArray[np.uint64] | None = None,
    *,
    by: str | None = "auto",
    label: str | None = None,
    genes_n: NDArray[np.int64] | None = None,
) -> list[Check]:
    """Check a split for leaks and for tests that cannot tell anything.

    Parameters
    ----------
    assignment
        ``train``/``val``/``test`` per cell: a Series over the names of ``obs``, or a ``Split``,
        whose ``by`` and ``label`` are then used.
    obs
        The cells, one row each.
    hashes
        (n,) hash of each cell's counts (``data.reading.cell_hashes``), in the order of ``obs``.
        Without them copies of cells are not looked for, and a check says so.
    by
        The column whose groups were kept whole; None if cells were split singly; ``"auto"`` for
        ``data.split.split_unit``.
    label
        The class label to be predicted, if known.
    genes_n
        (n,) genes detected in each cell. Cells with fewer than 10 may be equal by chance, and
        are then not held to be copies.

    Returns
    -------
    list of Check
        ``failure`` for a leak into the test set, ``warning`` for what weakens a result, ``note``
        for what was looked at and found in order.

    Raises
    ------
    DataError
        If a cell of ``obs`` is in no part, a column is missing, or the lengths differ.
    """
    if isinstance(assignment, Split):
        by, label, assignment = assignment.by, assignment.label, assignment.assignment
    elif by == "auto":
        by = split_unit(obs)
    for column in (by, label):
        if column is not None and column not in obs.columns:
            raise DataError(f"no column {column!r} in obs to check the split by")
    parts_n = _parts(assignment, obs)
    checks = _check_groups(parts_n, obs, by)
    checks += _check_copies(parts_n, obs, hashes, genes_n)
    if label is not None:
        checks += check_classes(parts_n, obs[label])
        checks += check_confounding(obs, label, by)
    return checks + check_size(parts_n, obs, by)


def check_seen(
    fitted_ids: Iterable[str],
    fitted_hashes: NDArray[np.uint64] | None,
    ids: Iterable[str],
    hashes: NDArray[np.uint64] | None,
) -> NDArray[np.str_]:
    """What a representation fitted without labels has seen of each cell.

    A cell was seen if one with the same counts was, under whatever name: one hash under two names
    is a duplicate, one name with two hashes is two cells. Empty cells, whose hashes are all equal,
    and cells for which a hash is missing on either side are told by their name alone.

    Parameters
    ----------
    fitted_ids, fitted_hashes
        Names and hashes of the cells it was fitted on.
    ids, hashes
        Names and hashes of the cells asked about; taken over the same genes in the same order.

    Returns
    -------
    (n,) str: ``"seen-unlabelled"`` or ``"clean"``.
    """
    names = np.array([str(name) for name in ids], dtype=object)
    seen_n = pd.Index(names).isin([str(name) for name in fitted_ids])
    if fitted_hashes is not None and hashes is not None:
        if len(hashes) != len(names):
            raise DataError(f"{len(hashes)} hashes for {len(names)} cells; expected one for each")
        empty_n = hashes == _EMPTY
        seen_n = np.where(empty_n, seen_n, np.isin(hashes, fitted_hashes))
    return np.where(seen_n, "seen-unlabelled", "clean")


def _parts(assignment: pd.Series, obs: pd.DataFrame) -> NDArray[np.str_]:
    names = obs.index.astype(str)
    given = assignment.index.astype(str)
    if given.equals(names):
        parts = assignment
    elif given.is_unique:
        parts = pd.Series(assignment.to_numpy(), index=given).reindex(names)
    else:
        twice = given[given.duplicated()][0]
        raise DataError(
            f"the cell name {twice!r} stands twice in the split, which is not in the order of obs"
        )
    if parts.isna().any():
        raise DataError(
            f"{int(parts.isna().sum())} of {len(obs)} cells are in no part of the split, the first "
            f"is {names[parts.isna().to_numpy()][0]!r}"
        )
    return parts.astype(str).to_numpy(dtype=str)


def _check_groups(parts_n: NDArray[np.str_], obs: pd.DataFrame, by: str | None) -> list[Check]:
    units = group_columns(obs)
    checks = []
    if by is None and units:
        unit = split_unit(obs)
        shared, touched = _shared(parts_n == "test", obs[unit])
        checks.append(
            Check(
                "random-cells",
                "warning",
                f"Single cells were split although {unit} groups them: {len(shared)} of "
                f"{obs[unit].nunique()} groups are on both sides, and {touched} of "
                f"{int((parts_n == 'test').sum())} test cells have a neighbour of their own group "
                "outside test.",
                f"split with --by {unit} and report that beside the random cells",
            )
        )
    elif by is None:
        checks.append(
            Check(
                "random-cells",
                "note",
                "Single cells were split; no column of obs groups them by donor, library or batch.",
                "add the donor or library to obs if it is known",
            )
        )
    else:
        checks += _check_unit(parts_n, obs[by], by)
        wider = units[: units.index(by)] if by in units else units
        for column in wider:
            shared, touched = _shared(parts_n == "test", obs[column])
            if shared:
                checks.append(
                    Check(
                        "wider-groups",
                        "warning",
                        f"Groups of {by} are whole, but {len(shared)} of {obs[column].nunique()} "
                        f"groups of {column} are on both sides ({some(shared)}), with {touched} "
                        f"of {int((parts_n == 'test').sum())} test cells.",
                        f"split with --by {column} to claim anything about a new {column}",
                    )
                )
    return checks


def _check_unit(parts_n: NDArray[np.str_], groups: pd.Series, by: str) -> list[Check]:
    checks = []
    held_out = parts_n == "test"
    shared, touched = _shared(held_out, groups)
    if shared:
        checks.append(
            Check(
                "groups-on-both-sides",
                "failure",
                f"{len(shared)} of {groups.nunique()} groups of {by} are in test and outside it "
                f"({some(shared)}), with {touched} of {int(held_out.sum())} test cells.",
                f"split anew with --by {by}, which keeps groups whole",
            )
        )
    elif held_out.any():
        checks.append(
            Check(
                "groups-on-both-sides",
                "note",
                f"None of the {groups.nunique()} groups of {by} is both in test and outside it.",
            )
        )
    fitting = ~held_out
    shared, touched = _shared((parts_n == "val")[fitting], groups[fitting])
    if shared:
        checks.append(
            Check(
                "groups-in-train-and-val",
                "warning",
                f"Groups of {by} that are in train and val: {len(shared)} ({some(shared)}), so when "
                "to stop is chosen on cells of known groups.",
                "more groups would let val have its own",
            )
        )
    lone = int(groups.isna().sum())
    if lone:
        checks.append(
            Check(
                "cells-without-group",
                "warning",
                f"{lone} of {len(groups)} cells have no {by}, {int(groups[held_out].isna().sum())} "
                "of them in test: whether their source is on both sides cannot be known.",
                f"fill in {by}, or leave these cells out",
            )
        )
    return checks


def _check_copies(
    parts_n: NDArray[np.str_],
    obs: pd.DataFrame,
    hashes: NDArray[np.uint64] | None,
    genes_n: NDArray[np.int64] | None,
) -> list[Check]:
    if hashes is None:
        return [Check("duplicate-cells", "note", "Copies of cells were not looked for: no counts.")]
    if len(hashes) != len(obs):
        raise DataError(f"{len(hashes)} hashes for {len(obs)} cells; expected one for each")
    checks = []
    names = obs.index.astype(str).to_numpy(dtype=object)
    repeated = pd.Series(hashes, index=names)[obs.index.duplicated(keep=False)]
    by_name = repeated.groupby(level=0).nunique()
    twofold = by_name.index[by_name > 1]
    if len(twofold):
        checks.append(
            Check(
                "one-name-two-cells",
                "warning",
                f"{len(twofold)} cell names stand for cells with different counts "
                f"({some(list(twofold))}); they are different cells.",
                "make the names unique with cellwright unique, so that a split can tell them apart",
            )
        )
    telling_n = hashes != _EMPTY
    sparse_n = np.zeros(len(obs), dtype=bool) if genes_n is None else genes_n < _MIN_GENES
    copied_n = _both_sides(hashes, parts_n == "test") & telling_n
    copies = names[copied_n & ~sparse_n]
    if len(copies):
        first = hashes[copied_n & ~sparse_n][0]
        in_test = int((copied_n & ~sparse_n & (parts_n == "test")).sum())
        pair = [
            names[(hashes == first) & side][0] for side in (parts_n == "test", parts_n != "test")
        ]
        checks.append(
            Check(
                "duplicate-cells",
                "failure",
                f"{in_test} of {int((parts_n == 'test').sum())} test cells have the very counts of "
                f"a cell outside test (such as {pair[0]} and {pair[1]}).",
                "drop the copies, or keep all copies of a cell on one side",
            )
        )
    else:
        checks.append(
            Check(
                "duplicate-cells",
                "note",
                f"No cell of test has the counts of a cell outside it "
                f"({int((telling_n & ~sparse_n).sum())} of {len(obs)} cells compared).",
            )
        )
    chance_n = copied_n & sparse_n
    if chance_n.any():
        checks.append(
            Check(
                "equal-sparse-cells",
                "note",
                f"{len(np.unique(hashes[chance_n]))} patterns of fewer than {_MIN_GENES} detected genes occur "
                "in test and outside it; cells this sparse can be equal by chance.",
            )
        )
    return checks


def _shared(inside: NDArray[np.bool_], groups: pd.Series) -> tuple[list[str], int]:
    """Groups with cells both inside and outside, and how many of the cells inside are in them."""
    inner = groups[inside]
    both = set(inner.dropna().unique()) & set(groups[~inside].dropna().unique())
    return sorted(str(g) for g in both), int(inner.isin(both).sum())


def _both_sides(values_n: NDArray[np.uint64], inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether each value occurs both inside and outside."""
    _, code_n = np.unique(values_n, return_inverse=True)
    within = np.bincount(code_n, weights=inside)
    return ((within > 0) & (within < np.bincount(code_n)))[code_n]
