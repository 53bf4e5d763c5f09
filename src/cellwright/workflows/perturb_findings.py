"""What a reader must know of in-silico edits, in words: findings, and reasons to doubt them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from cellwright.interfaces import Check
from cellwright.perturbation.edits import Kind
from cellwright.perturbation.insilico import FRONT, RARE_FRONT
from cellwright.workflows.perturb_cells import DrawnCells
from cellwright.workflows.perturb_goal import Direction

LEVEL = 0.05
# Along a direction that tells the states apart no better than this, a shift means little.
WEAK_AUC = 0.7
# Below this the two halves point different ways.
WEAK_AGREEMENT = 0.5
FEW_EDITS = 10
FEW_P = 20


def checks_of(
    table: pd.DataFrame,
    kind: Kind,
    headline: str,
    drawn: DrawnCells,
    direction: Direction | None,
    null: int,
    within: bool,
) -> tuple[Check, ...]:
    """The reasons to doubt, warnings first."""
    return tuple(
        sorted(
            [
                *_about_null(table, headline, null, within),
                *_about_front(table, kind),
                *_about_direction(direction, drawn),
                *_about_cells(table, drawn),
            ],
            key=lambda check: check.severity != "warning",
        )
    )


def sentences_of(
    table: pd.DataFrame, null: pd.DataFrame, headline: str, within: bool
) -> tuple[str, ...]:
    """The findings, first what moved, then what place alone explains."""
    p, q = table[f"{headline}_p"], table[f"{headline}_q"]
    tested = int(p.notna().sum())
    found = table[q <= LEVEL]
    further = "further along the way, or further back," if headline == "toward" else "further"
    others = "other genes" if within else "random genes"
    lines = []
    if tested:
        named = ", ".join(found["edit"].head(5).tolist()) + (" …" if len(found) > 5 else "")
        lines.append(
            f"{len(found):,} of {tested:,} edit{'s' if tested > 1 else ''} "
            f"move{'s' if len(found) == 1 else ''} cells "
            f"{further} than {others} at a like place in as many cells, at a false discovery rate "
            f"of 5 %{': ' + named if named else ''}."
        )
    if tested >= FEW_P:
        small = int((p <= LEVEL).sum())
        lines.append(
            f"{small:,} of {tested:,} have p up to 0.05; {LEVEL * tested:.0f} would by chance alone."
        )
    everything = pd.concat([table, null]) if len(null) else table
    lines += _by_place(everything)
    if "expected" in everything and len(everything) >= FEW_EDITS:
        rho = _rho(everything["expected"], everything["toward"])
        known = int(everything["expected"].notna().sum())
        lines.append(
            f"Plain difference of expression between the states orders the edits alike with "
            f"Spearman {rho:.2f} over {known:,} edits (1: the model adds nothing)."
        )
    if "untrained" in table and len(table):
        first = table.iloc[0]
        lines.append(
            f"{first['edit']} takes cells {first['toward']:.3f} of the way; with random weights of "
            f"the same shape it is {first['untrained']:.3f}."
        )
    return tuple(lines)


def _by_place(table: pd.DataFrame) -> list[str]:
    if len(table) < FEW_EDITS:
        return []
    rho = _rho(table["place"], table["cosine"])
    return [
        f"How far a cell moves goes with the place of the gene: Spearman {rho:.2f} over "
        f"{len(table):,} edits (-1: the nearer the front the further, whatever the gene)."
    ]


def _rho(a: pd.Series, b: pd.Series) -> float:
    kept = np.isfinite(a) & np.isfinite(b)
    if kept.sum() < 3 or a[kept].nunique() < 2 or b[kept].nunique() < 2:
        return float("nan")
    return float(spearmanr(a[kept], b[kept]).statistic)


def _about_null(table: pd.DataFrame, headline: str, null: int, within: bool) -> list[Check]:
    checks = []
    if null == 0:
        return [
            Check(
                "no-null",
                "warning",
                "No random genes were edited, so nothing says whether a shift is large.",
                "Give --null 100.",
            )
        ]
    fewest = int(table["null"].min())
    if (fewest + 1) * LEVEL < 1:
        checks.append(
            Check(
                "null-small",
                "warning",
                f"An edit has only {fewest} random genes beside it: its p cannot be below "
                f"{1 / (fewest + 1):.2f}.",
                "Raise --null, or give cells with more genes.",
            )
        )
    if table["outside"].any():
        named = table.loc[table["outside"], "edit"]
        checks.append(
            Check(
                "no-equal",
                "warning",
                f"{len(named):,} edits have no random gene on both sides of their place in the "
                f"cells: {', '.join(named.head(5))}{' …' if len(named) > 5 else ''}.",
                "Read their p as a bound: genes at the very front have no equals.",
            )
        )
    tested = int(table[f"{headline}_p"].notna().sum())
    if tested and (fewest + 1) * LEVEL < tested and not (table[f"{headline}_q"] <= LEVEL).any():
        checks.append(
            Check(
                "resolution",
                "note",
                f"With {fewest} random genes p is never below {1 / (fewest + 1):.3g}; one edit of "
                f"{tested:,} alone cannot pass the false discovery rate.",
                "Take the first by z and ask for them by name, with another --seed for other cells."
                if within
                else f"Raise --null to {int(np.ceil(tested / LEVEL)):,} to let one edit alone pass.",
            )
        )
    return checks


def _about_front(table: pd.DataFrame, kind: Kind) -> list[Check]:
    if kind != "raise":
        return []
    rare = table[table["front"] < RARE_FRONT]
    if rare.empty:
        return []
    worst = rare.iloc[0]
    return [
        Check(
            "off-distribution",
            "warning",
            f"{len(rare):,} of the {len(table):,} edits raise a gene that is in the first "
            f"{FRONT:.0%} of a cell's genes in fewer than {RARE_FRONT:.0%} of the cells "
            f"({worst['edit']}: {worst['front']:.1%}): the model has hardly seen such cells.",
            "Trust its answer for them less, or scale the gene instead.",
        )
    ]


def _about_direction(direction: Direction | None, drawn: DrawnCells) -> list[Check]:
    if direction is None or drawn.goal is None:
        return []
    way = f"{drawn.goal.start} to {drawn.goal.end}"
    checks = [
        Check(
            "direction",
            "warning" if direction.auc < WEAK_AUC else "note",
            f"The direction from {way} tells the two apart in cells it was not fitted on with AUC "
            f"{direction.auc:.2f} (chance 0.50); its two halves agree with cosine "
            f"{direction.agreement:.2f}.",
            "A shift along a direction that does not tell the states apart says nothing of them."
            if direction.auc < WEAK_AUC
            else "",
        )
    ]
    if direction.agreement < WEAK_AGREEMENT:
        checks.append(
            Check(
                "direction-unsteady",
                "warning",
                f"The directions from {way} fitted on two halves of the {direction.unit} agree "
                f"with cosine {direction.agreement:.2f} only.",
                "Give more cells or donors of both states.",
            )
        )
    if direction.unit == "cells":
        checks.append(
            Check(
                "direction-cells",
                "warning",
                "The direction is fitted on other cells, but of the same donors, as those it is "
                "measured in.",
                "Name a column with several donors of each state with --group.",
            )
        )
    return checks


def _about_cells(table: pd.DataFrame, drawn: DrawnCells) -> list[Check]:
    checks = []
    if len(drawn.edited_n) < drawn.of:
        checks.append(
            Check(
                "drawn",
                "note",
                f"{len(drawn.edited_n):,} of {drawn.of:,} cells were drawn.",
                "Raise --max-cells to take more.",
            )
        )
    over_cells = int((table["unit"] == "cells").sum())
    if over_cells:
        checks.append(
            Check(
                "over-cells",
                "note",
                f"The intervals of {over_cells:,} edits are over cells: they say nothing about new "
                "donors.",
                "Six donors or more, named with --group, give intervals over donors.",
            )
        )
    return checks
