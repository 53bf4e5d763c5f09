"""``cellwright disease``: a disease simulated in normal cells, and an honest test of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellwright.cli import console, tables
from cellwright.cli.allocator import keep_freed_memory
from cellwright.cli.prepare_options import Force, Out
from cellwright.cli.steps_bar import steps_bar

if TYPE_CHECKING:
    from cellwright.workflows.disease_test_result import DiseaseTest

app = typer.Typer(
    help="Simulate a disease in normal cells, and test whether it is found.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_GENES, _DESIGN, _BESIDE = "Genes", "Design", "What it stands beside"


@app.callback()
def _root() -> None:
    """Simulate a disease in normal cells, and test whether it is found."""


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
            help="A type that shows the disease; repeat for more. Default: all.",
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
            "Default: each cell in one state.",
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


@app.command("test")
def test(
    file: Annotated[
        Path, typer.Argument(help="The .h5ad of normal and diseased cells.", metavar="FILE")
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The folder to write.", rich_help_panel="Output")
    ],
    rep: Annotated[
        list[str] | None,
        typer.Option(
            help="A catalog name, a run folder, obsm:KEY or file:PATH.npy; repeat for more. "
            "Default: pca.",
            rich_help_panel=_DESIGN,
        ),
    ] = None,
    state_column: Annotated[
        str, typer.Option(help="Column of obs with the states.", rich_help_panel=_DESIGN)
    ] = "state",
    normal: Annotated[
        str, typer.Option(help="The normal state.", rich_help_panel=_DESIGN)
    ] = "normal",
    donor: Annotated[
        str,
        typer.Option(
            help="Column whose values are held out whole; 'auto' takes donor, library or batch; "
            "'none' holds out base cells.",
            rich_help_panel=_DESIGN,
        ),
    ] = "auto",
    donor_pattern: Annotated[
        str | None,
        typer.Option(
            help="Regular expression for the donor's part of these values, such as [0-9]+.",
            rich_help_panel=_DESIGN,
        ),
    ] = None,
    folds: Annotated[
        int, typer.Option(help="Folds of the cross-validation.", min=2, rich_help_panel=_DESIGN)
    ] = 5,
    test_share: Annotated[
        float, typer.Option(help="Share of the single split's test.", rich_help_panel=_DESIGN)
    ] = 0.3,
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            help="logistic-regression, network-7 or network-252; repeat for more. Default: all.",
            rich_help_panel=_DESIGN,
        ),
    ] = None,
    random_sets: Annotated[
        int,
        typer.Option(
            help="Random gene sets of each of two kinds; 0 for none.",
            min=0,
            rich_help_panel=_BESIDE,
        ),
    ] = 50,
    controls: Annotated[
        bool,
        typer.Option(
            "--controls/--no-controls",
            help="Make cohorts anew for random sets, fold 1, doses and copies.",
            rich_help_panel=_BESIDE,
        ),
    ] = True,
    base: Annotated[
        Path | None,
        typer.Option(
            help="The file the cohort was simulated from, so that controls have all its cells.",
            rich_help_panel=_BESIDE,
        ),
    ] = None,
    up: Annotated[
        str | None,
        typer.Option(
            help="Genes of the gene-set score, where FILE has no record of a simulation.",
            rich_help_panel=_BESIDE,
        ),
    ] = None,
    down: Annotated[
        str | None, typer.Option(help="Likewise, genes that go down.", rich_help_panel=_BESIDE)
    ] = None,
    real: Annotated[
        Path | None,
        typer.Option(
            help="Cells with a real shift, for the same pipeline.", rich_help_panel=_BESIDE
        ),
    ] = None,
    real_state_column: Annotated[
        str | None, typer.Option(help="Its column of states.", rich_help_panel=_BESIDE)
    ] = None,
    real_normal: Annotated[
        str | None, typer.Option(help="Its normal state.", rich_help_panel=_BESIDE)
    ] = None,
    seed: console.Seed = 42,
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
    force: Force = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Test whether diseased cells are told from normal ones, and what that owes to the genes.

    Copies of a cell and cells of a donor are never on both sides. Variable genes, components, the
    gene-set score alone and depth answer too; of a simulated file also random gene sets, fold 1,
    a dose-response curve, and the split of copies that should not be made.

    Example: cellwright disease test cohort.h5ad --rep pca --base cortex.h5ad -o tested
    """
    from cellwright.evaluation.disease_classifiers import STATE_CLASSIFIERS
    from cellwright.workflows.designs import require_passed
    from cellwright.workflows.disease_test import disease_test

    console.start(verbose, quiet)
    keep_freed_memory()
    with steps_bar(quiet) as progress:
        result = disease_test(
            file,
            rep or ("pca",),
            state_column=state_column,
            normal=normal,
            donor=donor,
            donor_pattern=donor_pattern,
            base=base,
            up=up,
            down=down,
            classifiers=tuple(classifier) if classifier else STATE_CLASSIFIERS,
            folds=folds,
            test_share=test_share,
            controls=controls,
            random_sets=random_sets,
            real=real,
            real_state_column=real_state_column,
            real_normal=real_normal,
            seed=seed,
            layer=layer,
            assume_counts=assume_counts,
            out=out,
            force=force,
            progress=progress,
        )
    text = "" if as_json else _text(result)
    console.emit({**result.to_dict(), "folder": str(out)}, as_json, text)
    if strict:
        require_passed(result.checks, out)


def _text(result: DiseaseTest) -> str:
    from cellwright.workflows.disease_views import REFITTED

    words = {"perturbed": "Perturbed or normal", "state": "Which state"}
    design = result.designs[0]
    held = "single cells" if design.unit == "cells" else f"whole {design.fold_unit}"
    parts: list[Any] = []
    for question in result.questions:
        scores = result.of(question)
        asked = [s.rep for s in scores if s.rep.removesuffix(f" + {s.model}") in result.asked]
        simple = [s.rep for s in scores if s.rep.removesuffix(f" + {s.model}") in REFITTED]
        parts += [
            tables.score_table(
                scores,
                title=f"{words[question]}: {held} held out, {len(design.folds)} folds",
                caption=f"95 % intervals over {scores[0].unit} (n = {scores[0].n}); chance of "
                "accuracy: always the largest class",
                asked=asked,
                baselines=simple,
            ),
            "",
        ]
    parts += result.sentences
    told = {"failure": "Failed", "warning": "Warning"}
    parts += [f"{told[c.severity]}: {c.sentence}" for c in result.checks if c.severity in told]
    quiet = sum(c.severity == "note" for c in result.checks)
    parts += [f"{quiet} checks found nothing to warn of. Everything is in {result.folder}."]
    return tables.rendered(*parts)
