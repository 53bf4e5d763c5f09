"""``cellwright reverse forward``: the shift that a perturbation is predicted to bring about."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console, screen_options

_DESIGN = "Design"


def forward(
    file: Annotated[Path, typer.Argument(help="The .h5ad of a screen.", metavar="FILE")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder to write.", rich_help_panel="Output")
    ],
    split: Annotated[
        str,
        typer.Option(
            help="ahlmann-eltze-2025, mambaperturb-2025, leave-one-double-out, unseen-singles, "
            "guides-held-out, contexts-held-out, or a split file (.json).",
            rich_help_panel=_DESIGN,
        ),
    ] = "ahlmann-eltze-2025",
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Repeatable: no-change, mean, additive, linear, effects. Default: all.",
            rich_help_panel=_DESIGN,
        ),
    ] = None,
    partitions: Annotated[
        int | None,
        typer.Option(
            help="Times a random split is drawn. Default: 5 (mambaperturb-2025: 1, guides: 2).",
            min=1,
            rich_help_panel=_DESIGN,
        ),
    ] = None,
    top: Annotated[
        int,
        typer.Option(
            help="Genes compared: so many, most expressed in controls.", rich_help_panel=_DESIGN
        ),
    ] = 1000,
    perturbation: screen_options.Perturbation = None,
    control: screen_options.Control = None,
    separator: screen_options.Separator = "+",
    aliases: screen_options.Aliases = None,
    leave_out: screen_options.LeaveOut = None,
    batch: screen_options.Batch = None,
    guide: screen_options.Guide = None,
    context: screen_options.Context = None,
    min_cells: screen_options.MinCells = 2,
    layer: console.Layer = None,
    assume_counts: console.AssumeCounts = False,
    seed: console.Seed = 0,
    force: console.ReplaceFolder = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Predict the shift of expression of unseen perturbations by the simple models of the field.

    Example: cellwright reverse forward norman.h5ad --split leave-one-double-out -o forward
    """
    console.start(verbose, quiet)
    from cellwright.workflows.reverse_forward import reverse_forward

    result = reverse_forward(
        file,
        split=split,
        methods=method,
        top=top,
        perturbation=perturbation,
        control=control,
        separator=separator,
        aliases=aliases,
        leave_out=leave_out or (),
        batch=batch,
        guide=guide,
        context=context,
        min_cells=min_cells,
        partitions=partitions,
        layer=layer,
        assume_counts=assume_counts,
        seed=seed,
        out=out,
        force=force,
    )
    console.emit(result.to_dict(), as_json, result.text())
