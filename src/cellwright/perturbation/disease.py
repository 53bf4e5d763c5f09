"""Simulated disease: gene programs pushed up or down in normal cells, with the right law of counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.errors import DataError, SettingsError
from cellwright.perturbation.changed_columns import with_columns
from cellwright.perturbation.count_law import mean_and_shape, scaled_down, scaled_up

NORMAL = "normal"
_BLOCK_VALUES = 1 << 22


@dataclass(frozen=True)
class Program:
    """One diseased state: ``columns`` of these genes are scaled by ``fold`` (dose d: fold**d).

    Raises
    ------
    SettingsError
        If the fold is not above 0, or the state is called like the normal one.
    """

    state: str
    columns: NDArray[np.int64]
    fold: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.fold) and self.fold > 0):
            raise SettingsError(f"the fold of {self.state} is {self.fold:g}, expected above 0")
        if self.state == NORMAL:
            raise SettingsError(f"a diseased state cannot be called {NORMAL!r}; give another name")


@dataclass(frozen=True)
class DiseaseSettings:
    """How cells become diseased.

    doses: each cell of a diseased state gets one, and its genes are scaled by fold**dose;
    penetrance: share of the cells of a state that show it; keep_depth: library sizes are made to
    tell nothing (see :func:`simulate_disease`); paired: every cell in every state and dose, else
    each cell in one.

    Raises
    ------
    SettingsError
        If a value cannot work; the sentence holds it.
    """

    doses: tuple[float, ...] = (1.0,)
    penetrance: float = 1.0
    keep_depth: bool = False
    paired: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.doses or any(not (np.isfinite(d) and d > 0) for d in self.doses):
            listed = ", ".join(f"{d:g}" for d in self.doses) or "nothing"
            raise SettingsError(f"doses are {listed}, expected numbers above 0")
        if len(set(self.doses)) < len(self.doses):
            raise SettingsError(f"a dose stands twice in {', '.join(f'{d:g}' for d in self.doses)}")
        if not 0 < self.penetrance <= 1:
            raise SettingsError(f"penetrance is {self.penetrance:g}, expected above 0 and up to 1")
        if self.seed < 0:
            raise SettingsError(f"seed is {self.seed}, expected 0 or more")


@dataclass(frozen=True)
class Diseased:
    """Simulated cells: m of them, from n base cells.

    counts_mg: CSR of whole numbers; base_m: row of the base cell; state_m: ``normal`` or the state;
    dose_m: 0 for normal cells; shown_m: True where the program was applied (penetrance, cell type).
    """

    counts_mg: sp.csr_matrix
    base_m: NDArray[np.int64]
    state_m: NDArray[np.str_]
    dose_m: NDArray[np.float64]
    shown_m: NDArray[np.bool_]


def simulate_disease(
    counts_ng: sp.csr_matrix,
    types_n: NDArray[np.str_],
    programs: Sequence[Program],
    settings: DiseaseSettings | None = None,
    *,
    can_show_n: NDArray[np.bool_] | None = None,
) -> Diseased:
    """Push gene programs up or down in some of the cells.

    Down, each molecule is kept with probability fold**dose; up, molecules are added from the cell's
    own rate (``perturbation.count_law``), with mean and shape of each gene taken from the cells of
    the same type. With ``keep_depth`` a cell of any state, the normal one too, is thinned at random
    to the library size that it would have with every program that goes down at its full dose: the
    library size of a base cell then has one law, whatever its state.

    Parameters
    ----------
    counts_ng
        Whole counts of the base cells, CSR.
    types_n
        Cell type of each; law and shares are taken within.
    programs
        The diseased states; no gene may be in two.
    can_show_n
        Cells that can show a disease (default all): the others enter states but do not change.

    Returns
    -------
    In the order of the base cells (paired: all of a state, then the next). States have equal
    shares of every cell type, to a cell; so have the doses of a state.

    Raises
    ------
    DataError
        If counts are not whole numbers, or there are fewer cells than states and doses.
    SettingsError
        If two programs share a gene or a name, or there is none.
    """
    settings = settings or DiseaseSettings()
    _check(counts_ng, programs)
    rng = np.random.default_rng(settings.seed)
    n = counts_ng.shape[0]
    base_m, program_m, dose_m = _assigned(types_n, len(programs), settings, rng)
    can = np.ones(n, dtype=bool) if can_show_n is None else np.asarray(can_show_n, dtype=bool)
    shown_m = can[base_m] & (rng.random(len(base_m)) < settings.penetrance) & (program_m >= 0)
    totals_n = np.asarray(counts_ng.sum(axis=1)).ravel().astype(np.float64)
    shape = (len(base_m), counts_ng.shape[1])
    drawn = sp.csr_matrix(shape, dtype=np.int64)
    for number, program in enumerate(programs):
        rows = np.flatnonzero(shown_m & (program_m == number))
        # Columns first: taking rows would copy every gene of them.
        own_ng = counts_ng[:, program.columns]
        found = _drawn(rows, own_ng, base_m[rows], dose_m[rows], types_n, totals_n, program, rng)
        drawn = drawn + sp.csr_matrix(found, shape=shape)
    counts = with_columns(
        counts_ng,
        base_m,
        np.where(shown_m, program_m, -1),
        [program.columns for program in programs],
        drawn,
    )
    if settings.keep_depth:
        counts = _without_depth(
            counts, totals_n[base_m], can[base_m], shown_m, program_m, dose_m, programs, rng
        )
    names = np.array([*(p.state for p in programs), NORMAL])
    return Diseased(counts, base_m, names[program_m], dose_m, shown_m)


def _assigned(
    types_n: NDArray[np.str_], n_programs: int, settings: DiseaseSettings, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Base cell, program (-1 normal) and dose (0 normal) of every simulated cell."""
    n, doses = len(types_n), np.array(settings.doses)
    if settings.paired:
        slots = [(-1, 0.0), *((p, float(d)) for p in range(n_programs) for d in doses)]
        base_m = np.tile(np.arange(n), len(slots))
        program_m = np.repeat([p for p, _ in slots], n)
        return base_m, program_m, np.repeat([d for _, d in slots], n)
    least = 1 + n_programs * len(doses)
    if n < least:
        raise DataError(
            f"{n} cells are too few for {n_programs} diseased states at {len(doses)} doses and the "
            f"normal one; expected at least {least}"
        )
    program_n, dose_n = np.full(n, -1), np.zeros(n)
    for kind in np.unique(types_n):
        order = rng.permutation(np.flatnonzero(types_n == kind))
        # From a random place, so that no state always gets the cell that is left over.
        states = (np.arange(len(order)) + rng.integers(n_programs + 1)) % (n_programs + 1) - 1
        program_n[order] = states
        for number in range(n_programs):
            rows = order[states == number]
            dose_n[rows] = doses[(np.arange(len(rows)) + rng.integers(len(doses))) % len(doses)]
    return np.arange(n), program_n, dose_n


