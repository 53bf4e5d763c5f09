"""``cellwright report``: one page about a run, its probes and its clusters."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console


def report(
    run: Annotated[
        Path | None,
        typer.Argument(
            metavar="RUN",
            help="Run folder, or the study folder that holds it. A probe or cluster folder alone "
            "will do.",
            show_default=False,
        ),
    ] = None,
    probe: Annotated[
        list[Path] | None,
        typer.Option(
            help="Probe folder, repeatable. Default: the folders probe* in and beside RUN.",
            rich_help_panel="What to report on",
            show_default=False,
        ),
    ] = None,
    cluster: Annotated[
        list[Path] | None,
        typer.Option(
            help="Cluster folder, repeatable. Default: the folders cluster* in and beside RUN.",
            rich_help_panel="What to report on",
            show_default=False,
        ),
    ] = None,
    inspection: Annotated[
        Path | None,
        typer.Option(
            help="What `cellwright inspect FILE --json` printed. Default: inspection.json in or "
            "beside RUN.",
            rich_help_panel="What to report on",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--out",
            help="File to write. Default: report.html in RUN.",
            rich_help_panel="Output",
            show_default=False,
        ),
    ] = None,
    title: Annotated[
        str | None,
        typer.Option(help="Heading of the page.", rich_help_panel="Output", show_default=False),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an existing file.", rich_help_panel="Output")
    ] = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Write one self-contained HTML page that works offline.

    It holds the findings in plain sentences, the verdict on the data, training curves beside the
    best reference without a network, scores with intervals beside every simple method, an
    interactive map of the cells, confusion matrices, clusters, and where the numbers come from.
    What is missing is left out and named.

    Example: cellwright report runs/neurons --probe probe -o report.html
    """
    from cellwright.data.atomic import refuse_existing
    from cellwright.errors import RunError
    from cellwright.report.page import build_report
    from cellwright.report.places import Found, find_parts

    console.start(verbose, quiet)
    found = find_parts(run) if run is not None else Found()
    probes = list(probe) if probe else list(found.probes)
    clusters = list(cluster) if cluster else list(found.clusters)
    if run is None and not probes and not clusters and inspection is None:
        raise RunError(
            "nothing to report on: no folder was given; name a run folder, or --probe, --cluster "
            "or --inspection"
        )
    place = out or (run or Path()) / "report.html"
    refuse_existing(place, force=force)
    written = build_report(
        run=found.run,
        probes=probes,
        clusters=clusters,
        inspection=inspection or found.inspection,
        title=title,
        out=place,
    )
    result = {
        "schema": "cellwright.report/1",
        "report": str(written),
        "bytes": written.stat().st_size,
        "run": None if found.run is None else str(found.run),
        "probes": [str(folder) for folder in probes],
        "clusters": [str(folder) for folder in clusters],
    }
    console.emit(result, as_json, f"{written} ({written.stat().st_size / 1e6:.1f} MB)")
