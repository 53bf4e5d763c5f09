"""The reverse problem: which genes were perturbed, as conditions, candidates and targets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.errors import DataError, SettingsError

CONTROL_NAMES = ("control", "ctrl", "non-targeting", "nontargeting", "NT", "NegCtrl", "neg")
LIKELY_COLUMNS = (
    "condition",
    "perturbation",
    "perturbation_name",
    "target",
    "gene",
    "guide_identity",
)
MOST_GENES = 2
# Symbols and ids have letters, digits and these marks; spaces and the like are in labels of cells.
_NO_GENE = re.compile(r"[^\w.@/:()'-]")
# What tables call cells without a guide, with several, or of which nothing is known.
_NOT_GENES = ("none", "nan", "na", "unknown", "unassigned", "undetermined", "multiplet", "doublet")


@dataclass(frozen=True)
class Screen:
    """The perturbations of a screen.

    conditions: p names, genes in alphabetical order joined by ``+`` (and, where some cells of a
    perturbation are held out, what these are called by); genes_p: the genes of each;
    condition_n: index of each cell's condition, -1 for a control cell, -2 for a cell that takes no
    part; candidates: c genes that may be the answer; targets_pc: True where a condition perturbs
    the candidate; batch_n: what controls are matched by (one batch where there are none);
    guide_n: the guide of each cell, context_n: its cell type, dataset or treatment, None where
    unknown; notes: what a reader must know.
    """

    conditions: tuple[str, ...]
    genes_p: tuple[tuple[str, ...], ...]
    condition_n: NDArray[np.int64]
    candidates: tuple[str, ...]
    targets_pc: NDArray[np.bool_]
    batch_n: NDArray[np.str_]
    guide_n: NDArray[np.str_] | None = None
    context_n: NDArray[np.str_] | None = None
    notes: tuple[str, ...] = ()

    @property
    def control_rows(self) -> NDArray[np.int64]:
        """Positions of the control cells."""
        return np.flatnonzero(self.condition_n == -1)

    def rows_of(self, condition: int) -> NDArray[np.int64]:
        """Positions of the cells of one condition."""
        return np.flatnonzero(self.condition_n == condition)

    @property
    def singles(self) -> tuple[str, ...]:
        """Conditions of one gene."""
        return tuple(c for c, g in zip(self.conditions, self.genes_p, strict=True) if len(g) == 1)

    @property
    def doubles(self) -> tuple[str, ...]:
        """Conditions of two genes."""
        return tuple(c for c, g in zip(self.conditions, self.genes_p, strict=True) if len(g) == 2)

    def index(self, condition: str) -> int:
        """Position of a condition.

        Raises
        ------
        DataError
            If there is none of that name; the nearest is named.
        """
        if condition not in self.conditions:
            close = nearest(condition, self.conditions)
            raise DataError(
                f"there is no perturbation {condition!r} in the data"
                + (f"; did you mean {close!r}?" if close else "")
            )
        return self.conditions.index(condition)

    def genes_named(self, code: int) -> str:
        """The genes of a condition as one name, without what tells its cells from others of theirs."""
        return "+".join(self.genes_p[code])

    def seen_alone(self, condition: str, train: Sequence[str]) -> int:
        """How many of a condition's genes are perturbed alone in ``train``: the stratum of a test."""
        genes = self.genes_p[self.index(condition)]
        alone = {self.genes_p[self.index(c)] for c in train}
        return sum((gene,) in alone for gene in genes)

    def with_candidates(self, candidates: Sequence[str]) -> Screen:
        """The same screen with another list of possible answers.

        Raises
        ------
        DataError
            If a perturbed gene is not among them.
        """
        wanted = tuple(dict.fromkeys(candidates))
        absent = sorted({g for genes in self.genes_p for g in genes} - set(wanted))
        if absent:
            close = nearest(absent[0], wanted)
            raise DataError(
                f"{len(absent)} perturbed genes are not among the {len(wanted):,} candidates, "
                f"{absent[0]!r} first"
                + (f" (did you mean {close!r}?)" if close else "")
                + "; add them, or give a table of old symbols"
            )
        targets = np.array([[c in genes for c in wanted] for genes in self.genes_p], dtype=bool)
        return replace(self, candidates=wanted, targets_pc=targets)


