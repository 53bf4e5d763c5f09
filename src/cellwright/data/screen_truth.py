"""The planted truth of a perturbation screen: what every target does to every gene, alone and in pairs.

The expected count of gene g in cell n of a condition is

    mu_ng = depth_n * share_g * exp(fold_g + batch_g + programs_np @ loadings_pg)

and its count is negative binomial, variance mu + mu**2 / theta_g. ``fold_g`` is that of the targets
that act in this cell: a guide acts with its efficiency, each target of a double for itself. Two
targets add up, or interact, in a way that is fixed for every pair, drawn or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from cellwright.data.screen_settings import ScreenSettings

# Log mean counts of the 500 genes of a public Norman panel (3,375 cells, half of the genes all but
# silent, four of them holding four fifths of the counts), at these shares of the genes.
_NORMAN_AT = (0, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.97, 0.98, 0.985, 0.99, 0.995, 1)
_NORMAN = (
    *(-9.9, -9.0, -8.1, -7.4, -6.7, -5.8, -4.95, -3.7),
    *(-2.67, -1.55, -0.94, -0.41, 0.0, 0.87, 3.15, 3.74),
)
_TRUTH_STREAM, _PAIR_STREAM = 0, 1
INTERACTIONS = ("synergy", "buffering", "epistasis", "neomorphic")


@dataclass(frozen=True)
class ScreenTruth:
    """The drawn truth; t targets, u guides, b batches, p programs of cells.

    names_t: symbols of the targets; own_t: their columns, -1 where not measured; share_g: sums to
    1; effect_tg: log fold of each target alone; doubles: pairs of targets that were perturbed.
    """

    settings: ScreenSettings
    ids_g: tuple[str, ...]
    symbols_g: tuple[str, ...]
    names_t: tuple[str, ...]
    own_t: NDArray[np.int64]
    share_g: NDArray[np.float64]
    theta_g: NDArray[np.float64]
    effect_tg: NDArray[np.float64]
    efficiency_tu: NDArray[np.float64]
    batch_bg: NDArray[np.float64]
    loadings_pg: NDArray[np.float64]
    doubles: tuple[tuple[int, int], ...]

    @property
    def depth(self) -> float:
        """Mean counts of a control cell, all genes."""
        return self.settings.counts_per_gene * self.settings.genes

    @cached_property
    def conditions(self) -> tuple[tuple[int, ...], ...]:
        """Targets of every condition: controls, singles, doubles."""
        return ((), *((t,) for t in range(len(self.names_t))), *self.doubles)

    def name(self, targets: Sequence[int]) -> str:
        """Name of a condition: symbols in order with ``+`` between, or ``control``."""
        return "+".join(sorted(self.names_t[t] for t in targets)) or "control"

    def interaction(self, a: int, b: int) -> str:
        """What two targets do together: ``additive`` or one of :data:`INTERACTIONS`."""
        return self._drawn(min(a, b), max(a, b))[0]

    def log_fold(self, targets: Sequence[int]) -> NDArray[np.float64]:
        """Log fold of every gene where these targets act, (g,): none, one, or two of them."""
        if not len(targets):
            return np.zeros(len(self.share_g))
        if len(targets) == 1:
            return self.effect_tg[targets[0]]
        a, b = min(targets), max(targets)
        kind, rng = self._drawn(a, b)
        one, other = self.effect_tg[a], self.effect_tg[b]
        size = self.settings.interaction
        if kind == "synergy":
            fold = (1 + size) * (one + other)
        elif kind == "buffering":
            fold = (1 - min(size, 1.0)) * (one + other)
        elif kind == "epistasis":
            fold = one + (1 - min(2 * size, 1.0)) * other
        else:
            fold = one + other
        if kind == "neomorphic":
            new = rng.normal(0, 1, len(fold)) * (rng.random(len(fold)) < self.settings.responding)
            fold = fold + size * new * np.linalg.norm(fold) / max(float(np.linalg.norm(new)), 1e-12)
        for t in (a, b):  # what is done to the targets' own transcripts is done by the guides
            if self.own_t[t] >= 0:
                fold[self.own_t[t]] = one[self.own_t[t]] + other[self.own_t[t]]
        return np.asarray(fold)

    def _drawn(self, a: int, b: int) -> tuple[str, np.random.Generator]:
        rng = stream(self.settings.seed, _PAIR_STREAM, a, b)
        kind = INTERACTIONS[int(rng.integers(len(INTERACTIONS)))]
        return (kind if rng.random() < self.settings.interacting else "additive"), rng


def stream(seed: int, *key: int) -> np.random.Generator:
    """A random stream of its own for every key."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))


