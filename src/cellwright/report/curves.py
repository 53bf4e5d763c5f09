"""Training curves: loss, perplexity beside its references, masked accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.report.canvas import dress, legend_beside, new_axes, new_grid
from cellwright.report.palette import COLOURS, INK, LINES, MUTED

_STEPS = {"major": (1.0,), "minor": (2.0, 5.0)}
MODEL, OTHER, BEST = COLOURS[0], COLOURS[4], COLOURS[1]

REFERENCE_NAMES = {
    "uniform": "uniform over the bins in use",
    "unigram": "each gene's bin frequencies",
    "unigram_masked": "bin frequencies under the mask rule",
    "unigram_depth": "bin frequencies knowing the cell's depth",
    "nearest_cells": "nearest training cells",
    "token": "token frequencies",
    "token_decile": "frequencies at that tenth of the ranking",
    "token_free": "token frequencies of genes not shown",
    "token_decile_free": "frequencies at that tenth, genes not shown",
}
"""The references that need no network, in words."""


def loss_curve(history: pd.DataFrame, *, title: str = "Loss", ax: Axes | None = None) -> Axes:
    """Training and validation loss (nats per masked gene) over epochs; lower is better.

    Parameters
    ----------
    history
        ``history.csv`` of a run: columns ``epoch``, ``train_loss``, ``val_loss`` (either loss may
        be missing or NaN).
    ax
        Axes to draw into; None makes a new figure (``.figure`` of the result).

    Raises
    ------
    DataError
        If ``epoch`` or both losses are missing.
    """
    ax = new_axes() if ax is None else ax
    handles = [
        *_line(ax, history, "train_loss", "training", OTHER, LINES[1], "s"),
        *_line(ax, history, "val_loss", "validation", MODEL, "-", "o"),
    ]
    _needed(handles, history, ("train_loss", "val_loss"))
    handles += _lowest(ax, history)
    _finish(ax, title, "Loss (nats per masked gene)")
    legend_beside(ax, handles)
    return ax


def perplexity_curve(
    history: pd.DataFrame,
    *,
    best: str | None = None,
    rule: str | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Validation perplexity over epochs beside the references that need no network; lower is better.

    The best reference is a heavy dashed line named in the legend, the others are thin.

    Parameters
    ----------
    history
        Columns ``epoch``, ``perplexity`` and any ``ref_<name>``.
    best
        Name of the best reference (``unigram_depth``); None takes the lowest at the last epoch.
    title
        Default ``Perplexity of masked bins``, or genes where ranks were learned.
    rule
        Bin and mask rule in words, printed under the title: a perplexity means nothing without it.

    Raises
    ------
    DataError
        If ``epoch`` or ``perplexity`` is missing.
    """
    ax = new_axes(8.4, 4.2) if ax is None else ax
    handles = _line(ax, history, "perplexity", "model, validation", MODEL, "-", "o")
    _needed(handles, history, ("perplexity",))
    references = _references(history)
    if best is None and references:
        best = min(references, key=lambda name: references[name])
    of = learned(history)
    if of == "genes":  # guesses lie a factor of ten apart, and a short run above them all
        top = np.inf
        _logarithmic(ax)
    else:
        top = _top(history["perplexity"].to_numpy(dtype=np.float64), references)
    thin = iter([LINES[2], LINES[3], LINES[4], LINES[1], LINES[2]])
    for name in sorted(references, key=lambda name: (name != best, references[name])):
        words = REFERENCE_NAMES.get(name, name.replace("_", " "))
        words = words.replace("bins in use", "genes") if of == "genes" else words
        value = references[name]
        if name == best:
            how: dict[str, Any] = {"color": BEST, "linestyle": LINES[1], "linewidth": 2.2}
            words = f"best without a network, {value:.2f}:\n{words}"
        else:
            how = {"color": MUTED, "linestyle": next(thin, "-"), "linewidth": 0.9}
            words = f"{words}, {value:.2f}"
        if value > top:
            words += " (above the axis)"
        else:
            ax.plot(history["epoch"], history[f"ref_{name}"], **how)
        handles.append(Line2D([], [], label=words, **how))
    if np.isfinite(top):
        ax.set_ylim(top=top)
    title = f"Perplexity of masked {of}" if title is None else title
    _finish(ax, title, f"Perplexity ({of})", subtitle=rule)
    legend_beside(ax, handles)
    return ax