def read_screen(
    obs: pd.DataFrame,
    column: str | None = None,
    *,
    control: str | None = None,
    separator: str = "+",
    aliases: Mapping[str, str] | None = None,
    candidates: Sequence[str] | None = None,
    batch: str | None = None,
    guide: str | None = None,
    context: str | None = None,
    min_cells: int = 2,
) -> Screen:
    """Read the perturbations of cells.

    Parameters
    ----------
    column
        Column of perturbations such as ``A``, ``A+B``, ``control``; ``A+ctrl`` is ``A``. Default
        the first of the usual names that is there.
    control
        Name of control cells; default the first of the usual names that is there.
    separator
        Between the genes of a double perturbation.
    aliases
        Old symbols to new ones.
    candidates
        Genes that may be the answer; default those perturbed anywhere in the data.
    batch
        Column within which controls are matched.
    guide
        Column of guides, for holding guides out.
    context
        Column of cell types, datasets or treatments, for holding one out; controls are matched
        within it too.
    min_cells
        Conditions with fewer cells are left out, and said.

    Raises
    ------
    DataError
        If there is no perturbation column, no two control cells, no perturbation of one or two genes
        (cells with more are left out, and said), or a name that is no gene name.
    SettingsError
        If the control name is not there.
    """
    column = _column(obs, column)
    values = obs[column]
    text_n = np.where(values.isna(), "", values.astype(str).str.strip()).astype(str)
    present = [str(name) for name in np.unique(text_n) if name]
    if not present:
        raise DataError(f"no cell has a value in the column {column!r}, which names perturbations")
    control = _control(present, control, column)
    names = {control, *(n for n in CONTROL_NAMES if n != control)}
    aliases = dict(aliases or {})
    genes_of: dict[str, tuple[str, ...]] = {}
    crowded: list[str] = []
    for name in present:
        if name == control:
            continue
        parts = [part.strip() for part in name.split(separator)]
        genes = [aliases.get(part, part) for part in parts if part not in names]
        if not all(genes) or not genes:
            raise DataError(
                f"{name!r} in {column!r} is no perturbation: expected a gene, two genes with "
                f"{separator!r} between them, or {control!r}"
            )
        strange = [g for g in genes if _NO_GENE.search(g) or g.lower() in _NOT_GENES]
        if strange:
            raise DataError(
                f"{strange[0]!r} in {column!r} is named like no gene; give its symbol in a table of "
                "old names and new ones (--aliases), or leave its cells out (--leave-out)"
                + (f"; or is --separator {separator!r} wrong?" if "+" in strange[0] else "")
            )
        if len(set(genes)) > MOST_GENES:
            crowded.append(name)
            continue
        genes_of[name] = tuple(sorted(set(genes)))
    notes = _other_separator(genes_of, separator)
    counts = pd.Series(text_n).value_counts()
    if crowded:
        if not genes_of:
            raise DataError(
                f"every perturbation in {column!r} is of more than {MOST_GENES} genes, such as "
                f"{crowded[0]!r}; is --separator {separator!r} right?"
            )
        notes.append(
            f"{int(counts[crowded].sum())} cells with more than {MOST_GENES} perturbed genes left "
            f"out, such as {crowded[0]}"
        )
    sizes: dict[tuple[str, ...], int] = {}
    for name, perturbed in genes_of.items():
        sizes[perturbed] = sizes.get(perturbed, 0) + int(counts[name])
    rare = sorted("+".join(genes) for genes, n in sizes.items() if n < min_cells)
    if rare:
        shown = ", ".join(rare[:5]) + (" …" if len(rare) > 5 else "")
        notes.append(
            f"{len(rare)} perturbations with fewer than {min_cells} cells left out: {shown}"
        )
    kept = sorted((g for g, n in sizes.items() if n >= min_cells), key=lambda g: (len(g), g))
    if not sizes:
        raise DataError(f"every cell in {column!r} is {control!r}: there is no perturbation")
    if not kept:
        raise DataError(
            f"no perturbation in {column!r} has {min_cells} cells or more ({len(sizes)} have fewer)"
        )
    place = {genes: i for i, genes in enumerate(kept)}
    code = {name: place.get(genes, -2) for name, genes in genes_of.items()} | {control: -1}
    condition_n = np.array([code.get(name, -2) for name in text_n], dtype=np.int64)
    if (condition_n == -1).sum() < 2:
        raise DataError(
            f"there is one control cell ({control!r} in {column!r}): every shift would hold its noise, "
            "and be alike for that; two are needed, and many are better"
        )
    unlabelled = int((text_n == "").sum())
    if unlabelled:
        notes.append(f"{unlabelled} cells without a perturbation take no part")
    screen = Screen(
        conditions=tuple("+".join(genes) for genes in kept),
        genes_p=tuple(kept),
        condition_n=condition_n,
        candidates=(),
        targets_pc=np.zeros((len(kept), 0), dtype=bool),
        batch_n=_matched(obs, batch, context),
        guide_n=_values(obs, guide, "guide") if guide else None,
        context_n=_values(obs, context, "context") if context else None,
        notes=tuple(notes),
    )
    return screen.with_candidates(candidates or sorted({g for genes in kept for g in genes}))


