"""``cellwright simulate``: data with planted truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console
from cellwright.cli.cells_bar import cells_bar
from cellwright.cli.simulate_screen import screen_to_file
from cellwright.errors import SettingsError

_NEURONS, _SCREEN = "Neurons", "Screens"
_CELLS, _GENES = 2000, 1000


def simulate(
    context: typer.Context,
    kind: Annotated[
        str, typer.Argument(help="What to simulate: neurons or screen.", metavar="KIND")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "-o",
            "--out",
            help="The .h5ad to write, or .zarr for neurons.",
            rich_help_panel="Output",
        ),
    ],
    cells: Annotated[
        int | None,
        typer.Option(
            help="Cells; in a screen, of each perturbation. Default: 2000; 100.",
            rich_help_panel="Size",
        ),
    ] = None,
    genes: Annotated[
        int | None,
        typer.Option(
            help="Genes; neurons: markers first, then made-up ones. Default: 1000, or the preset's.",
            rich_help_panel="Size",
        ),
    ] = None,
    depth: Annotated[
        float | None,
        typer.Option(
            help="Median counts of a cell. Default: as many as genes, or the preset's.",
            rich_help_panel="Size",
        ),
    ] = None,
    batch_effect: Annotated[
        float,
        typer.Option(
            help="Scale of effects of donor, region, library, batch.", rich_help_panel="Size"
        ),
    ] = 1.0,
    donors: Annotated[int, typer.Option(help="Donors.", rich_help_panel=_NEURONS)] = 6,
    libraries: Annotated[
        int, typer.Option(help="Libraries, each of one donor and region.", rich_help_panel=_NEURONS)
    ] = 12,
    regions: Annotated[
        int, typer.Option(help="Brain regions, 1 to 4.", rich_help_panel=_NEURONS)
    ] = 3,
    subclass: Annotated[
        list[str] | None,
        typer.Option(
            help="A subclass to simulate, such as 'L5 IT' or Sst; repeat for more. Default: all.",
            rich_help_panel=_NEURONS,
        ),
    ] = None,
    clusters: Annotated[
        int, typer.Option(help="Clusters in each subclass.", rich_help_panel=_NEURONS)
    ] = 1,
    programs: Annotated[
        int,
        typer.Option(help="Gene programs varying within types, 0 to 8.", rich_help_panel=_NEURONS),
    ] = 8,
    preset: Annotated[
        str | None,
        typer.Option(
            help="plain, or norman: counts like 500 genes of Norman et al. 2019, and shifts about "
            "as hard to tell apart. Default: plain.",
            rich_help_panel=_SCREEN,
        ),
    ] = None,
    targets: Annotated[
        int | None, typer.Option(help="Perturbed genes.", rich_help_panel=_SCREEN)
    ] = None,
    doubles: Annotated[
        int | None, typer.Option(help="Pairs perturbed together.", rich_help_panel=_SCREEN)
    ] = None,
    controls: Annotated[
        int | None, typer.Option(help="Control cells.", rich_help_panel=_SCREEN)
    ] = None,
    batches: Annotated[int | None, typer.Option(help="Batches.", rich_help_panel=_SCREEN)] = None,
    guides: Annotated[
        int | None, typer.Option(help="Guides of each target.", rich_help_panel=_SCREEN)
    ] = None,
    efficiency: Annotated[
        float | None,
        typer.Option(help="Chance that a guide acts, on average.", rich_help_panel=_SCREEN),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            help="Standard deviation of the log fold of a responding gene; 0 for no effect.",
            rich_help_panel=_SCREEN,
        ),
    ] = None,
    interacting: Annotated[
        float | None,
        typer.Option(help="Share of pairs that do not add up.", rich_help_panel=_SCREEN),
    ] = None,
    own_measured: Annotated[
        float | None,
        typer.Option(help="Share of targets that are measured genes.", rich_help_panel=_SCREEN),
    ] = None,
    own_fold: Annotated[
        float | None,
        typer.Option(help="Log fold of the target's own transcript.", rich_help_panel=_SCREEN),
    ] = None,
    interference: Annotated[
        bool,
        typer.Option(
            "--interference",
            help="Own transcripts go down, not up.",
            rich_help_panel=_SCREEN,
        ),
    ] = False,
    seed: console.Seed = 0,
    tables: Annotated[
        Path | None,
        typer.Option(
            help="Folder for cell_metadata.csv, cluster.csv and cluster_annotation_term.csv.",
            rich_help_panel=_NEURONS,
        ),
    ] = None,
    bare: Annotated[
        bool,
        typer.Option(
            "--bare",
            help="Leave labels to the tables, as published atlases do (needs --tables).",
            rich_help_panel=_NEURONS,
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace files that exist.", rich_help_panel="Output")
    ] = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Simulate neurons, or a perturbation screen, whose truth is known.

    Counts are negative binomial; the truth stands in obs, var, obsm, varm and uns.

    Example: cellwright simulate screen -o screen.h5ad --preset norman
    """
    if kind not in ("neurons", "screen"):
        raise SettingsError(f"cannot simulate {kind!r}: expected neurons or screen")
    _refuse_options_of_the_other(context, kind)
    if kind == "screen":
        console.start(verbose, quiet)
        result, text = screen_to_file(
            out,
            preset or "plain",
            depth,
            batch_effect,
            interference,
            force=force,
            quiet=quiet,
            genes=genes,
            cells=cells,
            targets=targets,
            doubles=doubles,
            controls=controls,
            batches=batches,
            guides=guides,
            efficiency=efficiency,
            strength=strength,
            interacting=interacting,
            own_measured=own_measured,
            own_fold=own_fold,
            seed=seed,
        )
        console.emit(result, as_json, text)
        return
    cells = _CELLS if cells is None else cells
    genes = _GENES if genes is None else genes
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


def _refuse_options_of_the_other(context: typer.Context, kind: str) -> None:
    """An option that would be ignored is a mistake of somebody, so it is said."""
    other = _SCREEN if kind == "neurons" else _NEURONS
    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        given = source is not None and source.name == "COMMANDLINE"
        if given and getattr(parameter, "rich_help_panel", None) == other:
            raise SettingsError(
                f"{parameter.opts[0]} is an option of {other.lower()}, and {kind} was asked for"
            )