def masked_accuracy_curve(
    history: pd.DataFrame, *, title: str | None = None, ax: Axes | None = None
) -> Axes:
    """Share of masked genes told right over epochs, with the line of the best simple guess.

    ``history`` has ``epoch``, ``masked_accuracy`` and ``ref_majority_accuracy``. Higher is better.

    Raises
    ------
    DataError
        If ``epoch`` or ``masked_accuracy`` is missing.
    """
    ax = new_axes() if ax is None else ax
    handles = _line(ax, history, "masked_accuracy", "model, validation", MODEL, "-", "o")
    _needed(handles, history, ("masked_accuracy",))
    ranks = learned(history) == "genes"
    simple = "likeliest gene not shown" if ranks else "each gene's commonest bin"
    majority = _line(ax, history, "ref_majority_accuracy", simple, BEST, LINES[1], None)
    for line in majority:
        line.set_linewidth(2.2)
    if ranks:
        handles += _line(ax, history, "hidden_accuracy", "where <mask> is shown", OTHER, "-", "s")
    title = f"Masked {learned(history)} named right" if title is None else title
    _finish(ax, title, "Share of masked genes")
    ax.yaxis.set_major_formatter(FuncFormatter(_percent))
    legend_beside(ax, handles + majority)
    return ax


def zero_nonzero_curve(
    history: pd.DataFrame, *, title: str = "Zero and nonzero apart", ax: Axes | None = None
) -> Axes:
    """Masked accuracy of genes that were zero and of genes that were not, over epochs.

    ``history`` has ``epoch``, ``zero_accuracy`` and ``nonzero_accuracy``. Higher is better.

    Raises
    ------
    DataError
        If ``epoch`` or both accuracies are missing.
    """
    ax = new_axes() if ax is None else ax
    handles = [
        *_line(ax, history, "zero_accuracy", "gene was zero", OTHER, LINES[1], "s"),
        *_line(ax, history, "nonzero_accuracy", "gene was not zero", MODEL, "-", "o"),
    ]
    _needed(handles, history, ("zero_accuracy", "nonzero_accuracy"))
    _finish(ax, title, "Share of masked genes")
    ax.yaxis.set_major_formatter(FuncFormatter(_percent))
    legend_beside(ax, handles)
    return ax


def places_curve(
    history: pd.DataFrame, *, title: str = "By what the model knows", ax: Axes | None = None
) -> Axes:
    """Validation perplexity of masked ranks: over all places, over those that show ``<mask>``, and
    with the genes ruled out that the cell shows elsewhere; beside the best reference.

    ``history`` has ``epoch``, ``perplexity``, ``hidden_perplexity`` and ``free_perplexity``. Lower
    is better.

    Raises
    ------
    DataError
        If ``epoch`` or all three are missing.
    """
    ax = new_axes() if ax is None else ax
    handles = [
        *_line(ax, history, "hidden_perplexity", "places that show <mask>", OTHER, LINES[1], "s"),
        *_line(ax, history, "perplexity", "all places", MODEL, "-", "o"),
        *_line(ax, history, "free_perplexity", "genes shown ruled out", MODEL, LINES[2], "^"),
    ]
    _needed(handles, history, ("hidden_perplexity", "free_perplexity"))
    references = _references(history)
    if references:
        best = min(references, key=lambda name: references[name])
        line = _line(ax, history, f"ref_{best}", "best without a network", BEST, LINES[1], None)
        handles += line
    _logarithmic(ax)
    _finish(ax, title, "Perplexity (genes)")
    legend_beside(ax, handles)
    return ax


def learned(history: pd.DataFrame) -> str:
    """What the run of a history predicts: ``bins`` or, from ranks, ``genes``."""
    return "genes" if "hidden_perplexity" in history else "bins"


