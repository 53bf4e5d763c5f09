"""Training groups of the reverse problem, drawn anew in every epoch: plain arrays, no screen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.errors import DataError

# Of the regression of shifts on the genes perturbed.
RIDGE = 0.3
# Pairs from which on those that do not add up are told from the others, and rounds of doing so.
PAIRS, ROUNDS = 10, 4


@dataclass(frozen=True)
class GeneEffects:
    """Effects of genes by ridge regression of the shifts of conditions on the genes perturbed.

    known_m: candidates that a training condition perturbs; effect_mg: their effects; common_g: the
    shift that all conditions have; doubt_mm: covariance of the estimates, in variances of a cell.
    """

    known_m: NDArray[np.int64]
    effect_mg: NDArray[np.float32]
    common_g: NDArray[np.float32]
    doubt_mm: NDArray[np.float64]


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

    @cached_property
    def mean_pg(self) -> NDArray[np.float32]:
        """Mean shift of each training condition, 0 for the others."""
        out = np.zeros((len(self.targets_pc), self.genes), dtype=np.float32)
        parts = [(i, self.rows_p[p]) for i, p in enumerate(self.train_p.tolist())]
        out[self.train_p] = _means(self, parts, self.targets_pc[self.train_p]).shift_qg
        return out

    @cached_property
    def effects(self) -> GeneEffects:
        """What each gene does, from all training conditions.

        A pair counts for less the further it is from the sum of its genes' effects beside other
        pairs, each predicted from the conditions other than itself.
        """
        x = self.targets_pc[self.train_p].astype(np.float64)
        known = np.flatnonzero(x.any(axis=0)).astype(np.int64)
        x, y = x[:, known], self.mean_pg[self.train_p].astype(np.float64)
        variance_g = self.sd_g.astype(np.float64) ** 2
        scale_g = np.sqrt(variance_g + 0.5 * variance_g.mean() + 1e-12)
        pairs_p = x.sum(axis=1) == 2
        weight_p = np.ones(len(x))
        rounds = ROUNDS if pairs_p.sum() >= PAIRS else 1
        for number in range(rounds):
            mean_m, mean_g = (weight_p @ part / weight_p.sum() for part in (x, y))
            centred = x - mean_m
            weighted = centred * weight_p[:, None]
            inverse = np.linalg.inv(weighted.T @ centred + RIDGE * np.eye(len(known)))
            solve_mp = inverse @ weighted.T
            effect_mg = solve_mp @ (y - mean_g)
            if number == rounds - 1:
                break
            own_p = (centred * solve_mp.T).sum(axis=1) + weight_p / weight_p.sum()
            apart_pg = (y - mean_g - centred @ effect_mg) / np.maximum(1 - own_p, 0.1)[:, None]
            apart_p = ((apart_pg / scale_g) ** 2).sum(axis=1)
            ratio_p = apart_p / max(float(np.median(apart_p[pairs_p])), 1e-12)
            weight_p = np.where(pairs_p, np.minimum(1, 2 / (1 + ratio_p**2)), 1.0)
        common_g = mean_g - mean_m @ effect_mg
        # A condition's mean is as uncertain as one cell over its number of cells.
        cells_p = np.array([len(self.rows_p[p]) for p in self.train_p.tolist()])
        return GeneEffects(
            known,
            effect_mg.astype(np.float32),
            common_g.astype(np.float32),
            (solve_mp / cells_p) @ solve_mp.T,
        )


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
    the training conditions in turn, k cells each. Those after them are synthetic doubles: the sum
    of the effects of two genes, and noise as of a group of k cells, which is how k cells of some
    training condition differ from its mean, and larger by what is not known of the two effects. A
    network that saw the sums of two groups instead would learn their cells by heart, since there
    are few single perturbations.
    """
    real = real_examples(cells, groups)
    known = cells.effects if (examples >= real).any() else None
    parts: list[tuple[int, NDArray[np.int64]]] = []
    target_qc = np.zeros((len(examples), cells.candidates), dtype=bool)
    synthetic: list[tuple[int, int, int, int]] = []
    for q, example in enumerate(examples.tolist()):
        rng = np.random.default_rng([seed, epoch, example])
        if known is None or example < real:
            code = int(cells.train_p[example % len(cells.train_p)])
            parts.append((q, _taken(rng, cells.rows_p[code], k)))
            target_qc[q] = cells.targets_pc[code]
            continue
        a, b = rng.choice(len(known.known_m), 2, replace=False).tolist()
        code = int(rng.choice(cells.train_p))
        parts.append((q, rng.choice(cells.rows_p[code], k)))
        target_qc[q, known.known_m[[a, b]]] = True
        synthetic.append((q, code, a, b))
    found = _means(cells, parts, target_qc)
    if known is None or not synthetic:
        return found
    q, code, a, b = np.array(synthetic).T
    doubt = known.doubt_mm
    doubt_q = doubt[a, a] + doubt[b, b] + 2 * doubt[a, b]
    noise_qg = (found.shift_qg[q] - cells.mean_pg[code]) * np.sqrt(1 + k * doubt_q)[:, None]
    shift_qg = known.common_g + known.effect_mg[a] + known.effect_mg[b] + noise_qg
    shift_qg = shift_qg.astype(np.float32)
    found.mean_qg[q] += shift_qg - found.shift_qg[q]
    found.shift_qg[q] = shift_qg
    return found


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
    """All examples of an epoch; without two perturbed genes there are no synthetic doubles."""
    real = real_examples(cells, groups)
    return real if cells.seen_c.sum() < 2 else round(real / (1 - sums))


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
