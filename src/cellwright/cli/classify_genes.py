"""``cellwright classify-genes``: which vectors know what a gene is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellwright.cli import console, tables

if TYPE_CHECKING:
    from rich.table import Table

    from cellwright.workflows.classify_genes_result import GeneClassification

_WHAT, _BESIDE, _TUNING = "What to judge", "Known of the genes", "Fine-tuning"


def classify_genes(
    labels: Annotated[
        Path,
        typer.Option(
            "--labels",
            help="Table of genes and classes: marks (yes, true, 1) or one column of names.",
            rich_help_panel=_WHAT,
        ),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder to write.", rich_help_panel="Output")
    ],
    rep: Annotated[
        list[str] | None,
        typer.Option(
            help="Run folder or checkpoint, repeatable: RUN:static is its embedding matrix, "
            "RUN:contextual the mean over the cells, RUN both. None: the simple methods only.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    cells: Annotated[
        Path | None,
        typer.Option(
            help="The .h5ad with counts: for contextual vectors, plain expression features and "
            "fine-tuning.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(
            help="Label column, repeatable for columns of marks. Default: every column of marks, "
            "else the one of names.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    gene_column: Annotated[
        str | None,
        typer.Option(help="Column of the genes. Default: found.", rich_help_panel=_WHAT),
    ] = None,
    positive: Annotated[
        str | None,
        typer.Option(help="Class that curves and F1 are about.", rich_help_panel=_WHAT),
    ] = None,
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            help="logistic-regression, linear-svm, rbf-svm, random-forest or xgboost, repeatable. "
            "Default: all.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    gene_table: Annotated[
        Path | None,
        typer.Option(
            help="Table of genes with start and end (or length) and biotype, for the gene-property "
            "baseline.",
            rich_help_panel=_BESIDE,
        ),
    ] = None,
    vocabulary: Annotated[
        Path | None,
        typer.Option(
            help="Rank vocabulary with nonzero medians. Default: that of the first rank run.",
            rich_help_panel=_BESIDE,
        ),
    ] = None,
    families: Annotated[
        Path | None,
        typer.Option(
            help="Table of genes and families. Default: the letters of a symbol before its first "
            "digit.",
            rich_help_panel=_BESIDE,
        ),
    ] = None,
    ceiling: Annotated[
        list[Path] | None,
        typer.Option(
            help="Table of a near-label (pLI, haploinsufficiency), repeatable: scored as a ceiling, "
            "never compared.",
            rich_help_panel=_BESIDE,
        ),
    ] = None,
    folds: Annotated[int, typer.Option(help="Folds.", min=2, rich_help_panel="Settings")] = 5,
    repeats: Annotated[
        int, typer.Option(help="Rounds of folds.", min=1, rich_help_panel="Settings")
    ] = 2,
    hidden: Annotated[
        str,
        typer.Option(
            help="Shares of training labels hidden, for self-training and label propagation; "
            "'none' leaves it out.",
            rich_help_panel="Settings",
        ),
    ] = "0,0.25,0.5,0.75,0.9",
    finetune: Annotated[
        bool,
        typer.Option(
            "--finetune",
            help="Also fine-tune a token classifier of every rank run, in every fold.",
            rich_help_panel=_TUNING,
        ),
    ] = False,
    freeze_layers: Annotated[
        int | None,
        typer.Option(
            help="Lowest layers left as they are. Default: all but two.",
            min=0,
            rich_help_panel=_TUNING,
        ),
    ] = None,
    epochs: Annotated[
        int, typer.Option(help="Epochs at most.", min=1, rich_help_panel=_TUNING)
    ] = 10,
    learning_rate: Annotated[
        float, typer.Option(help="Highest rate.", rich_help_panel=_TUNING)
    ] = 5e-4,
    max_cells: Annotated[
        int, typer.Option(help="Most cells to learn from.", min=1, rich_help_panel=_TUNING)
    ] = 500,
    seed: console.Seed = 42,
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
    """Judge gene vectors by what classifiers tell of held-out genes.

    Always beside: gene length, expression level and family, plain expression features, an
    untrained network; with single genes and with whole families held out.

    Example: cellwright classify-genes --labels dosage.csv --rep runs/blood --cells blood.h5ad --gene-table genes.tsv -o dosage
    """
    from cellwright.evaluation.classifiers import CLASSIFIERS
    from cellwright.workflows.classify_genes import classify_genes as run
    from cellwright.workflows.classify_genes_finetune import Tuning

    console.start(verbose, quiet)
    result = run(
        labels,
        rep or (),
        cells=cells,
        gene_table=gene_table,
        family_table=families,
        vocabulary=vocabulary,
        label=label,
        gene_column=gene_column,
        positive=positive,
        classifiers=classifier or CLASSIFIERS,
        folds=folds,
        repeats=repeats,
        hidden=_shares(hidden),
        ceilings=ceiling or (),
        finetune=Tuning(freeze_layers, epochs, learning_rate, max_cells) if finetune else None,
        seed=seed,
        layer=layer,
        assume_counts=assume_counts,
        out=out,
        force=force,
    )
    text = "" if as_json else _text(result)
    console.emit({**result.to_dict(), "folder": str(out)}, as_json, text)


def _text(result: GeneClassification) -> str:
    parts: list[Any] = []
    for design in result.task.designs:
        parts += [_table(result, design.name, design.fold_unit), ""]
    parts += list(result.sentences)
    told = {"failure": "Failed", "warning": "Warning", "note": "Note"}
    parts += [f"{told[c.severity]}: {c.sentence}" for c in result.checks]
    parts += [f"Everything is in {result.folder}."]
    return tables.rendered(*parts)


_COLUMNS = {
    "roc_auc": "AUC",
    "auc_within_family": "AUC within families",
    "macro_f1": "macro F1",
    "balanced_accuracy": "balanced",
}


def _table(result: GeneClassification, design: str, held: str) -> Table:
    """One row per method, best first; ceilings last."""
    from rich.table import Table

    from cellwright.evaluation.sentences import score_phrase

    whole = [s for s in result.scores if s.split == design and s.stratum == "all"]
    found = {(s.rep, s.metric): s for s in whole}
    simple, ceilings = set(result.baselines), set(result.ceilings)
    reps = sorted(
        {s.rep for s in whole}, key=lambda r: (r in ceilings, -found[r, "roc_auc"].value, r)
    )
    shown = [m for m in _COLUMNS if any((r, m) in found for r in reps)]
    table = Table(
        title=f"{result.labels.label}: {'whole ' if held != 'genes' else 'single '}{held} held out, "
        f"{len(result.views.kept)} genes",
        caption=f"95 % intervals over {whole[0].unit} (n = {whole[0].n})",
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("method")
    table.add_column("kind")
    for metric in shown:
        table.add_column(_COLUMNS[metric], justify="right")
    table.add_column("AUC against best simple", justify="right")
    for rep in reps:
        kind = "ceiling" if rep in ceilings else "simple" if rep in simple else "model"
        cells = [score_phrase(found[rep, m]) if (rep, m) in found else "" for m in shown]
        gap = found[rep, "roc_auc"].difference
        cells.append(
            "" if gap is None else f"{gap['value']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]"
        )
        table.add_row(rep, kind, *cells, style="bold" if kind == "model" else None)
    return table


def _shares(text: str) -> tuple[float, ...]:
    from cellwright.errors import SettingsError

    if text.strip().lower() == "none":
        return ()
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise SettingsError(
            f"--hidden is {text!r}, expected shares from 0 to below 1 separated by commas, or none"
        ) from None