def training_curves(
    history: pd.DataFrame, *, best: str | None = None, rule: str | None = None
) -> NDArray[Any]:
    """The four pictures above in one figure, as an array of Axes of shape (2, 2).

    A picture whose columns are missing stays empty and says so.

    Raises
    ------
    DataError
        If ``history`` has no column ``epoch`` or no rows.
    """
    if "epoch" not in history or not len(history):
        raise DataError(_lacking(history, ("epoch",)))
    grid = new_grid(2, 2, 13.6, 7.2, width_ratios=(1, 1.2))
    last = places_curve if learned(history) == "genes" else zero_nonzero_curve
    draw = (loss_curve, perplexity_curve, masked_accuracy_curve, last)
    for ax, function in zip(grid.flat, draw, strict=True):
        how: Any = {"best": best, "rule": rule} if function is perplexity_curve else {}
        try:
            function(history, ax=ax, **how)
        except DataError:
            ax.set_axis_off()
            ax.text(0.5, 0.5, "not recorded", ha="center", va="center", color=MUTED, fontsize=9.5)
    return grid


def _line(
    ax: Axes,
    history: pd.DataFrame,
    column: str,
    name: str,
    colour: str,
    line: Any,
    marker: str | None,
) -> list[Line2D]:
    """The line of one column, or nothing where it holds no number."""
    if column not in history or "epoch" not in history:
        return []
    values = pd.to_numeric(history[column], errors="coerce").to_numpy(dtype=np.float64)
    if not np.isfinite(values).any():
        return []
    few = len(values) <= 40
    return ax.plot(
        history["epoch"],
        values,
        color=colour,
        linestyle=line,
        linewidth=1.8,
        marker=marker if few else None,
        markersize=3.6,
        markevery=max(1, len(values) // 20),
        label=name,
    )


def _lowest(ax: Axes, history: pd.DataFrame) -> list[Line2D]:
    """A mark at the epoch of the lowest validation loss: the weights that are kept."""
    if "val_loss" not in history or not np.isfinite(history["val_loss"]).any():
        return []
    epoch, loss = history[["epoch", "val_loss"]].iloc[int(history["val_loss"].argmin())]
    return ax.plot(
        [epoch],
        [loss],
        marker="*",
        markersize=11,
        color=INK,
        linestyle="none",
        label=f"lowest validation: epoch {epoch:.0f}",
    )


def _references(history: pd.DataFrame) -> dict[str, float]:
    """Perplexity of each reference at its last recorded epoch."""
    found = {}
    for column in history.columns:
        name = str(column).removeprefix("ref_")
        if not str(column).startswith("ref_") or name.endswith("accuracy"):
            continue
        values = pd.to_numeric(history[column], errors="coerce").dropna()
        if len(values):
            found[name] = float(values.iloc[-1])
    return found


def _top(model: NDArray[np.float64], references: dict[str, float]) -> float:
    """Upper end of the perplexity axis: a weak reference or a wild first epoch must not flatten the rest."""
    model = model[np.isfinite(model)]
    near = sorted(references.values())
    if not near:
        return float(model.max()) * 1.04
    shown = max([v for v in near if v <= 1.4 * near[0]])
    return max(shown, min(float(model.max()), 1.45 * shown)) * 1.04


def _logarithmic(ax: Axes) -> None:
    ax.set_yscale("log")
    for place in ("major", "minor"):
        getattr(ax.yaxis, f"set_{place}_locator")(LogLocator(subs=_STEPS[place]))
        getattr(ax.yaxis, f"set_{place}_formatter")(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    # Numbers between the decades are as large as those at them.
    ax.tick_params(axis="y", which="minor", labelsize=9, colors=MUTED, labelcolor=INK)


def _percent(value: float, _: int) -> str:
    return f"{round(100 * value, 4):g} %"


def _finish(ax: Axes, title: str, y: str, subtitle: str | None = None) -> None:
    dress(ax, title, "Epoch", y, subtitle=subtitle)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _needed(drawn: list[Line2D], history: pd.DataFrame, columns: tuple[str, ...]) -> None:
    if not drawn:
        raise DataError(_lacking(history, columns))


def _lacking(history: pd.DataFrame, columns: tuple[str, ...]) -> str:
    has = ", ".join(map(str, history.columns)) or "no columns"
    return (
        f"no curve to draw: a history with {len(history)} rows and the columns {has} "
        f"holds no numbers under {' or '.join(columns)}"
    )
