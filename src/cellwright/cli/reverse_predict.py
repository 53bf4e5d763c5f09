"""``cellwright reverse predict``: the genes that may be behind the state of one's own cells."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console

_CELLS, _GENES = "Cells", "Genes"


def predict(
    run: Annotated[Path, typer.Argument(help="A run of cellwright reverse train.", metavar="RUN")],
    file: Annotated[Path, typer.Argument(help="The .h5ad with raw counts.", metavar="FILE")],
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Folder to write.", rich_help_panel="Output"),
    ] = None,
    case: Annotated[
        list[str] | None,
        typer.Option(
            help="State to explain; repeatable. Default: every state but the control.",
            rich_help_panel=_CELLS,
        ),
    ] = None,
    control: Annotated[
        str | None,
        typer.Option(
            help="State that shifts are measured from. Default: the first of the usual names.",
            rich_help_panel=_CELLS,
        ),
    ] = None,
    state_column: Annotated[
        str | None,
        typer.Option(
            help="Column of obs with the states. Default: the first of the usual names.",
            rich_help_panel=_CELLS,
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            help="Column within which controls are matched, such as the donor.",
            rich_help_panel=_CELLS,
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            help="Table of genes (first column) whose other columns are carried along.",
            rich_help_panel=_GENES,
        ),
    ] = None,
    annotate: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this column of the table, or a column of var; repeatable.",
            rich_help_panel=_GENES,
        ),
    ] = None,
    top: Annotated[
        int,
        typer.Option(help="Genes shown, with evidence.", min=1, rich_help_panel=_GENES),
    ] = 20,
    layer: console.Layer = None,
    assume_counts: console.AssumeCounts = False,
    seed: console.Seed = 0,
    force: console.ReplaceFolder = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Rank the genes whose perturbation may be behind a state, with evidence and a warning flag.

    Example: cellwright reverse predict runs/reverse mine.h5ad --case disease --control normal
    """
    console.start(verbose, quiet)
    from cellwright.workflows.reverse_predict import reverse_predict

    result = reverse_predict(
        run,
        file,
        case=case or (),
        control=control,
        state_column=state_column,
        batch=batch,
        annotations=annotations,
        annotate=annotate or (),
        top=top,
        layer=layer,
        assume_counts=assume_counts,
        seed=seed,
        out=out,
        force=force,
    )
    console.emit(result.to_dict(), as_json, result.text())
