"""Which cells train a probe and which are held out: grouped folds, a random holdout, a given split.

Cells are drawn by name, never by position, so the order of the rows does not matter. A label code
of -1 takes no part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cellwright.errors import DataError, SettingsError


@dataclass(frozen=True)
class Fold:
    """One train and test set: positions of cells, sorted, never overlapping."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


@dataclass(frozen=True)
class Design:
    """A named way of holding cells out.

    name: ``grouped``, ``random`` or ``given``. fold_unit: what is held out whole
    (``library_label``, ``cells``). unit: what intervals resample, the thing the design
    generalises to. note: what the reader must know (fewer folds than asked), or empty.
    """

    name: str
    fold_unit: str
    unit: str
    folds: tuple[Fold, ...]
    note: str = ""


def grouped_folds(
    label_codes_n: NDArray[np.int64],
    groups_n: NDArray[np.str_],
    *,
    group_name: str = "groups",
    folds: int = 5,
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> Design:
    """Hold out whole groups, each once, the classes spread over the folds as evenly as groups allow.

    Groups are placed one at a time, those that unbalance the classes most first, each into the
    fold that leaves the class shares of the folds most alike (as scikit-learn's
    ``StratifiedGroupKFold``). Fewer groups than ``folds`` make fewer folds, and the note says so.

    Raises
    ------
    DataError
        With fewer than two groups, or if holding groups out leaves one class to learn from.
    SettingsError
        If ``folds`` is below 2.
    """
    if folds < 2:
        raise SettingsError(f"folds is {folds}; cross-validation needs at least 2")
    rows = np.flatnonzero(label_codes_n >= 0)
    names_u, group_m = np.unique(groups_n[rows], return_inverse=True)
    if len(names_u) < 2:
        given = f"only {str(names_u[0])!r}" if len(names_u) else "no labelled cell"
        raise DataError(
            f"cannot hold out whole groups by {group_name!r}: it has {given}; "
            "use the random holdout or another grouping column"
        )
    counts_uk = np.zeros((len(names_u), int(label_codes_n.max()) + 1))
    np.add.at(counts_uk, (group_m, label_codes_n[rows]), 1)
    fold_u = _spread(counts_uk, min(folds, len(names_u)), seed)
    note = ""
    if len(names_u) < folds:
        note = f"{len(names_u)} folds instead of {folds}: {group_name!r} has {len(names_u)} groups"
    made = []
    for fold in np.unique(fold_u):
        test = fold_u[group_m] == fold
        held_out = ", ".join(repr(str(name)) for name in names_u[fold_u == fold][:3])
        _require_classes(
            label_codes_n[rows[~test]], classes, f"without the {group_name!r} {held_out}"
        )
        made.append(Fold(rows[~test], rows[test]))
    return Design("grouped", group_name, group_name, tuple(made), note)


def random_holdout(
    label_codes_n: NDArray[np.int64],
    cell_names_n: NDArray[np.str_],
    *,
    test_share: float = 0.2,
    seed: int = 0,
    classes: Sequence[str] | None = None,
) -> Design:
    """Hold out a share of the cells of every class at random, the published protocol's 80/20.

    Of a class with n cells round(n × share) are held out, at least one and at most n - 1.

    Raises
    ------
    DataError
        If a class has one cell, or there is one class.
    SettingsError
        If ``test_share`` is not between 0 and 1.
    """
    if not 0 < test_share < 1:
        raise SettingsError(f"the test share is {test_share}; it must lie between 0 and 1")
    rng = np.random.default_rng(seed)
    train, test = [], []
    for code in np.unique(label_codes_n[label_codes_n >= 0]):
        rows = np.flatnonzero(label_codes_n == code)
        if len(rows) < 2:
            raise DataError(
                f"class {_named(code, classes)} has 1 cell, and a holdout needs at least 2: one to "
                "learn from and one to test; merge it with another class or leave it out"
            )
        rows = rng.permutation(rows[np.argsort(cell_names_n[rows], kind="stable")])
        n_test = min(max(int(np.floor(len(rows) * test_share + 0.5)), 1), len(rows) - 1)
        test.append(rows[:n_test])
        train.append(rows[n_test:])
    _require_classes(label_codes_n, classes, "in the data")
    fold = Fold(np.sort(np.concatenate(train)), np.sort(np.concatenate(test)))
    return Design("random", "cells", "cells", (fold,))


def given_split(
    label_codes_n: NDArray[np.int64],
    split_n: NDArray[np.str_],
    *,
    groups_n: NDArray[np.str_] | None = None,
    group_name: str = "groups",
    classes: Sequence[str] | None = None,
) -> Design:
    """Train on ``train`` and ``val``, hold out ``test``, as ``obs["split"]`` says.

    The unit is the group if no group lies on both sides, else the cell.

    Raises
    ------
    DataError
        If the split has other values, no labelled test cell, or one class to learn from.
    """
    labelled = label_codes_n >= 0
    strange = sorted(set(map(str, split_n[labelled])) - {"train", "val", "test"})
    if strange:
        raise DataError(
            f"the split column holds {', '.join(map(repr, strange[:5]))}; expected train, val and test"
        )
    test = np.flatnonzero(labelled & (split_n == "test"))
    train = np.flatnonzero(labelled & (split_n != "test"))
    if not len(test):
        raise DataError(
            f"no labelled cell of {int(labelled.sum())} is in the test part of the given split; "
            "split the file anew or use another design"
        )
    _require_classes(label_codes_n[train], classes, "in the train part of the given split")
    whole = groups_n is not None and not set(groups_n[train]) & set(groups_n[test])
    unit = group_name if whole else "cells"
    return Design("given", unit, unit, (Fold(train, test),))


def _spread(counts_uk: NDArray[np.float64], folds: int, seed: int) -> NDArray[np.int64]:
    """Fold of every group, (u,)."""
    totals_k = counts_uk.sum(axis=0)
    shares_uk = counts_uk[:, totals_k > 0] / totals_k[totals_k > 0]
    shuffled = np.random.default_rng(seed).permutation(len(counts_uk))
    order = shuffled[np.argsort(-counts_uk.std(axis=1)[shuffled], kind="stable")]
    fold_u = np.zeros(len(counts_uk), dtype=np.int64)
    held_fk = np.zeros((folds, shares_uk.shape[1]))
    cells_f = np.zeros(folds)
    for group in order:
        trial_ffk = held_fk + np.eye(folds)[:, :, None] * shares_uk[group]
        unevenness_f = trial_ffk.std(axis=1).mean(axis=1)
        # Among equally good folds the smallest, so that no fold stays empty.
        fold = np.lexsort((cells_f, np.round(unevenness_f, 12)))[0]
        fold_u[group] = fold
        held_fk[fold] += shares_uk[group]
        cells_f[fold] += counts_uk[group].sum()
    return fold_u


def _require_classes(codes: NDArray[np.int64], classes: Sequence[str] | None, where: str) -> None:
    found = np.unique(codes[codes >= 0])
    if len(found) < 2:
        what = f"only class {_named(found[0], classes)}" if len(found) else "no labelled cell"
        raise DataError(
            f"{where} there is {what} to learn from, and a probe needs two classes; "
            "choose another label, grouping column or design"
        )


def _named(code: int, classes: Sequence[str] | None) -> str:
    return repr(str(classes[code])) if classes is not None else f"number {code}"
