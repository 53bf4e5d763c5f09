"""Which cells a disease classifier learns from: copies of one base cell never on both sides.

Folds are drawn from names and states alone, before anything is fitted. Where there are donors,
whole donors are held out (with all their base cells); else whole base cells, class by class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.errors import DataError, SettingsError
from cellwright.evaluation.folds import Design, Fold, grouped_folds, random_holdout

CROSS, HOLDOUT, LEAKY = "grouped", "holdout", "leaky"
DESIGNS = (CROSS, HOLDOUT)
BASE = "base_cell"
# Whole donors make a 70/30 only where there are enough to come near it.
FEWEST_DONORS = 4
_TRIES = 200


@dataclass(frozen=True)
class Cohort:
    """Cells with their states, and what they must not be split across.

    state_codes_n: index into ``classes``; cell_names_n: unique names; base_n: the cell each was
    made from; donor_n: donor (or library) of each cell, None if there is none; donor_name: of that
    column.
    """

    state_codes_n: NDArray[np.int64]
    classes: tuple[str, ...]
    cell_names_n: NDArray[np.str_]
    base_n: NDArray[np.str_]
    donor_n: NDArray[np.str_] | None = None
    donor_name: str = "donor"

    @property
    def paired(self) -> bool:
        """True if a base cell stands for more than one cell."""
        return len(np.unique(self.base_n)) < len(self.base_n)

    @property
    def unit_n(self) -> NDArray[np.str_]:
        """What an inner fold holds out whole: the base cell, which lies within one donor."""
        return self.base_n


def draw_designs(
    cohort: Cohort,
    names: Sequence[str] = DESIGNS,
    *,
    folds: int = 5,
    test_share: float = 0.3,
    seed: int = 0,
) -> list[Design]:
    """Draw the folds of each design, from names and states alone.

    ``grouped``: cross-validation with whole donors held out (whole base cells where there are no
    donors). ``holdout``: one split with ``test_share`` of the cells in the test, whole donors where
    there are at least four, else whole base cells. ``leaky``: cells at random whatever they were
    made from; the published mistake, only ever to be printed beside the others.

    Raises
    ------
    DataError
        With one donor, a base cell in two donors, donors that each have one state, a state with
        one base cell.
    SettingsError
        For an unknown design, fewer than two folds, or a share outside 0 and 1.
    """
    if not 0 < test_share < 1:
        raise SettingsError(f"the test share is {test_share}; it must lie between 0 and 1")
    if folds < 2:
        raise SettingsError(f"folds is {folds}; cross-validation needs at least 2")
    _require_nested(cohort)
    made = []
    for name in names:
        if name == CROSS:
            made.append(_cross(cohort, folds, seed))
        elif name == HOLDOUT:
            made.append(_holdout(cohort, test_share, seed))
        elif name == LEAKY:
            drawn = random_holdout(
                cohort.state_codes_n,
                cohort.cell_names_n,
                test_share=test_share,
                seed=seed,
                classes=cohort.classes,
            )
            both = np.intersect1d(
                cohort.base_n[drawn.folds[0].train], cohort.base_n[drawn.folds[0].test]
            )
            note = f"{len(both)} base cells with copies on both sides"
            made.append(Design(LEAKY, "cells", "cells", drawn.folds, note))
        else:
            raise SettingsError(
                f"unknown design {name!r}; expected any of {', '.join((*DESIGNS, LEAKY))}"
            )
    return made


def _cross(cohort: Cohort, folds: int, seed: int) -> Design:
    if cohort.donor_n is not None:
        found = grouped_folds(
            cohort.state_codes_n,
            cohort.donor_n,
            group_name=cohort.donor_name,
            folds=folds,
            seed=seed,
            classes=cohort.classes,
        )
        _require_states(cohort, found)
        return found
    base_b, stratum_b, of_n = _strata(cohort)
    fold_b = np.empty(len(base_b), dtype=np.int64)
    rng, dealt = np.random.default_rng(seed), 0
    for stratum in np.unique(stratum_b):
        own = rng.permutation(np.flatnonzero(stratum_b == stratum))
        # Where one stratum ends the next goes on, so that folds are of one size.
        fold_b[own] = (dealt + np.arange(len(own))) % folds
        dealt += len(own)
    fold_n = fold_b[of_n]
    made = tuple(
        Fold(np.flatnonzero(fold_n != f), np.flatnonzero(fold_n == f))
        for f in range(folds)
        if (fold_n == f).any()
    )
    unit = BASE if cohort.paired else "cells"
    return Design(CROSS, unit, unit, made, _no_donors(cohort))


def _holdout(cohort: Cohort, share: float, seed: int) -> Design:
    donors = 0 if cohort.donor_n is None else len(np.unique(cohort.donor_n))
    if cohort.donor_n is not None and donors >= FEWEST_DONORS:
        test_n = _whole_donors(cohort, cohort.donor_n, share, seed)
        unit, note = cohort.donor_name, ""
    else:
        base_b, stratum_b, of_n = _strata(cohort)
        rng, test_b = np.random.default_rng(seed), np.zeros(len(base_b), dtype=bool)
        for stratum in np.unique(stratum_b):
            own = rng.permutation(np.flatnonzero(stratum_b == stratum))
            test_b[own[: min(max(round(len(own) * share), 1), len(own) - 1)]] = True
        test_n, unit = test_b[of_n], BASE if cohort.paired else "cells"
        note = _no_donors(cohort)
        if donors:
            note = (
                f"{donors} of {cohort.donor_name!r} are too few for 70/30: they are on both sides"
            )
    fold = Fold(np.flatnonzero(~test_n), np.flatnonzero(test_n))
    made = Design(HOLDOUT, unit, unit, (fold,), note)
    _require_states(cohort, made)
    return made


def _whole_donors(
    cohort: Cohort, donor_n: NDArray[np.str_], share: float, seed: int
) -> NDArray[np.bool_]:
    """Of many random choices of donors the one nearest to the share of every state."""
    names_u, of_n = np.unique(donor_n, return_inverse=True)
    counts_uk = np.zeros((len(names_u), len(cohort.classes)))
    np.add.at(counts_uk, (of_n, cohort.state_codes_n), 1)
    totals_k = np.maximum(counts_uk.sum(axis=0), 1)
    rng, best, best_off = np.random.default_rng(seed), np.zeros(len(names_u), bool), np.inf
    for _ in range(_TRIES):
        order = rng.permutation(len(names_u))
        reached = np.cumsum(counts_uk[order], axis=0) / totals_k
        off_u = np.abs(reached - share).max(axis=1)
        stop = int(off_u[:-1].argmin())
        if off_u[stop] < best_off - 1e-12:
            best_off, best = off_u[stop], np.zeros(len(names_u), dtype=bool)
            best[order[: stop + 1]] = True
    return best[of_n]


def _strata(
    cohort: Cohort,
) -> tuple[NDArray[np.str_], NDArray[np.int64], NDArray[np.int64]]:
    """Base cells, the set of states that each is in, and the base cell of every cell."""
    base_b, of_n = np.unique(cohort.base_n, return_inverse=True)
    table_bk = np.zeros((len(base_b), len(cohort.classes)), dtype=np.int64)
    np.add.at(table_bk, (of_n, cohort.state_codes_n), 1)
    _, stratum_b, sizes = np.unique(table_bk > 0, axis=0, return_inverse=True, return_counts=True)
    stratum_b = stratum_b.ravel()
    lonely = np.flatnonzero(np.isin(stratum_b, np.flatnonzero(sizes == 1)))
    for b in lonely:
        state = int(np.flatnonzero(table_bk[b])[0])
        if (table_bk[:, state] > 0).sum() < 2:
            raise DataError(
                f"state {cohort.classes[state]!r} has 1 base cell, and at least 2 are needed, one "
                "to learn from and one to test; leave it out or simulate more cells"
            )
    # A combination of states that one base cell alone has goes with the others.
    stratum_b = np.where(np.isin(np.arange(len(base_b)), lonely), -1, stratum_b)
    return base_b, stratum_b, of_n


def _require_nested(cohort: Cohort) -> None:
    size_k = np.bincount(cohort.state_codes_n, minlength=len(cohort.classes))
    if (size_k > 0).sum() < 2:
        only = [c for c, n in zip(cohort.classes, size_k, strict=True) if n]
        raise DataError(
            f"all {len(cohort.state_codes_n)} cells are in one state, {', '.join(map(repr, only))}; "
            "a test needs normal cells and diseased ones"
        )
    if cohort.donor_n is None:
        return
    table = pd.DataFrame({"base": cohort.base_n, "donor": cohort.donor_n})
    donors = table.groupby("base")["donor"].nunique()
    if (donors > 1).any():
        raise DataError(
            f"base cell {str(donors.index[donors > 1][0])!r} lies in {int(donors.max())} of "
            f"{cohort.donor_name!r}; a copy belongs to the donor of its base cell"
        )


def _require_states(cohort: Cohort, design: Design) -> None:
    for fold in design.folds:
        learned = np.unique(cohort.state_codes_n[fold.train])
        absent = np.setdiff1d(np.unique(cohort.state_codes_n[fold.test]), learned)
        if len(absent):
            state = cohort.classes[int(absent[0])]
            held = np.unique(cohort.base_n[fold.test])
            if cohort.donor_n is not None:
                held = np.unique(cohort.donor_n[fold.test])
            raise DataError(
                f"without {design.unit} {str(held[0])!r} no cell in state {state!r} is left to learn "
                "from: if that name holds state and donor together, name the donor's part with "
                "--donor-pattern, or give --donor none"
            )


def _no_donors(cohort: Cohort) -> str:
    return "" if cohort.donor_n is not None else "no donors: whole base cells held out"
