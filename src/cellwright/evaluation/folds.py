"""Which cells train a probe and which are held out: grouped folds, a random holdout, a given split.

Cells are drawn by name, never by position, so the order of the rows does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Fold:
    """One train and test set: positions of cells, sorted, never overlapping."""

    train: NDArray[np.int64]
    test: NDArray[np.int64]


@dataclass(frozen=True)
class Design:
    """A named way of holding cells out.

    name: ``grouped``, ``random`` or ``given``. fold_unit: what is held out whole (``library_label``,
    ``cells``). unit: what intervals resample, the thing the design generalises to. note: what the
    reader must know (fewer folds than asked, classes confined to one group), or empty.
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
) -> Design:
    """Hold out whole groups, each once, the classes spread over the folds as evenly as groups allow."""
    raise NotImplementedError


def random_holdout(
    label_codes_n: NDArray[np.int64],
    cell_names_n: NDArray[np.str_],
    *,
    test_share: float = 0.2,
    seed: int = 0,
) -> Design:
    """Hold out a share of the cells of every class at random, the published protocol's 80/20."""
    raise NotImplementedError


def given_split(
    label_codes_n: NDArray[np.int64],
    split_n: NDArray[np.str_],
    *,
    groups_n: NDArray[np.str_] | None = None,
    group_name: str = "groups",
) -> Design:
    """Train on ``train`` and ``val``, hold out ``test``, as ``obs["split"]`` says."""
    raise NotImplementedError
