"""A new file on the terminal: how much is written, how fast, shown once it takes over two seconds."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

_PATIENCE = 2.0


@contextlib.contextmanager
def writing_progress(*, quiet: bool, whole: bool) -> Iterator[Callable[[int, int], None] | None]:
    """A callback for ``data.disk.rewrite.rewrite``; None where standard error is no terminal.

    Parameters
    ----------
    whole
        Everything stored in the source is written, so that the time left can be told.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True, no_color="NO_COLOR" in os.environ)
    said = TextColumn("writing {task.fields[said]}")
    columns: tuple[Any, ...] = (said, BarColumn(), TimeRemainingColumn()) if whole else (said,)
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task("", total=None, said="")
    started = time.monotonic()

    def show(done: int, stored: int) -> None:
        seconds = time.monotonic() - started
        if seconds < _PATIENCE:
            return
        bar.start()
        rate = done / seconds / 1e6
        words = f"{done / 1e6:,.0f} million entries · {rate:,.1f} million/s"
        bar.update(task, completed=done, total=stored if whole else None, said=words)

    try:
        yield show
    finally:
        bar.stop()