def _drawn(
    rows: NDArray[np.int64],
    own_ng: sp.csr_matrix,
    base: NDArray[np.int64],
    dose: NDArray[np.float64],
    types_n: NDArray[np.str_],
    totals_n: NDArray[np.float64],
    program: Program,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Entries of the program's genes drawn anew in ``rows``, whose base cells are ``base``.

    own_ng: the base counts of these genes alone.
    """
    columns = program.columns
    share, shape = {}, {}
    if program.fold > 1:
        for kind in np.unique(types_n[base]):
            own = types_n == kind
            share[kind], shape[kind] = mean_and_shape(own_ng[own], totals_n[own])
    values, at_rows, at_columns = [], [], []
    step = max(1, _BLOCK_VALUES // max(1, len(columns)))
    for start in range(0, len(rows), step):
        at = slice(start, start + step)
        x = own_ng[base[at]].toarray().astype(np.int64)
        fold = (program.fold ** dose[at])[:, None]
        if program.fold > 1:
            kinds = types_n[base[at]]
            mean = np.stack([share[k] for k in kinds]) * totals_n[base[at], None]
            x = scaled_up(x, mean, np.stack([shape[k] for k in kinds]), fold, rng)
        else:
            x = scaled_down(x, fold, rng)
        r, c = np.nonzero(x)
        values.append(x[r, c])
        at_rows.append(rows[at][r])
        at_columns.append(columns[c])
    none = [np.empty(0, dtype=np.int64)]
    return np.concatenate(values or none), (
        np.concatenate(at_rows or none),
        np.concatenate(at_columns or none),
    )


def _without_depth(
    counts: sp.csr_matrix,
    base_total_m: NDArray[np.float64],
    can_m: NDArray[np.bool_],
    shown_m: NDArray[np.bool_],
    program_m: NDArray[np.int64],
    dose_m: NDArray[np.float64],
    programs: Sequence[Program],
    rng: np.random.Generator,
) -> sp.csr_matrix:
    """Every cell thinned to the total it would have with all that goes down at its full dose."""
    total_m = np.asarray(counts.sum(axis=1)).ravel()
    lose_m = np.zeros(len(total_m), dtype=np.int64)
    most = float(dose_m.max())
    for number, program in enumerate(programs):
        if program.fold >= 1:
            continue
        left_m = np.asarray(counts[:, program.columns].sum(axis=1)).ravel()
        had_m = np.where(shown_m & (program_m == number), dose_m, 0.0)
        more_m = 1 - program.fold ** (most - had_m)
        lose_m += rng.binomial(left_m, np.where(can_m, more_m, 0.0))
    wanted_m = np.minimum(total_m, base_total_m.astype(np.int64)) - lose_m
    thinned = counts.copy()
    for row in np.flatnonzero(wanted_m < total_m):
        at = slice(counts.indptr[row], counts.indptr[row + 1])
        thinned.data[at] = rng.multivariate_hypergeometric(
            counts.data[at], wanted_m[row], method="marginals"
        )
    thinned.eliminate_zeros()
    return thinned


def _check(counts_ng: sp.csr_matrix, programs: Sequence[Program]) -> None:
    if not programs:
        raise SettingsError("no program was given; name genes that go up, or down, or both")
    names = [program.state for program in programs]
    if len(set(names)) < len(names):
        raise SettingsError(f"two diseased states are called {names[0]!r}; give each its name")
    for i, one in enumerate(programs):
        for other in programs[i + 1 :]:
            shared = np.intersect1d(one.columns, other.columns)
            if len(shared):
                raise SettingsError(
                    f"{len(shared)} genes are in {one.state!r} and in {other.state!r}; a gene can "
                    "go one way only: take them out of one of the two"
                )
    data = counts_ng.data
    whole = np.equal(data, np.floor(data)) & (data >= 0)
    if not whole.all():
        raise DataError(
            f"the counts hold {data[~whole][0]:g}, expected whole numbers: single molecules are "
            "kept or added"
        )
