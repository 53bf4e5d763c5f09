"""``cellwright simulate``: data with planted truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console
from cellwright.cli.cells_bar import cells_bar
from cellwright.errors import SettingsError


def simulate(
    kind: Annotated[str, typer.Argument(help="What to simulate: neurons.", metavar="KIND")],
    out: Annotated[
        Path,
        typer.Option("-o", "--out", help="The .h5ad or .zarr to write.", rich_help_panel="Output"),
    ],
    cells: Annotated[int, typer.Option(help="Cells.", rich_help_panel="Size")] = 2000,
    genes: Annotated[
        int,
        typer.Option(help="Genes: markers first, then made-up ones.", rich_help_panel="Size"),
    ] = 1000,
    donors: Annotated[int, typer.Option(help="Donors.", rich_help_panel="Size")] = 6,
    libraries: Annotated[
        int, typer.Option(help="Libraries, each of one donor and region.", rich_help_panel="Size")
    ] = 12,
    regions: Annotated[
        int, typer.Option(help="Brain regions, 1 to 4.", rich_help_panel="Size")
    ] = 3,
    subclass: Annotated[
        list[str] | None,
        typer.Option(
            help="A subclass to simulate, such as 'L5 IT' or Sst; repeat for more. Default: all.",
            rich_help_panel="Truth",
        ),
    ] = None,
    clusters: Annotated[
        int, typer.Option(help="Clusters in each subclass.", rich_help_panel="Truth")
    ] = 1,
    programs: Annotated[
        int,
        typer.Option(help="Gene programs varying within types, 0 to 8.", rich_help_panel="Truth"),
    ] = 8,
    depth: Annotated[
        float | None,
        typer.Option(
            help="Median counts of a cell. Default: as many as genes.", rich_help_panel="Truth"
        ),
    ] = None,
    batch_effect: Annotated[
        float,
        typer.Option(help="Scale of donor, region and library effects.", rich_help_panel="Truth"),
    ] = 1.0,
    seed: console.Seed = 0,
    tables: Annotated[
        Path | None,
        typer.Option(
            help="Folder for cell_metadata.csv, cluster.csv and cluster_annotation_term.csv.",
            rich_help_panel="Output",
        ),
    ] = None,
    bare: Annotated[
        bool,
        typer.Option(
            "--bare",
            help="Leave labels to the tables, as published atlases do (needs --tables).",
            rich_help_panel="Output",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that exist.", rich_help_panel="Output")
    ] = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Simulate neurons whose types, programs, donors and libraries are known.

    Counts are negative binomial; the truth stands in obs, var, obsm and uns.

    Example: cellwright simulate neurons -o neurons.h5ad --cells 2000
    """
    if kind != "neurons":
        raise SettingsError(f"cannot simulate {kind!r}: expected neurons")
    if bare and tables is None:
        raise SettingsError(
            "--bare leaves the labels to the tables: say where with --tables FOLDER"
        )
    from cellwright.data.atomic import refuse_existing
    from cellwright.data.simulate import simulate_to_file
    from cellwright.data.simulated_tables import TABLES, write_tables
    from cellwright.data.simulated_tissue import TissueSettings

    console.start(verbose, quiet)
    for name in TABLES if tables else ():
        refuse_existing(Path(tables or "", name), force=force)
    settings = TissueSettings(
        n_genes=genes,
        seed=seed,
        n_donors=donors,
        n_libraries=libraries,
        n_regions=regions,
        subclasses=tuple(subclass) if subclass else None,
        clusters=clusters,
        n_programs=programs,
        depth=depth,
        batch_effect=batch_effect,
    )
    drawn = 0
    with cells_bar("simulating", quiet) as tell:

        def advance(n: int) -> None:
            nonlocal drawn
            drawn += n
            tell(drawn, cells)

        obs = simulate_to_file(
            out,
            cells,
            settings,
            bare=bare,
            progress=advance,
            force=force,
        )
    written = write_tables(obs, tables, force=force) if tables else []
    types = obs["cell_class"].value_counts()
    result = {
        "schema": "cellwright.simulate/1",
        "n_obs": len(obs),
        "n_vars": genes,
        "classes": {str(name): int(n) for name, n in types.items()},
        "subclasses": int(obs["subclass"].nunique()),
        "donors": int(obs["donor"].nunique()),
        "libraries": int(obs["library_label"].nunique()),
        "seed": seed,
        "out": str(out),
        "tables": [str(path) for path in written],
    }
    text = (
        f"wrote {out}: {len(obs):,} neurons × {genes:,} genes, "
        + ", ".join(f"{n:,} {name}" for name, n in types.items())
        + f"; {result['subclasses']} subclasses, {result['donors']} donors, "
        f"{result['libraries']} libraries"
    )
    if written:
        text += f"\nwrote {', '.join(str(path) for path in written)}"
    console.emit(result, as_json, text)
