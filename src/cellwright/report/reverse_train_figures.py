"""A network that names perturbed genes: curves of known and unseen perturbations, and reliability."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.report.canvas import dress, legend_beside, new_axes, new_grid
from cellwright.report.confusion import SHARES_WRITTEN, confusion_matrix
from cellwright.report.palette import COLOURS, INK, LINES, MUTED

_SIDES = {
    "train": ("training perturbations", COLOURS[4], LINES[1]),
    "val": ("validation perturbations", COLOURS[2], LINES[2]),
    "unseen": ("unseen test perturbations", COLOURS[0], "-"),
}
_PANELS = {"loss": "Loss", "mrr": "Mean reciprocal rank", "f1": "F1, as many named as perturbed"}


def naming_curves(history: pd.DataFrame, *, best_epoch: int | None = None) -> NDArray[Any]:
    """Loss, mean reciprocal rank and F1 over epochs, of known and unseen perturbations in one plot.

    What lies between the lines is what was memorised. Training values are those of groups of
    training cells after the epoch, without dropout, as far as they are there.

    Raises
    ------
    DataError
        If the history is not one of such a network.
    """
    sides = [
        s for s in _SIDES if f"{s}_mrr" in history.columns and history[f"{s}_mrr"].notna().any()
    ]
    if not sides:
        raise DataError(
            "the history has no column 'train_mrr': it is of no network that names genes"
        )
    axes = new_grid(1, 3, 13.2, 3.7)
    mark = "o" if len(history) <= 30 else None
    for ax, (name, title) in zip(axes[0], _PANELS.items(), strict=True):
        for side in sides:
            _, colour, line = _SIDES[side]
            if f"{side}_{name}" in history.columns:
                ax.plot(
                    history["epoch"], history[f"{side}_{name}"], color=colour, linestyle=line,
                    lw=1.7, marker=mark, ms=3,
                )  # fmt: skip
        if best_epoch is not None:
            ax.axvline(best_epoch, color=INK, lw=0.9, linestyle=LINES[2])
        dress(ax, title, "Epoch", "")
        if name != "loss":
            ax.set_ylim(0, 1.03)
        ax.xaxis.get_major_locator().set_params(integer=True)
    handles = [
        Line2D([], [], color=_SIDES[s][1], linestyle=_SIDES[s][2], lw=1.7, label=_SIDES[s][0])
        for s in sides
    ]
    if best_epoch is not None:
        handles.append(
            Line2D([], [], color=INK, lw=0.9, linestyle=LINES[2], label=f"epoch {best_epoch}, kept")
        )
    legend_beside(axes[0, -1], handles)
    return axes


def pathway_figure(weight_kk: NDArray[np.float64], pathways: Sequence[str]) -> Axes:
    """Pathways of perturbed genes in rows, of the genes named for them in columns, % of each row.

    A beginning that all names share (``REACTOME_``) and the number of a GO term are left out.
    """
    total = weight_kk.sum(axis=1, keepdims=True)
    percent = 100 * np.divide(weight_kk, total, out=np.zeros_like(weight_kk), where=total > 0)
    starts = {name.partition("_")[0] for name in pathways[:-1]}
    shared = f"{starts.pop()}_" if len(starts) == 1 else ""
    names = [
        re.sub(r" \(GO:\d+\)$", "", name.removeprefix(shared)).replace("_", " ")
        for name in pathways
    ]
    few = len(names) <= SHARES_WRITTEN  # where shares are written beside the counts in any case
    return confusion_matrix(
        weight_kk if few else percent,
        names,
        title="Pathways of perturbed genes, and of those named",
        subtitle=f"{'Genes' if few else '% of the row'}; a gene of several pathways is spread over them",
        row_axis="Pathway of the perturbed gene",
        column_axis="Pathway of the gene named in its place",
    )


def reliability_figure(table: pd.DataFrame, *, calibrated: bool) -> Axes:
    """Share of genes that were perturbed over the probability that was said, with the line of truth.

    Parameters
    ----------
    table
        Columns ``said``, ``came_true``, ``weight`` (genes of a bin for each perturbation).

    Raises
    ------
    DataError
        If the table is empty.
    """
    if table.empty:
        raise DataError("there is no probability to draw")
    ax = new_axes(5.2, 4.6)
    ax.plot([0, 1], [0, 1], color=MUTED, lw=1.2, linestyle=(0, (4, 2)), zorder=0)
    ax.plot(table["said"], table["came_true"], color=COLOURS[0], lw=1.2, zorder=1)
    sizes = 14 + 90 * table["weight"].to_numpy() / float(table["weight"].max())
    ax.scatter(table["said"], table["came_true"], s=sizes, color=COLOURS[0], zorder=2)
    ax.set_xlim(-0.02, 1.02)
    ax.set_ylim(-0.02, 1.02)
    dress(
        ax,
        "Do probabilities come true?",
        "Probability said",
        "Share perturbed",
        subtitle="Test perturbations; "
        + ("calibrated on validation perturbations" if calibrated else "uncalibrated")
        + "; points as large as there are genes; dashed: as said",
    )
    return ax
