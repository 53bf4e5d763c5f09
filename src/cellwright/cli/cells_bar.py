"""A progress bar that counts cells, on standard error."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

_PATIENCE = 2.0


@contextlib.contextmanager
def cells_bar(what: str, quiet: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that takes cells done and cells to do; going back starts the bar anew.

    The bar appears after two seconds; never with ``quiet`` or where standard error is no terminal.
    """
    if quiet or not sys.stderr.isatty():
        yield lambda _done, _whole: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn(what),
        BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,} cells, {task.fields[rate]} cells/s"),
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task("", total=1, rate="…")
    started = since = time.monotonic()

    def tell(done: int, whole: int) -> None:
        nonlocal since
        now = time.monotonic()
        if done < bar.tasks[0].completed:
            since = now
            bar.reset(task, total=whole)
        rate = f"{done / max(now - since, 1e-6):,.0f}"
        bar.update(task, completed=done, total=whole, rate=rate)
        if now - started > _PATIENCE:
            bar.start()

    try:
        yield tell
    finally:
        bar.stop()
