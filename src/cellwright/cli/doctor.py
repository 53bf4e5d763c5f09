"""``cellwright doctor``: does this machine have what is needed?"""

from __future__ import annotations

from typing import Annotated

import typer

from cellwright.cli import console


def doctor(
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Exit with 3 if something cannot work.", rich_help_panel="Output"
        ),
    ] = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Say what this machine offers and what to do about what is missing.

    Versions, cores and threads, memory, GPU and whether PyTorch can use it, bf16, disk, extras.

    Example: cellwright doctor
    """
    from cellwright.errors import CheckFailed
    from cellwright.workflows.doctor import examine

    console.start(verbose, quiet)
    found = examine()
    console.emit(found.to_dict(), as_json, found.text())
    failed = [check.sentence for check in found.checks if check.severity == "failure"]
    if strict and failed:
        raise CheckFailed(" ".join(failed))
