"""Queries of the reverse problem: groups of cells of one condition, beside matched controls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.errors import DataError, SettingsError
from cellwright.perturbation.reverse import Screen


@dataclass(frozen=True)
class Queries:
    """q groups of cells, each of one condition (or of control cells).

    mean_qg: mean expression of the group; shift_qg: that less the mean of controls, weighted as the
    group's batches are; condition_q: index of the condition, -1 for controls; rows_q: positions of
    the cells of each group; k: cells in a group, None for all of a condition.
    """

    mean_qg: NDArray[np.float32]
    shift_qg: NDArray[np.float32]
    condition_q: NDArray[np.int64]
    rows_q: tuple[NDArray[np.int64], ...]
    k: int | None

    def __len__(self) -> int:
        return len(self.condition_q)


def control_means(
    expression_ng: Any, screen: Screen, rows: NDArray[np.int64] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Mean expression of control cells in each batch, and over all under the name ``""``.

    Parameters
    ----------
    rows
        Control cells that may be used; default all.

    Raises
    ------
    DataError
        If there is no control cell.
    """
    rows = screen.control_rows if rows is None else rows
    if not len(rows):
        raise DataError("there are no control cells, which every shift is measured from")
    means = {"": _mean(expression_ng, rows)}
    for batch in np.unique(screen.batch_n[rows]):
        means[str(batch)] = _mean(expression_ng, rows[screen.batch_n[rows] == batch])
    return means


def draw_queries(
    expression_ng: Any,
    screen: Screen,
    conditions: Sequence[str],
    *,
    k: int | None = 1,
    most: int | None = None,
    seed: int = 0,
    controls: dict[str, NDArray[np.float64]] | None = None,
) -> Queries:
    """Groups of k cells of each condition, drawn without replacement.

    Parameters
    ----------
    expression_ng
        Normalised log expression, CSR or dense.
    conditions
        By name.
    k
        Cells in a group; None for one group of all. A condition with fewer than k cells gives one
        group of what it has.
    most
        Groups of a condition, at most.
    controls
        From :func:`control_means`. A batch without controls is measured from all of them.

    Raises
    ------
    SettingsError
        If k is below 1.
    DataError
        If a condition is not there or has no cell.
    """
    if k is not None and k < 1:
        raise SettingsError(f"k is {k}, expected at least 1 cell in a query")
    controls = control_means(expression_ng, screen) if controls is None else controls
    groups: list[NDArray[np.int64]] = []
    codes: list[int] = []
    for name in conditions:
        code = screen.index(name)
        rows = screen.rows_of(code)
        if not len(rows):
            raise DataError(f"the perturbation {name!r} has no cell to ask about")
        # A stream of its own, so that one condition's groups do not depend on the others.
        rng = np.random.default_rng([seed, code])
        shuffled = rng.permutation(rows)
        size = len(rows) if k is None else min(k, len(rows))
        n_groups = min(len(rows) // size, most or len(rows))
        for start in range(0, n_groups * size, size):
            groups.append(np.sort(shuffled[start : start + size]))
            codes.append(code)
    return _gathered(expression_ng, screen, groups, codes, k, controls)


def random_groups(
    expression_ng: Any,
    screen: Screen,
    conditions: Sequence[str],
    *,
    k: int,
    n: int,
    seed: int = 0,
    controls: dict[str, NDArray[np.float64]] | None = None,
) -> Queries:
    """Groups of cells mixed at random over conditions, each given the name of one: chance must result.

    Raises
    ------
    DataError
        If the conditions have fewer cells than a group.
    """
    controls = control_means(expression_ng, screen) if controls is None else controls
    rng = np.random.default_rng(seed)
    codes = [screen.index(name) for name in conditions]
    rows = np.flatnonzero(np.isin(screen.condition_n, codes))
    if len(rows) < k:
        raise DataError(f"{len(rows)} cells are too few for random groups of {k}")
    groups = [np.sort(rng.choice(rows, k, replace=False)) for _ in range(n)]
    named = [codes[i % len(codes)] for i in range(n)]
    return _gathered(expression_ng, screen, groups, named, k, controls)


def _gathered(
    expression_ng: Any,
    screen: Screen,
    groups: Sequence[NDArray[np.int64]],
    codes: Sequence[int],
    k: int | None,
    controls: dict[str, NDArray[np.float64]],
) -> Queries:
    genes = expression_ng.shape[1]
    sizes = np.array([len(rows) for rows in groups], dtype=np.int64)
    flat = np.concatenate([*groups, np.zeros(0, dtype=np.int64)])
    # A product with this matrix is the mean of each group.
    averaging = sp.csr_matrix(
        (np.repeat(1.0 / np.maximum(sizes, 1), sizes), flat, np.r_[0, np.cumsum(sizes)]),
        shape=(len(groups), expression_ng.shape[0]),
    )
    mean_qg = averaging @ expression_ng
    mean_qg = mean_qg.toarray() if sp.issparse(mean_qg) else np.asarray(mean_qg)
    control_qg = np.zeros((len(groups), genes))
    for q, rows in enumerate(groups):
        batches, counts = np.unique(screen.batch_n[rows], return_counts=True)
        for batch, count in zip(batches, counts, strict=True):
            control_qg[q] += controls.get(str(batch), controls[""]) * (count / len(rows))
    return Queries(
        mean_qg.astype(np.float32),
        (mean_qg - control_qg).astype(np.float32),
        np.array(codes, dtype=np.int64),
        tuple(groups),
        k,
    )


def _mean(expression_ng: Any, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(expression_ng[rows].mean(axis=0), dtype=np.float64).ravel()
