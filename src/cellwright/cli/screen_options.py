"""Options of a perturbation screen, which every command that reads one has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PANEL = "Screen"

Perturbation = Annotated[
    str | None,
    typer.Option(
        help="Column of obs with A, A+B, control. Default: the first of the usual names.",
        rich_help_panel=PANEL,
    ),
]
Control = Annotated[
    str | None,
    typer.Option(
        help="Name of control cells. Default: the first of the usual.", rich_help_panel=PANEL
    ),
]
Separator = Annotated[
    str, typer.Option(help="Between the genes of a double.", rich_help_panel=PANEL)
]
Aliases = Annotated[
    Path | None,
    typer.Option(
        help="Table of old symbols and new ones, its first two columns.",
        rich_help_panel=PANEL,
    ),
]
Candidates = Annotated[
    Path | None,
    typer.Option(
        help="File of genes that may be the answer, one a line. Default: those perturbed.",
        rich_help_panel=PANEL,
    ),
]
Values = Annotated[
    str | None,
    typer.Option(
        help="What queries are means of: log (of normalized counts) or root (of counts; better where "
        "cells are shallow). Default: log.",
        rich_help_panel=PANEL,
    ),
]
LeaveOut = Annotated[
    list[str] | None,
    typer.Option(
        help="Value of the column whose cells take no part; repeatable.",
        rich_help_panel=PANEL,
    ),
]
Batch = Annotated[
    str | None,
    typer.Option(help="Column within which controls are matched.", rich_help_panel=PANEL),
]
Guide = Annotated[str | None, typer.Option(help="Column of guides.", rich_help_panel=PANEL)]
Context = Annotated[
    str | None,
    typer.Option(
        help="Column of cell types, datasets or treatments: controls are matched within.",
        rich_help_panel=PANEL,
    ),
]
GeneSets = Annotated[
    Path | None,
    typer.Option(
        help="A GMT file: of which pathway the wrongly named genes are.", rich_help_panel="Output"
    ),
]
MinCells = Annotated[
    int,
    typer.Option(help="Leave perturbations with fewer cells out.", min=1, rich_help_panel=PANEL),
]
