"""A progress bar that counts steps and names the one at work, on standard error."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def steps_bar(quiet: bool = False) -> Iterator[Callable[[int, int, str], None] | None]:
    """Yield a function that takes steps done, steps to do and what is at work.

    None with ``quiet`` or where standard error is no terminal.
    """
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Left

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Left())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, whole, what: bar.update(
            task, completed=done, total=whole, description=what
        )
