"""A file on its way, on the terminal: how much of it is there, how fast, how long still."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def fetching_progress(*, quiet: bool) -> Iterator[Callable[[str, int, int | None], None] | None]:
    """A callback for ``data.datasets.fetch.fetch``; None where standard error is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True, no_color="NO_COLOR" in os.environ),
        transient=True,
    )
    tasks: dict[str, TaskID] = {}

    def show(name: str, done: int, total: int | None) -> None:
        if name not in tasks:
            bar.start()
            tasks[name] = bar.add_task(name, total=total, completed=done)
        bar.update(tasks[name], completed=done, total=total)

    try:
        yield show
    finally:
        bar.stop()
