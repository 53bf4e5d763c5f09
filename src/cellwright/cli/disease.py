"""``cellwright disease``: a disease simulated in normal cells."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console
from cellwright.cli.prepare_options import Force, Out

app = typer.Typer(
    help="Simulate a disease in normal cells.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_GENES, _DESIGN = "Genes", "Design"


@app.callback()
def _root() -> None:
    """Simulate a disease in normal cells."""


@app.command("simulate")
def simulate(
    file: Annotated[Path, typer.Argument(help="The .h5ad of normal cells.", metavar="FILE")],
    out: Out,
    up: Annotated[
        str | None,
        typer.Option(
            help="Genes that go up: a file, FILE.gmt:SET, or names with commas.",
            rich_help_panel=_GENES,
        ),
    ] = None,
    down: Annotated[
        str | None,
        typer.Option(help="Genes that go down, named likewise.", rich_help_panel=_GENES),
    ] = None,
    fold_up: Annotated[
        float, typer.Option(help="How many times as much at dose 1.", rich_help_panel=_GENES)
    ] = 2.0,
    fold_down: Annotated[
        float, typer.Option(help="What is left at dose 1.", rich_help_panel=_GENES)
    ] = 0.5,
    up_name: Annotated[str, typer.Option(help="Name of the state.", rich_help_panel=_GENES)] = "up",
    down_name: Annotated[
        str, typer.Option(help="Name of the state.", rich_help_panel=_GENES)
    ] = "down",
    dose: Annotated[
        str,
        typer.Option(
            help="Doses, with commas; genes change by fold to the power of the dose.",
            rich_help_panel=_DESIGN,
        ),
    ] = "1",
    type_column: Annotated[
        str | None,
        typer.Option(
            help="Column of cell types, within which a gene's law of counts is learned.",
            rich_help_panel=_DESIGN,
        ),
    ] = None,
    cell_type: Annotated[
        list[str] | None,
        typer.Option(
            help="A type that shows the disease; repeat for more. [default: all]",
            rich_help_panel=_DESIGN,
        ),
    ] = None,
    penetrance: Annotated[
        float, typer.Option(help="Share of diseased cells that show it.", rich_help_panel=_DESIGN)
    ] = 1.0,
    keep_depth: Annotated[
        bool,
        typer.Option(
            "--keep-depth",
            help="Thin cells so that library sizes tell nothing about the state.",
            rich_help_panel=_DESIGN,
        ),
    ] = False,
    paired: Annotated[
        bool,
        typer.Option(
            "--paired",
            help="Every cell in every state, to show what a split of copies does. "
            "[default: each cell in one state]",
            rich_help_panel=_DESIGN,
        ),
    ] = False,
    seed: console.Seed = 0,
    layer: console.Layer = None,
    assume_counts: console.AssumeCounts = False,
    force: Force = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Push gene programs up or down in some of the cells, as a disease would.

    Counts stay counts with the right law; obs gets state, base_cell, dose and shows_disease.

    Example: cellwright disease simulate cortex.h5ad --up hd.txt --down als.txt -o cohort.h5ad
    """
    from cellwright.errors import SettingsError
    from cellwright.workflows.disease_simulation import simulate_disease_file

    console.start(verbose, quiet)
    try:
        doses = [float(part) for part in dose.split(",") if part.strip()]
    except ValueError:
        raise SettingsError(
            f"--dose {dose!r} is no list of numbers; expected such as 0.25,0.5,1"
        ) from None
    made = simulate_disease_file(
        file,
        out,
        up=up,
        down=down,
        fold_up=fold_up,
        fold_down=fold_down,
        up_name=up_name,
        down_name=down_name,
        dose=doses,
        type_column=type_column,
        cell_type=cell_type or (),
        penetrance=penetrance,
        keep_depth=keep_depth,
        paired=paired,
        seed=seed,
        layer=layer,
        assume_counts=assume_counts,
        force=force,
    )
    console.emit(made.to_dict(), as_json, made.text())
