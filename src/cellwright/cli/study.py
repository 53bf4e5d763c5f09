"""``cellwright study`` and ``cellwright demo``: everything from a file to a report page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console


def study(
    settings: Annotated[
        Path | None, typer.Argument(help="Settings as TOML.", metavar="SETTINGS.toml")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Study folder to write.", rich_help_panel="Output"),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Settings by name: neurons-2025, demo.", rich_help_panel="Settings"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="The .h5ad with raw counts. Without it neurons are simulated.",
            rich_help_panel="Settings",
        ),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="section.key=value, repeatable: --set pretrain.epochs=60.",
            rich_help_panel="Settings",
        ),
    ] = None,
    show: Annotated[
        bool,
        typer.Option(
            "--show", help="Print the settings as TOML and stop.", rich_help_panel="Output"
        ),
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Run steps again whose settings changed.", rich_help_panel="Output"
        ),
    ] = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Run a whole study: inspect, pretrain, embed, probe, cluster, report.

    Example: cellwright study --preset neurons-2025 --data neurons.h5ad -o studies/neurons
    """
    if settings is None and preset is None and data is None:
        raise typer.BadParameter("give SETTINGS.toml, --preset NAME or --data FILE.h5ad")
    console.start(verbose, quiet)
    from cellwright.config import dump_toml
    from cellwright.workflows.study_settings import as_sections, study_settings

    chosen = study_settings(preset, settings, change or [], data)
    if show:
        typer.echo(dump_toml(as_sections(chosen)), nl=False)
        return
    if out is None:
        raise typer.BadParameter("name the folder to write with -o")
    from cellwright.cli.training_progress import training_progress
    from cellwright.workflows.study import run_study

    with training_progress(quiet=quiet) as shown:
        result = run_study(chosen, out, force=force, on_epoch=shown.epoch, on_step=shown.step)
    console.emit(result.to_dict(), as_json, result.text())


def demo(
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Study folder to write.", rich_help_panel="Output")
    ] = Path("runs/demo"),
    force: Annotated[
        bool,
        typer.Option("--force", help="Run it again if it was changed.", rich_help_panel="Output"),
    ] = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Run the main job on simulated neurons whose truth is planted: no data, no network needed.

    Example: cellwright demo -o runs/demo
    """
    study(
        out=out,
        preset="demo",
        force=force,
        as_json=as_json,
        verbose=verbose,
        quiet=quiet,
        change=[],
    )