def plant_screen(settings: ScreenSettings) -> ScreenTruth:
    """Draw the truth of a screen; the same settings give the same truth."""
    s, rng = settings, stream(settings.seed, _TRUTH_STREAM)
    symbols = [f"SIM{i:05d}" for i in range(1, s.genes + 1)]
    measured = round(s.own_measured * s.targets)
    own_t = np.full(s.targets, -1)
    own_t[rng.permutation(s.targets)[:measured]] = rng.permutation(s.genes)[:measured]
    names = [
        symbols[column] if column >= 0 else f"SIM{s.genes + 1 + t:05d}"
        for t, column in enumerate(own_t.tolist())
    ]
    order = np.argsort(names)
    own_t, names = own_t[order], [names[i] for i in order]
    pairs = list(combinations(range(s.targets), 2))
    doubles = sorted(pairs[i] for i in rng.permutation(len(pairs))[: s.doubles])
    alpha = 8.0
    efficiency = np.full((s.targets, s.guides), s.efficiency)
    if 0 < s.efficiency < 1:
        odds = s.efficiency / (1 - s.efficiency)
        efficiency = rng.beta(alpha, alpha / odds, (s.targets, s.guides))
    share = np.exp(_log_means(s, rng))
    return ScreenTruth(
        settings=s,
        # Ensembl's human ids stay far below this number, so no made-up gene meets a real one.
        ids_g=tuple(f"ENSG{90_000_000 + i:011d}" for i in range(1, s.genes + 1)),
        symbols_g=tuple(symbols),
        names_t=tuple(names),
        own_t=own_t,
        share_g=share / share.sum(),
        theta_g=s.theta * np.exp(rng.normal(0, s.theta_spread, s.genes)),
        effect_tg=_effects(s, own_t, rng),
        efficiency_tu=efficiency,
        batch_bg=rng.normal(0, s.batch_effect, (s.batches, s.genes)),
        loadings_pg=rng.normal(0, s.cell_spread, (s.cell_programs, s.genes)),
        doubles=tuple(doubles),
    )


def _log_means(s: ScreenSettings, rng: np.random.Generator) -> NDArray[np.float64]:
    if s.base == "lognormal":
        return rng.normal(0, 1.5, s.genes)
    # One gene in every slice of the distribution: the few genes that hold most counts are in all.
    at = (rng.permutation(s.genes) + rng.random(s.genes)) / s.genes
    return np.interp(at, _NORMAN_AT, _NORMAN)


def _effects(
    s: ScreenSettings, own_t: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float64]:
    def scattered(rows: int) -> NDArray[np.float64]:
        hit = rng.random((rows, s.genes)) < s.responding
        return np.asarray(rng.normal(0, 1, (rows, s.genes)) * hit)

    weight_tp = rng.normal(0, 1, (s.targets, s.programs)) / np.sqrt(max(s.programs, 1))
    shift = np.sqrt(s.shared) * weight_tp @ scattered(s.programs)
    shift += np.sqrt(1 - s.shared) * scattered(s.targets)
    # Genes that respond do so alike over all targets, and strengths are spread evenly: few genes
    # hold most counts, and a screen should not be easy or hard by the luck of these.
    size_g = np.sqrt((shift**2).mean(axis=0) / s.responding) if s.responding else np.ones(s.genes)
    shift /= np.where(size_g > 0, size_g, 1)
    slices = (rng.permutation(s.targets) + 0.5) / s.targets
    shift *= np.exp(s.strength_spread * ndtri(slices))[:, None]
    shift = s.strength * (shift + s.common * scattered(1))
    # No biology raises a transcript a thousandfold.
    shift = np.clip(shift, -4, 4)
    measured = np.flatnonzero(own_t >= 0)
    sign = 1.0 if s.kind == "activation" else -1.0
    shift[measured, own_t[measured]] = sign * s.own_fold
    return np.asarray(shift)
