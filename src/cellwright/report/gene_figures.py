"""Figures of gene classification: F1 and AUC per method, recall per class, few labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.interfaces import Score
from cellwright.report.canvas import dress, figure_of, legend_beside, new_axes, new_grid, plain
from cellwright.report.methods import as_dicts
from cellwright.report.palette import INK, MUTED, styles
from cellwright.report.scores import score_intervals

NAMES = {
    "roc_auc": "ROC-AUC",
    "macro_f1": "Macro F1",
    "f1_positive": "F1 of the positive class",
    "auc_within_family": "ROC-AUC within families",
}
HELD_OUT = {"repeated": "single genes held out", "grouped": "whole families held out"}
RECALL = "recall of "


def gene_scores(
    scores: Sequence[Score | Mapping[str, Any]],
    *,
    metric: str = "macro_f1",
    split: str = "repeated",
    baselines: Collection[str] = (),
    ceilings: Collection[str] = (),
) -> Axes:
    """One metric of every method with its 95 % interval; near-labels stand in the
    small print only.

    Raises
    ------
    DataError
        If no method has this metric in this design.
    """
    rows = as_dicts(scores)
    rivals = [r for r in rows if r["rep"] not in set(ceilings)]
    near = [
        f"{r['rep']} (nearly the label): {r['value']:.3f}"
        for r in rows
        if r["rep"] in set(ceilings) and (r["metric"], r["split"]) == (metric, split)
    ]
    unit = next((r["unit"] for r in rivals if r["split"] == split), "genes")
    ax = score_intervals(
        rivals,
        metric=metric,
        split=split,
        baselines=baselines,
        title=f"{NAMES.get(metric, metric)} per method",
        subtitle="; ".join([HELD_OUT.get(split, split), f"bars: 95 % interval over {unit}", *near]),
    )
    ax.set_xlabel(NAMES.get(metric, metric), fontsize=9.5, color=INK)
    return ax


def recall_per_class(
    scores: Sequence[Score | Mapping[str, Any]], methods: Sequence[str], *, split: str = "repeated"
) -> Axes:
    """Share of each class's genes named right, methods in rows, with 95 % intervals.

    Raises
    ------
    DataError
        If none of the methods has a recall in this design.
    """
    rows = [
        r
        for r in as_dicts(scores)
        if r["split"] == split and r["stratum"] == "all" and r["metric"].startswith(RECALL)
    ]
    found = {(r["rep"], r["metric"].removeprefix(RECALL)): r for r in rows}
    shown = [m for m in methods if any(rep == m for rep, _ in found)]
    classes = list(dict.fromkeys(c for _, c in found))
    if not shown:
        raise DataError(f"no recall of {', '.join(methods) or 'any method'} in the {split} design")
    look = styles(classes)
    ax = new_axes(9.2, 0.2 * len(shown) * max(len(classes), 2) + 1.7)
    step = min(0.24, 0.7 / len(classes))
    for y, method in enumerate(shown):
        for i, name in enumerate(classes):
            row = found.get((method, name))
            if row is None:
                continue
            at = y + (i - (len(classes) - 1) / 2) * step
            ax.plot([row["low"], row["high"]], [at, at], color=look[name].colour, linewidth=1.8)
            ax.plot([row["value"]], [at], marker=look[name].marker, color=look[name].colour, ms=6)
    dress(
        ax,
        "Recall of each class",
        "Recall",
        "",
        subtitle=f"{HELD_OUT.get(split, split)}; bars: 95 % interval; the best classifier of each",
        grid="x",
    )
    ax.set_yticks(np.arange(len(shown)), [plain(m, 40) for m in shown])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(shown) - 0.45, -0.55)
    ax.set_xlim(-0.01, 1.01)
    handles = [
        Line2D([], [], color=look[c].colour, marker=look[c].marker, linewidth=1.8, label=plain(c))
        for c in classes
    ]
    legend_beside(ax, handles, "Class")
    return ax


def hidden_labels(
    curves: Sequence[Mapping[str, Any]],
    *,
    metric: str = "roc_auc",
    chance: float = 0.5,
) -> NDArray[Any]:
    """A metric against the share of training labels hidden: a panel per kind of vectors, a line per
    method with 95 % intervals over genes; dashed lines saw the test genes without labels.

    Parameters
    ----------
    curves
        As ``metrics.json`` keeps them under ``hidden``.

    Raises
    ------
    DataError
        If there is nothing of this metric.
    """
    rows = [r for r in curves if r["metric"] == metric]
    if not rows:
        raise DataError(f"no curve of {metric} over hidden labels to draw")
    views = list(dict.fromkeys(str(r["view"]) for r in rows))
    methods = list(dict.fromkeys(str(r["method"]) for r in rows))
    look = styles(methods)
    columns = min(len(views), 3)
    lines = -(-len(views) // columns)
    axes = new_grid(
        lines, columns, max(1.2 + 3.7 * columns, 7.6), 3.3 * lines + 0.8, sharex=True, sharey=True
    )
    flat = axes.ravel()
    for ax, view in zip(flat, views, strict=False):
        for i, method in enumerate(methods):
            own = [r for r in rows if r["view"] == view and r["method"] == method]
            own.sort(key=lambda r: r["share_hidden"])
            x = np.array([r["share_hidden"] for r in own]) + (i - (len(methods) - 1) / 2) * 0.012
            y, low, high = (np.array([r[k] for r in own]) for k in ("value", "low", "high"))
            dashed = any(r["transductive"] for r in own)
            ax.vlines(x, low, high, color=look[method].colour, linewidth=0.9, alpha=0.6)
            ax.plot(
                x,
                y,
                color=look[method].colour,
                marker=look[method].marker,
                markersize=5,
                linewidth=1.6,
                linestyle=(0, (4, 2)) if dashed else "-",
            )
        ax.axhline(chance, color=MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
        dress(ax, view, "Share of training labels hidden", NAMES.get(metric, metric))
        ax.xaxis.set_major_formatter(lambda v, _: f"{v:.0%}")
    for ax in flat[len(views) :]:
        ax.set_visible(False)
    for ax in flat:
        ax.label_outer()
    handles = [
        Line2D(
            [],
            [],
            color=look[m].colour,
            marker=look[m].marker,
            linewidth=1.6,
            linestyle=(0, (4, 2)) if "transductive" in m else "-",
            label=plain(m),
        )
        for m in methods
    ]
    handles.append(Line2D([], [], color=MUTED, linewidth=1, linestyle=(0, (2, 2)), label="chance"))
    figure_of(axes).legend(
        handles=handles,
        loc="outside lower left",
        ncols=min(3, len(handles)),
        frameon=False,
        fontsize=8.5,
    )
    return axes
