"""Learning curves of fine-tuning: every fold thin, the final run heavy, the epoch taken marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.report.canvas import dress, legend_beside, new_grid
from cellwright.report.palette import COLOURS, LINES, MUTED

_PANELS = (
    ("val_loss", "Loss", "Loss (nats, class-weighted)"),
    ("val_balanced_accuracy", "Balanced accuracy on validation cells", "Balanced accuracy"),
)


def finetune_curves(
    histories: Sequence[Sequence[Mapping[str, float]]], best_epochs: Sequence[int]
) -> NDArray[Any]:
    """Loss and balanced accuracy over epochs, as an array of two Axes.

    Parameters
    ----------
    histories
        Rows with ``epoch``, ``val_loss``, ``val_balanced_accuracy`` and, from epoch 1 on,
        ``train_loss``; of each fold, the final run last. Epoch 0 is the starting head on the
        untouched encoder.
    best_epochs
        The epoch taken of each.

    Raises
    ------
    DataError
        If there is no history.
    """
    if not histories:
        raise DataError("no history of fine-tuning to draw")
    axes = new_grid(1, 2, 10.6, 3.8)[0]
    for ax, (column, title, words) in zip(axes, _PANELS, strict=True):
        for number, (history, best) in enumerate(zip(histories, best_epochs, strict=True)):
            final = number == len(histories) - 1
            epochs = [row["epoch"] for row in history]
            values = [row[column] for row in history]
            look: dict[str, Any] = {"color": COLOURS[0], "linewidth": 2.4, "zorder": 3}
            if not final:
                look = {"color": MUTED, "linewidth": 0.9, "zorder": 2}
            ax.plot(epochs, values, **look)
            at = epochs.index(best) if best in epochs else len(epochs) - 1
            ax.plot(
                [epochs[at]],
                [values[at]],
                linestyle="none",
                marker="o",
                markersize=8 if final else 4,
                color=look["color"],
                markerfacecolor="white",
                zorder=4,
            )
            if final and column == "val_loss":
                rows = [row for row in history if np.isfinite(row.get("train_loss", np.nan))]
                ax.plot(
                    [row["epoch"] for row in rows],
                    [row["train_loss"] for row in rows],
                    color=COLOURS[4],
                    linestyle=LINES[1],
                    linewidth=1.6,
                )
        dress(ax, title, "Epoch (0: linear head on the untouched encoder)", words)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend_beside(
        axes[1],
        [
            Line2D([], [], color=COLOURS[0], linewidth=2.4, label="final run, validation"),
            Line2D([], [], color=COLOURS[4], linestyle=LINES[1], label="final run, training"),
            Line2D([], [], color=MUTED, linewidth=0.9, label="each fold, validation"),
            Line2D(
                [],
                [],
                linestyle="none",
                marker="o",
                color=COLOURS[0],
                markerfacecolor="white",
                label="the epoch taken",
            ),
        ],
    )
    return axes
