"""Training on the terminal: a bar with cells per second and time left, a line per epoch in logs."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

log = logging.getLogger("cellwright.training")


class Shown:
    """Callbacks for ``pretrain``; without a terminal an epoch is a line in the log."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._task: Any = None
        self._last = ""
        self._started = time.monotonic()

    def step(self, progress: Any, steps: int) -> None:
        if self._bar is None:
            return
        if self._task is None:
            self._task = self._bar.add_task("", total=steps, said="", completed=progress.step - 1)
        rate = progress.cells / progress.seconds if progress.seconds else 0.0
        said = f"epoch {progress.epoch + 1} · {rate:,.0f} cells/s{self._last}"
        self._bar.update(self._task, completed=progress.step, said=said)

    def epoch(self, row: dict[str, float]) -> None:
        best = min(v for k, v in row.items() if k.startswith("ref_") and "accuracy" not in k)
        self._last = f" · perplexity {row['perplexity']:.2f} (without a network {best:.2f})"
        if self._bar is None:
            log.info(
                "epoch %d: loss %.4f, validation %.4f%s, %.0f cells/s",
                int(row["epoch"]),
                row["train_loss"],
                row["val_loss"],
                self._last,
                row["cells_per_second"],
            )


@contextlib.contextmanager
def training_progress(*, quiet: bool) -> Iterator[Shown]:
    """A progress bar on standard error where that is a terminal; lines elsewhere."""
    if quiet or not sys.stderr.isatty():
        yield Shown(None)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, no_color="NO_COLOR" in os.environ)
    columns = (BarColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        yield Shown(bar)
