"""What decides a simulated perturbation screen: every setting with its default, and presets."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from cellwright.config import nearest
from cellwright.errors import SettingsError

KINDS = ("activation", "interference")
BASES = ("lognormal", "norman")


@dataclass(frozen=True)
class ScreenSettings:
    """What decides a simulated screen.

    targets, doubles: perturbed genes, and pairs of them that are perturbed together; cells,
    controls: of each condition, and control cells; own_measured: share of the targets whose own
    gene is among the genes, changed by ``own_fold`` (log units; down under interference);
    efficiency: chance that a guide acts, on average; strength: standard deviation over genes of
    the log fold of a responding gene, spread over targets by ``strength_spread`` (log units), 0 for
    no effect; responding: share of genes that respond; shared: share of a shift's variance that
    lies in ``programs`` common to the targets; common: size of the shift that all targets have in
    common, in strengths; interacting: share of pairs that do not add up; interaction: by how much;
    counts_per_gene: mean counts; base: how they spread over genes, ``lognormal`` or as in the panel
    of Norman et al. 2019; theta, theta_spread: median dispersion and its log spread; depth_spread:
    of cells, log units; cell_programs, cell_spread: what varies between cells whatever was
    perturbed; batch_effect: standard deviation of a batch's log fold of a gene.
    """

    targets: int = 20
    doubles: int = 20
    genes: int = 1000
    cells: int = 100
    controls: int = 400
    batches: int = 2
    guides: int = 2
    seed: int = 0

    kind: Literal["activation", "interference"] = "activation"
    own_measured: float = 1.0
    own_fold: float = 2.0
    efficiency: float = 0.85
    strength: float = 0.4
    strength_spread: float = 0.5
    responding: float = 0.3
    shared: float = 0.5
    programs: int = 10
    common: float = 0.3
    interacting: float = 0.3
    interaction: float = 0.4

    counts_per_gene: float = 1.0
    base: Literal["lognormal", "norman"] = "lognormal"
    theta: float = 5.0
    theta_spread: float = 0.5
    depth_spread: float = 0.35
    cell_programs: int = 4
    cell_spread: float = 0.15
    batch_effect: float = 0.1

    def __post_init__(self) -> None:
        least = {
            **{"targets": 2, "doubles": 0, "genes": 20, "cells": 1, "controls": 2, "batches": 1},
            **{"guides": 1, "seed": 0, "programs": 0, "cell_programs": 0},
            **{"own_fold": 0, "strength": 0, "strength_spread": 0, "common": 0, "interaction": 0},
            **{"theta_spread": 0, "depth_spread": 0, "cell_spread": 0, "batch_effect": 0},
        }
        for name, low in least.items():
            value = getattr(self, name)
            if not low <= value < 1e9:
                raise SettingsError(f"{name} is {value}, expected at least {low}")
        for name in ("own_measured", "efficiency", "responding", "shared", "interacting"):
            if not 0 <= getattr(self, name) <= 1:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected a share, 0 to 1")
        for name in ("counts_per_gene", "theta"):
            if not 0 < getattr(self, name) < 1e6:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected a number above 0")
        pairs = self.targets * (self.targets - 1) // 2
        if self.doubles > pairs:
            raise SettingsError(
                f"doubles is {self.doubles}, but {self.targets} targets make only {pairs} pairs"
            )
        if self.targets > self.genes:
            raise SettingsError(
                f"targets is {self.targets}, expected at most as many as genes, {self.genes}"
            )
        for name, known in (("kind", KINDS), ("base", BASES)):
            if getattr(self, name) not in known:
                raise SettingsError(
                    f"{name} is {getattr(self, name)!r}, expected {' or '.join(known)}"
                )
        if self.programs == 0 and self.shared > 0:
            raise SettingsError("programs is 0, but a shared part of shifts needs at least 1")


PRESETS: dict[str, ScreenSettings] = {
    "plain": ScreenSettings(),
    "norman": ScreenSettings(
        targets=18,
        doubles=15,
        genes=500,
        controls=100,
        batches=1,
        own_measured=0.05,
        efficiency=0.9,
        strength=0.31,
        strength_spread=0.65,
        responding=0.5,
        interacting=0.25,
        counts_per_gene=0.27,
        base="norman",
        theta=2.5,
        theta_spread=0.7,
        depth_spread=0.41,
        cell_spread=0.2,
    ),
}
"""Screens by name; ``norman`` has the law of counts of 500 genes of Norman et al. 2019, and shifts
about as hard to tell apart."""


def screen_settings(preset: str = "plain", **changed: Any) -> ScreenSettings:
    """A preset with some settings changed; None leaves a setting as it is.

    Raises
    ------
    SettingsError
        For an unknown preset or setting (the nearest is named) or a value that cannot work.
    """
    if preset not in PRESETS:
        close = nearest(preset, PRESETS)
        raise SettingsError(
            f"no preset {preset!r}: "
            + (f"did you mean {close!r}?" if close else f"known: {', '.join(PRESETS)}")
        )
    known = [field.name for field in fields(ScreenSettings)]
    for name in changed:
        if name not in known:
            close = nearest(name, known)
            raise SettingsError(
                f"no setting {name!r} of a screen" + (f": did you mean {close!r}?" if close else "")
            )
    return replace(PRESETS[preset], **{k: v for k, v in changed.items() if v is not None})
