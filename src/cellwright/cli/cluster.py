"""``cellwright cluster``: do groups found without labels agree with the labels?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellwright.cli import console, tables

if TYPE_CHECKING:
    from cellwright.workflows.cluster import ClusterResult


def cluster(
    file: Annotated[Path, typer.Argument(help="The .h5ad with counts and labels.", metavar="FILE")],
    label: Annotated[
        str,
        typer.Option(help="Column of obs to compare with.", rich_help_panel="What to judge"),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder to write.", rich_help_panel="Output")
    ],
    rep: Annotated[
        list[str] | None,
        typer.Option(
            help="What to cluster, repeatable: a catalog name (hvg, pca, depth), a run folder, "
            "obsm:KEY or file:PATH.npy. Default: hvg.",
            rich_help_panel="What to judge",
        ),
    ] = None,
    neighbors: Annotated[
        int,
        typer.Option(
            help="Neighbours in the graph, the cell itself included.",
            min=2,
            rich_help_panel="Settings",
        ),
    ] = 15,
    metric: Annotated[
        str,
        typer.Option(help="Distance: cosine, euclidean or manhattan.", rich_help_panel="Settings"),
    ] = "cosine",
    resolution: Annotated[
        float,
        typer.Option(help="Higher gives more clusters.", rich_help_panel="Settings"),
    ] = 0.8,
    method: Annotated[
        str, typer.Option(help="leiden or louvain.", rich_help_panel="Settings")
    ] = "leiden",
    seed: console.Seed = 42,
    group: Annotated[
        str,
        typer.Option(
            help="Column whose groups the intervals resample; 'auto' takes donor, library or "
            "batch; 'none' resamples cells.",
            rich_help_panel="Settings",
        ),
    ] = "auto",
    size_column: Annotated[
        str | None,
        typer.Option(
            help="Column of obs with the counts of the whole library, for the depth baseline.",
            rich_help_panel="Settings",
        ),
    ] = None,
    layer: console.Layer = None,
    assume_counts: console.AssumeCounts = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace the folder if it exists.", rich_help_panel="Output"),
    ] = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Cluster vectors without labels and set the clusters beside the labels.

    Agreement at the given resolution, at the one with as many clusters as labels, and over a grid;
    always beside variable genes, principal components, an untrained encoder and sequencing depth.

    Example: cellwright cluster neurons.h5ad --rep runs/neurons --label subtype -o clusters
    """
    from cellwright.workflows.cluster import cluster as run

    console.start(verbose, quiet)
    result = run(
        file,
        rep or ["hvg"],
        label=label,
        neighbors=neighbors,
        metric=metric,
        resolution=resolution,
        method=method,
        seed=seed,
        group=group,
        size_column=size_column,
        layer=layer,
        assume_counts=assume_counts,
        out=out,
        force=force,
    )
    text = "" if as_json else _text(result)
    console.emit({**result.to_dict(), "folder": str(out)}, as_json, text)


def _text(result: ClusterResult) -> str:
    scores = [s for s in result.scores if s.stratum == "all"]
    baselines = [view.name for view in result.views if view.baseline]
    unit = f"95 % intervals over {scores[0].unit} (n = {scores[0].n})"
    shown = {
        "": f"at resolution {result.task.resolution:g}",
        "_matched": f"at as many clusters as there are labels ({len(result.labels.classes)})",
    }
    parts: list[Any] = []
    for suffix, where in shown.items():
        chosen = [s for s in scores if s.metric.endswith("_matched") == bool(suffix)]
        parts += [
            tables.score_table(
                chosen,
                title=f"{result.labels.column}: clusters by {result.task.method} {where}",
                caption=unit,
                headline=f"ari{suffix}",
                asked=result.views.asked,
                baselines=baselines,
            ),
            "",
        ]
    parts += list(result.sentences)
    parts += [f"Warning: {c.sentence}" for c in result.checks if c.severity != "note"]
    parts += [f"Everything is in {result.folder}."]
    return tables.rendered(*parts)
