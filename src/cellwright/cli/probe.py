"""``cellwright probe``: what a linear classifier reads off vectors, beside simpler things."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellwright.cli import console, tables

if TYPE_CHECKING:
    from cellwright.workflows.probe_result import ProbeResult


def probe(
    file: Annotated[Path, typer.Argument(help="The .h5ad with counts and labels.", metavar="FILE")],
    label: Annotated[
        str,
        typer.Option(help="Column of obs to predict.", rich_help_panel="What to judge"),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder to write.", rich_help_panel="Output")
    ],
    rep: Annotated[
        list[str] | None,
        typer.Option(
            help="What to judge, repeatable: a catalog name (hvg, pca, depth), a run folder, "
            "obsm:KEY or file:PATH.npy. Default: hvg.",
            rich_help_panel="What to judge",
        ),
    ] = None,
    positive: Annotated[
        str | None,
        typer.Option(
            help="Labels of the positive class, separated by commas.",
            rich_help_panel="What to judge",
        ),
    ] = None,
    negative: Annotated[
        str | None,
        typer.Option(
            help="Labels of the negative class, separated by commas.",
            rich_help_panel="What to judge",
        ),
    ] = None,
    ignore_unmapped: Annotated[
        bool,
        typer.Option(
            "--ignore-unmapped",
            help="Leave cells out whose label is in neither class.",
            rich_help_panel="What to judge",
        ),
    ] = False,
    min_cells: Annotated[
        int,
        typer.Option(
            help="Leave classes with fewer cells out.", min=0, rich_help_panel="What to judge"
        ),
    ] = 0,
    group: Annotated[
        str,
        typer.Option(
            help="Column whose groups are held out whole; 'auto' takes donor, library or batch; "
            "'none' holds out single cells.",
            rich_help_panel="Settings",
        ),
    ] = "auto",
    folds: Annotated[
        int, typer.Option(help="Folds over the groups.", min=2, rich_help_panel="Settings")
    ] = 5,
    class_weight: Annotated[
        str,
        typer.Option(
            help="'balanced' (every class weighs the same in training) or 'none'.",
            rich_help_panel="Settings",
        ),
    ] = "balanced",
    shuffles: Annotated[
        int,
        typer.Option(
            help="Permutations of the label-shuffle control; 0 leaves it out.",
            min=0,
            rich_help_panel="Settings",
        ),
    ] = 20,
    seed: console.Seed = 42,
    size_column: Annotated[
        str | None,
        typer.Option(
            help="Column of obs with the counts of the whole library, for the depth baseline.",
            rich_help_panel="Settings",
        ),
    ] = None,
    layer: console.Layer = None,
    assume_counts: console.AssumeCounts = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Exit with 3 if a check fails; everything is written all the same.",
            rich_help_panel="Output",
        ),
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace the folder if it exists.", rich_help_panel="Output"),
    ] = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Judge representations by a linear probe on held-out cells.

    Always beside: variable genes, principal components, an untrained encoder for every run, and
    the shortcuts: sequencing depth, the batch label, both.

    Example: cellwright probe neurons.h5ad --rep runs/neurons --label subtype -o probe
    """
    from cellwright.workflows.designs import require_passed
    from cellwright.workflows.probe import probe as run

    console.start(verbose, quiet)
    result = run(
        file,
        rep or ["hvg"],
        label=label,
        positive=positive,
        negative=negative,
        group=group,
        folds=folds,
        class_weight=class_weight,
        seed=seed,
        ignore_unmapped=ignore_unmapped,
        min_cells=min_cells,
        size_column=size_column,
        layer=layer,
        assume_counts=assume_counts,
        shuffles=shuffles,
        out=out,
        force=force,
    )
    text = "" if as_json else _text(result)
    console.emit({**result.to_dict(), "folder": str(out)}, as_json, text)
    if strict:
        require_passed(result.checks, out)


def _text(result: ProbeResult) -> str:
    parts: list[Any] = []
    baselines = [view.name for view in result.views if view.baseline]
    for design in result.exam.designs:
        tested = sum(len(fold.test) for fold in design.folds)
        scores = [s for s in result.scores if s.split == design.name]
        parts += [
            tables.score_table(
                scores,
                title=f"{result.labels.column}: {_HELD_OUT[design.name].format(design.fold_unit)}, "
                f"{tested} cells scored",
                caption=f"95 % intervals over {scores[0].unit} (n = {scores[0].n})",
                asked=result.views.asked,
                baselines=baselines,
            ),
            "",
        ]
    parts += list(result.sentences)
    told = {"failure": "Failed", "warning": "Warning"}
    parts += [f"{told[c.severity]}: {c.sentence}" for c in result.checks if c.severity in told]
    held = sum(c.severity == "note" for c in result.checks)
    parts += [f"{held} checks found nothing to warn of. Everything is in {result.folder}."]
    return tables.rendered(*parts)


_HELD_OUT = {
    "given": "learned on train cells, asked about test cells",
    "grouped": "whole {} held out",
    "random": "random 20 % of the cells held out",
}
