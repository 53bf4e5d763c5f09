"""What --help prints is what stands in the code."""

from __future__ import annotations

from collections.abc import Iterator

import click
import typer
from rich.text import Text

from cellwright.cli.main import app


def options(command: click.Command, path: str = "cellwright") -> Iterator[tuple[str, str]]:
    for parameter in command.params:
        yield f"{path} {parameter.name}", getattr(parameter, "help", None) or ""
    for name, inner in getattr(command, "commands", {}).items():
        yield from options(inner, f"{path} {name}")


def test_no_help_is_taken_for_markup_and_swallowed():
    found = dict(options(typer.main.get_command(app)))
    assert len(found) > 300
    assert [name for name, text in found.items() if Text.from_markup(text).plain != text] == []
