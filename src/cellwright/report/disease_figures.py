"""A disease test as figures: who tells states apart, and what the controls say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.interfaces import Score
from cellwright.report.canvas import dress, figure_of, legend_beside, new_axes, new_grid, plain
from cellwright.report.methods import as_dicts, metric_name
from cellwright.report.palette import COLOURS, INK, MUTED, NO_LABEL, RULE, styles

DASHES = (0, (4, 2))
CLEAN, LEAKY = COLOURS[0], COLOURS[1]
KINDS = {
    "matched": ("Matched random sets", "alike in mean, detection and dispersion"),
    "coexpressed": ("Matched sets that vary together", "of equal mean correlation as well"),
}


class SetScore(Protocol):
    """A score beside random sets: see ``evaluation.disease_controls.SetControl``."""

    @property
    def rep(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def random_m(self) -> NDArray[np.float64]: ...
    @property
    def p(self) -> float: ...


class Dosed(Protocol):
    """A score at a dose: see ``evaluation.disease_controls.DosePoint``."""

    @property
    def rep(self) -> str: ...
    @property
    def dose(self) -> float: ...
    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


class Leaked(Protocol):
    """One question under two splits: see ``evaluation.disease_controls.LeakRow``."""

    def to_dict(self) -> dict[str, Any]: ...


def state_scores(
    scores: Sequence[Score | Mapping[str, Any]],
    *,
    metric: str = "accuracy",
    asked: Sequence[str] = (),
    title: str = "",
    ax: Axes | None = None,
) -> Axes:
    """One metric by representation (rows, those asked for first) and classifier, with 95 % intervals.

    Raises
    ------
    DataError
        If no score has this metric.
    """
    rows = [row for row in as_dicts(scores) if row["metric"] == metric]
    if not rows:
        raise DataError(f"no score of {metric} to draw")
    models = list(dict.fromkeys(str(row["model"]) for row in rows))
    reps = {str(row["rep"]).removesuffix(f" + {row['model']}"): 0.0 for row in rows}
    for row in rows:
        rep = str(row["rep"]).removesuffix(f" + {row['model']}")
        reps[rep] = max(reps[rep], float(row["value"]))
    order = sorted(reps, key=lambda rep: (rep not in asked, -reps[rep]))
    look = styles(models)
    ax = new_axes(8.4, 0.28 * len(models) * len(order) + 1.9) if ax is None else ax
    for row in rows:
        model = str(row["model"])
        rep = str(row["rep"]).removesuffix(f" + {model}")
        y = order.index(rep) + (models.index(model) - (len(models) - 1) / 2) * 0.26
        style = look[model]
        ax.plot([row["low"], row["high"]], [y, y], color=style.colour, linewidth=1.8)
        ax.plot(row["value"], y, marker=style.marker, color=style.colour, markersize=6)
        ax.annotate(
            f"{row['value']:.3f} [{row['low']:.3f}, {row['high']:.3f}]",
            (1, y),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            fontsize=8,
            color=INK,
            va="center",
            family=["DejaVu Sans Mono", "monospace"],
            annotation_clip=False,
        )
    first = rows[0]
    held = "whole " if first["split"] == "grouped" and first["fold_unit"] != "cells" else ""
    small = f"{held}{first['fold_unit']} held out; bars: 95 % interval over {first['unit']}"
    if set(asked) & set(order):
        small += "; * asked for"
    dress(ax, title or metric_name(metric), metric_name(metric), "", subtitle=small, grid="x")
    _rows(ax, [f"{rep} *" if rep in asked else rep for rep in order])
    handles = [
        Line2D([], [], color=look[m].colour, marker=look[m].marker, markersize=6, label=plain(m))
        for m in models
    ]
    chance = first.get("chance")
    if chance is not None:
        words = f"chance {chance:.3f}"
        if metric == "accuracy":
            words += ": always the largest class"
        handles.append(_line(ax, float(chance), words))
    _under(ax, handles)
    return ax


def random_set_strips(controls: Sequence[SetScore]) -> NDArray[Any]:
    """AUC of the disease's genes (diamond) and of random sets (grey), a panel per kind of set.

    Raises
    ------
    DataError
        If there are no controls.
    """
    if not controls:
        raise DataError("there are no random sets to draw")
    kinds = list(dict.fromkeys(c.kind for c in controls))
    reps = list(dict.fromkeys(c.rep for c in controls))
    width = 2.2 + 4.2 * len(kinds)
    axes = new_grid(1, len(kinds), width, 0.62 * len(reps) + 2.0, sharey=True, sharex=True)[0]
    for ax, kind in zip(axes, kinds, strict=True):
        for c in (c for c in controls if c.kind == kind):
            y = reps.index(c.rep)
            jitter = np.linspace(-0.24, 0.24, len(c.random_m))
            jitter = np.random.default_rng(0).permutation(jitter)
            ax.scatter(c.random_m, y + jitter, s=14, color=NO_LABEL, linewidths=0, zorder=2)
            ax.plot(c.value, y, marker="D", color=COLOURS[1], markersize=8, zorder=3)
            _beside(ax, y, f"{c.value:.3f}  p = {c.p:.3f}")
        ax.axvline(0.5, color=MUTED, linewidth=1.2, linestyle=DASHES, zorder=1)
        n = len(next(c for c in controls if c.kind == kind).random_m)
        title, alike = KINDS.get(kind, (kind, ""))
        small = f"{n} sets {alike}"
        dress(ax, title, "ROC-AUC", "", subtitle=small, grid="x")
        _rows(ax, reps)
    handles = [
        _dot("D", COLOURS[1], "the disease's genes"),
        _dot("o", NO_LABEL, "random sets"),
        Line2D([], [], color=MUTED, linestyle=DASHES, label="chance"),
    ]
    _under(axes[0], handles)
    return axes


def dose_curves(points: Sequence[Dosed], *, ax: Axes | None = None) -> Axes:
    """AUC over dose (0: nothing changed; d: fold to the power of d), with 95 % bands.

    Raises
    ------
    DataError
        If there are no points.
    """
    if not points:
        raise DataError("there are no doses to draw")
    reps = list(dict.fromkeys(p.rep for p in points))
    ax = new_axes(7.4, 4.4) if ax is None else ax
    look, handles = styles(reps), []
    for rep in reps:
        own = sorted((p for p in points if p.rep == rep), key=lambda p: p.dose)
        x, style = [p.dose for p in own], look[rep]
        ax.fill_between(
            x, [p.low for p in own], [p.high for p in own], color=style.colour, alpha=0.13, lw=0
        )
        ax.plot(
            x,
            [p.value for p in own],
            color=style.colour,
            marker=style.marker,
            linestyle=style.line,
            markersize=5.5,
        )
        handles.append(
            Line2D(
                [],
                [],
                color=style.colour,
                marker=style.marker,
                linestyle=style.line,
                label=plain(rep),
            )
        )
    ax.axhline(0.5, color=MUTED, linewidth=1.2, linestyle=DASHES)
    small = "perturbed or normal, logistic regression; dashed: chance"
    dress(ax, "Dose and response", "Dose (fold to the power of it)", "ROC-AUC", subtitle=small)
    legend_beside(ax, handles)
    return ax


def clean_and_leaky(
    rows: Sequence[Leaked | Mapping[str, Any]], *, metric: str = "accuracy", note: str = ""
) -> NDArray[Any]:
    """The same cells and classifiers split by base cell and split at random, a panel per question.

    Raises
    ------
    DataError
        If there is nothing of this metric.
    """
    table = [dict(r) if isinstance(r, Mapping) else r.to_dict() for r in rows]
    table = [row for row in table if row["metric"] == metric]
    if not table:
        raise DataError(f"no {metric} of copies split by base cell and at random to draw")
    questions = list(dict.fromkeys(row["question"] for row in table))
    reps = list(dict.fromkeys(row["rep"] for row in table))
    width = 2.6 + 4.2 * len(questions)
    axes = new_grid(1, len(questions), width, 0.46 * len(reps) + 2.1, sharey=True)[0]
    titles = {"perturbed": "Perturbed or normal", "state": "Which state"}
    for ax, question in zip(axes, questions, strict=True):
        for row in (r for r in table if r["question"] == question):
            y = reps.index(row["rep"])
            for off, which, colour, marker in (
                (-0.13, "clean", CLEAN, "o"),
                (0.13, "leaky", LEAKY, "D"),
            ):
                ends = row[f"{which}_low"], row[f"{which}_high"]
                ax.plot(ends, [y + off] * 2, color=colour, linewidth=1.8)
                ax.plot(row[which], y + off, marker=marker, color=colour, markersize=6)
            _beside(ax, y, f"{row['clean']:.3f} → {row['leaky']:.3f}")
        chance = next(r["chance"] for r in table if r["question"] == question)
        if chance is not None:
            ax.axvline(chance, color=MUTED, linewidth=1.2, linestyle=DASHES, zorder=1)
        # The note is of the whole figure, and twice it would run into itself.
        subtitle = None if ax is not axes[0] else note or None
        dress(ax, titles[question], metric_name(metric), "", subtitle=subtitle, grid="x")
        ax.xaxis.set_major_locator(MaxNLocator(5))
        _rows(ax, reps)
    handles = [
        Line2D([], [], color=CLEAN, marker="o", label="clean: all copies of a cell on one side"),
        Line2D([], [], color=LEAKY, marker="D", label="leaky: copies on both sides"),
        Line2D([], [], color=MUTED, linestyle=DASHES, label="chance"),
    ]
    _under(axes[0], handles)
    return axes


def real_and_simulated(rows: Sequence[Mapping[str, Any]], *, ax: Axes | None = None) -> Axes:
    """AUC of the simulated and of the real shift, one row per representation and classifier.

    Raises
    ------
    DataError
        If there are no rows.
    """
    if not rows:
        raise DataError("there is no shift to draw")
    reps = list(dict.fromkeys(str(row["rep"]) for row in rows))
    ax = new_axes(8.0, 0.4 * len(reps) + 1.9) if ax is None else ax
    look = {"simulated": (-0.14, COLOURS[0], "o"), "real": (0.14, COLOURS[1], "s")}
    for row in rows:
        off, colour, marker = look[str(row["shift"])]
        y = reps.index(str(row["rep"])) + off
        ax.plot([row["low"], row["high"]], [y, y], color=colour, linewidth=1.8)
        ax.plot(row["value"], y, marker=marker, color=colour, markersize=6)
        _beside(ax, y, f"{row['value']:.3f}", small=True)
    small = "perturbed or normal, the same pipeline for both; bars: 95 % intervals"
    dress(ax, "Simulated and real shift", "ROC-AUC", "", subtitle=small, grid="x")
    _rows(ax, reps)
    handles = [
        Line2D([], [], color=colour, marker=marker, label=f"{which} shift")
        for which, (_, colour, marker) in look.items()
    ]
    handles.append(_line(ax, 0.5, "chance"))
    _under(ax, handles)
    return ax


def _rows(ax: Axes, names: Sequence[str]) -> None:
    ax.set_yticks(range(len(names)), [plain(name, 40) for name in names])
    ax.tick_params(axis="y", length=0)
    ax.set_ylim(len(names) - 0.45, -0.55)
    for y in range(1, len(names)):
        ax.axhline(y - 0.5, color=RULE, linewidth=0.6, zorder=0)


def _beside(ax: Axes, y: float, words: str, *, small: bool = False) -> None:
    ax.annotate(
        words,
        (1, y),
        xycoords=("axes fraction", "data"),
        xytext=(5, 0),
        textcoords="offset points",
        fontsize=7 if small else 8,
        color=INK,
        va="center",
        annotation_clip=False,
    )


def _line(ax: Axes, x: float, words: str) -> Line2D:
    ax.axvline(x, color=MUTED, linewidth=1.2, linestyle=DASHES, zorder=1)
    return Line2D([], [], color=MUTED, linewidth=1.2, linestyle=DASHES, label=words)


def _dot(marker: str, colour: str, words: str) -> Line2D:
    return Line2D([], [], linestyle="none", marker=marker, color=colour, label=words)


def _under(ax: Axes, handles: Sequence[Line2D]) -> None:
    figure_of(ax).legend(
        handles=list(handles),
        loc="outside lower left",
        ncols=min(len(handles), 4),
        frameon=False,
        fontsize=8.5,
        columnspacing=1.4,
    )
