"""Training groups of the reverse problem, drawn anew in every epoch: plain arrays, no screen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.errors import DataError


@dataclass(frozen=True)
class ReverseCells:
    """The cells that a network is trained and stopped on; everything it may know of them.

    Parameters
    ----------
    expression_ng
        Normalised log expression of the genes that may be looked at.
    condition_n
        Code of each cell's condition; below 0 for a control cell (-1) and one without a part (-2).
    targets_pc
        True where a condition perturbs a candidate.
    train_p, val_p
        Codes of the conditions to learn from and to stop on, none on both sides.
    batch_n
        Row of ``control_bg`` that each cell is measured from.
    control_bg
        Mean expression of control cells in each batch.
    sd_g
        Standard deviation of each gene over control cells; 0 for a gene that does not vary.

    Raises
    ------
    DataError
        If arrays do not fit, a condition is on both sides or one of them has no cell.
    """

    expression_ng: sp.csr_matrix
    condition_n: NDArray[np.int64]
    targets_pc: NDArray[np.bool_]
    train_p: NDArray[np.int64]
    val_p: NDArray[np.int64]
    batch_n: NDArray[np.int64]
    control_bg: NDArray[np.float32]
    sd_g: NDArray[np.float32]

    def __post_init__(self) -> None:
        n, g = self.expression_ng.shape
        shapes = {
            "condition_n": (self.condition_n.shape, (n,)),
            "batch_n": (self.batch_n.shape, (n,)),
            "control_bg": (self.control_bg.shape[1:], (g,)),
            "sd_g": (self.sd_g.shape, (g,)),
        }
        for name, (given, expected) in shapes.items():
            if given != expected:
                raise DataError(f"{name} has the shape {given}, expected {expected}")
        both = np.intersect1d(self.train_p, self.val_p)
        if len(both):
            raise DataError(f"condition {both[0]} is in training and in validation")
        for code in (*self.train_p.tolist(), *self.val_p.tolist()):
            if not len(self.rows_p[code]):
                raise DataError(f"condition {code} has no cell to draw groups from")
        if not len(self.train_p):
            raise DataError("there is no condition to train on")

    @property
    def genes(self) -> int:
        return int(self.expression_ng.shape[1])

    @property
    def candidates(self) -> int:
        return int(self.targets_pc.shape[1])

    @cached_property
    def rows_p(self) -> list[NDArray[np.int64]]:
        """Positions of the cells of each condition."""
        return [np.flatnonzero(self.condition_n == p) for p in range(len(self.targets_pc))]

    @property
    def seen_c(self) -> NDArray[np.bool_]:
        """Candidates that a training condition perturbs."""
        return np.asarray(self.targets_pc[self.train_p].any(axis=0))

    @property
    def single_p(self) -> NDArray[np.int64]:
        """Training conditions of one gene, one for each gene."""
        alone = self.train_p[self.targets_pc[self.train_p].sum(axis=1) == 1]
        _, first = np.unique(self.targets_pc[alone].argmax(axis=1), return_index=True)
        return alone[first]


@dataclass(frozen=True)
class Groups:
    """q groups: mean expression, its shift from matched controls, and which genes are perturbed."""

    shift_qg: NDArray[np.float32]
    mean_qg: NDArray[np.float32]
    target_qc: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.shift_qg)


def draw_groups(
    cells: ReverseCells,
    examples: NDArray[np.int64],
    *,
    k: int,
    groups: int,
    epoch: int,
    seed: int,
) -> Groups:
    """The training groups of some examples of an epoch.

    Each depends on (seed, epoch, example) alone. The first ``groups`` × conditions examples take
    the training conditions in turn, k cells each; those after them are synthetic doubles: the
    shifts of two single perturbations of different genes, 2k cells each, so that the sum is as
    noisy as a group of k cells. A condition with fewer cells gives all it has.
    """
    single_p, real = cells.single_p, real_examples(cells, groups)
    parts: list[tuple[int, NDArray[np.int64]]] = []
    target_qc = np.zeros((len(examples), cells.candidates), dtype=bool)
    for q, example in enumerate(examples.tolist()):
        rng = np.random.default_rng([seed, epoch, example])
        if example < real:
            code = int(cells.train_p[example % len(cells.train_p)])
            parts.append((q, _taken(rng, cells.rows_p[code], k)))
            target_qc[q] = cells.targets_pc[code]
            continue
        for code in rng.choice(single_p, 2, replace=False).tolist():
            parts.append((q, _taken(rng, cells.rows_p[code], 2 * k)))
            target_qc[q] |= cells.targets_pc[code]
    return _means(cells, parts, target_qc)


def held_out_groups(
    cells: ReverseCells, conditions: NDArray[np.int64], *, k: int, most: int, seed: int
) -> Groups:
    """Groups of k cells of conditions, without replacement and at most ``most`` of each."""
    parts: list[tuple[int, NDArray[np.int64]]] = []
    codes: list[int] = []
    for code in conditions.tolist():
        rows = cells.rows_p[code]
        shuffled = np.random.default_rng([seed, code]).permutation(rows)
        size = min(k, len(rows))
        for start in range(0, min(len(rows) // size, most) * size, size):
            parts.append((len(codes), shuffled[start : start + size]))
            codes.append(code)
    return _means(cells, parts, cells.targets_pc[codes])


def real_examples(cells: ReverseCells, groups: int) -> int:
    """Examples of an epoch that are groups of one condition."""
    return groups * len(cells.train_p)


def examples_per_epoch(cells: ReverseCells, groups: int, sums: float) -> int:
    """All examples of an epoch; without two single perturbations there are no synthetic doubles."""
    real = real_examples(cells, groups)
    return real if len(cells.single_p) < 2 else round(real / (1 - sums))


def _taken(rng: np.random.Generator, rows: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    return rng.choice(rows, min(size, len(rows)), replace=False)


def _means(
    cells: ReverseCells,
    parts: list[tuple[int, NDArray[np.int64]]],
    target_qc: NDArray[np.bool_],
) -> Groups:
    """Sums of the shifts of the parts of each group, on top of its matched controls."""
    q = len(target_qc)
    flat = np.concatenate([rows for _, rows in parts])
    weight = np.concatenate([np.full(len(rows), 1 / len(rows)) for _, rows in parts])
    group = np.concatenate([np.full(len(rows), i) for i, rows in parts])
    n, b = len(cells.condition_n), len(cells.control_bg)
    averaging_qn = sp.csr_matrix((weight, (group, flat)), shape=(q, n))
    control_qb = sp.csr_matrix((weight, (group, cells.batch_n[flat])), shape=(q, b))
    control_qg = control_qb @ cells.control_bg
    shift_qg = (averaging_qn @ cells.expression_ng).toarray() - control_qg
    parts_q = np.asarray(averaging_qn.sum(axis=1))
    mean_qg = control_qg / parts_q + shift_qg
    return Groups(shift_qg.astype(np.float32), mean_qg.astype(np.float32), target_qc)