def _other_separator(genes_of: Mapping[str, tuple[str, ...]], separator: str) -> list[str]:
    """What is said of names that look like doubles with another separator."""
    alone = {genes[0] for genes in genes_of.values() if len(genes) == 1}
    joined = {
        name: mark
        for name in alone
        for mark in re.findall(r"[^\w]|_", name)
        if mark != separator and name.count(mark) == 1 and set(name.split(mark)) <= alone
    }
    if not joined:
        return []
    name, mark = min(joined.items())
    return [
        f"{len(joined)} perturbations such as {name!r} are taken for one gene each, though "
        f"{' and '.join(name.split(mark))} are perturbed alone too: if they are of two genes, give "
        f"--separator {mark!r}"
    ]


def _column(obs: pd.DataFrame, column: str | None) -> str:
    if column is None:
        found = [name for name in LIKELY_COLUMNS if name in obs.columns]
        if not found:
            raise DataError(
                "no column of obs names perturbations (looked for "
                f"{', '.join(LIKELY_COLUMNS)}; it has {', '.join(map(str, obs.columns)) or 'none'}): "
                "these cells are no perturbation screen, or name the column with --perturbation"
            )
        return found[0]
    if column not in obs.columns:
        close = nearest(column, map(str, obs.columns))
        raise DataError(
            f"no perturbation column {column!r} in obs"
            + (f": did you mean {close!r}?" if close else "")
        )
    return column


def _control(present: Sequence[str], control: str | None, column: str) -> str:
    if control is not None:
        if control not in present:
            close = nearest(control, present)
            raise SettingsError(
                f"no cell is {control!r} in {column!r}"
                + (
                    f": did you mean {close!r}?"
                    if close
                    else f": it holds {', '.join(present[:5])} …"
                )
            )
        return control
    usual = {name.lower() for name in CONTROL_NAMES}
    found = [name for name in present if name.lower() in usual]
    if not found:
        raise DataError(
            f"no control cells in {column!r}: none of {', '.join(CONTROL_NAMES)} is there, but "
            f"{', '.join(present[:5])} …; name them with --control"
        )
    return found[0]


def _matched(obs: pd.DataFrame, batch: str | None, context: str | None) -> NDArray[np.str_]:
    """What controls are matched by: batches within contexts."""
    named = [
        _values(obs, column, what)
        for column, what in ((context, "context"), (batch, "batch"))
        if column
    ]
    if not named:
        return np.full(len(obs), "all")
    return np.array([" · ".join(parts) for parts in zip(*named, strict=True)], dtype=str)


def _values(obs: pd.DataFrame, column: str, what: str) -> NDArray[np.str_]:
    if column not in obs.columns:
        close = nearest(column, map(str, obs.columns))
        raise DataError(
            f"no {what} column {column!r} in obs" + (f": did you mean {close!r}?" if close else "")
        )
    return obs[column].astype(str).to_numpy(dtype=str)
