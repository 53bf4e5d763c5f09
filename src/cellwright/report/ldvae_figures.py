"""What a linear VAE learned: curves of its ELBO, and the genes at the ends of its axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.report.canvas import dress, legend_beside, new_grid, plain
from cellwright.report.palette import COLOURS, INK, LINES, MUTED

VAL, TRAIN, SHARE = COLOURS[0], COLOURS[4], MUTED
_PANELS = (
    ("train_elbo_loss", "val_loss", "Negative ELBO, KL in full"),
    ("train_reconstruction", "val_reconstruction", "Reconstruction"),
    ("train_kl_latent", "val_kl_latent", "KL of the latent"),
    ("train_kl_library", "val_kl_library", "KL of the library size"),
)


def elbo_curves(history: pd.DataFrame, *, best_epoch: int | None = None) -> NDArray[Any]:
    """Negative ELBO, reconstruction and KL of training and validation cells over epochs (nats per cell).

    Training values are means over the epoch's batches with dropout, validation's are after it
    without; the ground is shaded while the weight of the KL grows. Lower is better but for the KL,
    which says how much the latent holds. The panel of the library's KL is left out where it is 0.

    Raises
    ------
    DataError
        If the history is not one of a linear VAE.
    """
    missing = [c for panel in _PANELS for c in panel[:2] if c not in history.columns]
    if missing:
        raise DataError(f"the history has no column {missing[0]!r}: it is not one of a linear VAE")
    shown = [p for p in _PANELS if p[1] != "val_kl_library" or (history[p[1]] > 0).any()]
    columns = 2 if len(shown) == 4 else 3
    rows = len(shown) // columns
    axes = new_grid(rows, columns, 4.0 * columns + 1.6, 3.5 * rows)
    warm = history.loc[history["kl_weight"] < 1, "epoch"]
    for at, (ax, (train, val, title)) in enumerate(zip(axes.flat, shown, strict=True)):
        x = history["epoch"].to_numpy()
        mark = "o" if len(x) <= 30 else None
        ax.plot(x, history[train], color=TRAIN, linestyle=LINES[1], lw=1.6, marker=mark, ms=3)
        ax.plot(x, history[val], color=VAL, lw=1.6, marker=mark, ms=3)
        if len(warm):
            ax.axvspan(0.5, float(warm.max()) + 0.5, color="#eef0f3", zorder=0)
        if best_epoch is not None:
            ax.axvline(best_epoch, color=INK, lw=0.9, linestyle=LINES[2])
        dress(ax, title, "Epoch", "nats per cell" if at % columns == 0 else "")
        _trim(ax, history, (train, val))
        ax.xaxis.get_major_locator().set_params(integer=True)
    handles = [
        Line2D([], [], color=TRAIN, linestyle=LINES[1], lw=1.6, label="training"),
        Line2D([], [], color=VAL, lw=1.6, label="validation"),
    ]
    if len(warm):
        handles.append(Line2D([], [], color="#d9dde3", lw=7, label="KL weight\nstill grows"))
    if best_epoch is not None:
        label = f"epoch {best_epoch}, kept"
        handles.append(Line2D([], [], color=INK, lw=0.9, linestyle=LINES[2], label=label))
    legend_beside(axes[0, -1], handles)
    return axes


def loadings_figure(
    top: pd.DataFrame, *, most_axes: int = 12, genes: int = 8, strength: pd.Series | None = None
) -> NDArray[Any]:
    """The genes at both ends of the axes, as bars of their loadings; strongest axes first.

    Parameters
    ----------
    top
        Columns axis, end (``+`` or ``-``), rank, gene_symbol, loading.
    most_axes
        Axes drawn; the others stand in the table.
    strength
        Per axis, how much cells differ along it (standard deviation of the latent), which orders
        the axes and is printed; default the order of the table.
    """
    names = list(dict.fromkeys(top["axis"]))
    if strength is not None:
        names = sorted(names, key=lambda name: -float(strength[name]))
    total, names = len(names), names[:most_axes]
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    axes = new_grid(rows, columns, 2.9 * columns, 0.19 * 2 * genes * rows + 1.0 * rows)
    for ax in axes.flat[len(names) :]:
        ax.set_visible(False)
    for ax, name in zip(axes.flat, names, strict=False):
        part = top[(top["axis"] == name) & (top["rank"] <= genes)]
        part = part.sort_values("loading")
        y = np.arange(len(part))
        values = part["loading"].to_numpy()
        ax.barh(y, values, color=[COLOURS[0] if v > 0 else COLOURS[1] for v in values], height=0.75)
        ax.set_yticks(y, [plain(g, 16) for g in part["gene_symbol"]])
        ax.axvline(0, color=INK, lw=0.7)
        spread = "" if strength is None else f"spread over cells {float(strength[name]):.2f}"
        dress(ax, name, "Loading", "", subtitle=spread or None, grid="x")
        ax.tick_params(axis="y", labelsize=8)
        ax.set_ylim(-0.6, len(part) - 0.4)
    if total > len(names):
        axes[0, 0].figure.supxlabel(
            f"{len(names)} of {total} axes, those along which cells differ most",
            fontsize=8.5,
            color=MUTED,
        )
    return axes


def _trim(ax: Axes, history: pd.DataFrame, columns: tuple[str, str]) -> None:
    """Let the first epochs run out of the frame where they would press the rest into a line."""
    values = history[list(columns)].to_numpy(dtype=float)
    if len(values) < 20:
        return
    later = values[len(values) // 4 :]
    low, high = float(np.nanmin(values)), float(np.nanmax(later))
    if np.nanmax(values) > high + 1.5 * (high - low):
        room = 0.06 * (high - low or 1.0)
        ax.set_ylim(low - room, high + 0.5 * (high - low) + room)
