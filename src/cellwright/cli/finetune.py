"""``cellwright finetune``: teach a pretrained run to name classes, beside what needs no pretraining."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cellwright.cli import console, tables
from cellwright.cli.steps_bar import steps_bar

if TYPE_CHECKING:
    from cellwright.workflows.finetune_result import FinetuneResult

_WHAT, _TRAINING, _BESIDE = "What to learn", "Training", "What stands beside"


def finetune(
    run: Annotated[
        Path,
        typer.Argument(
            help="A run folder, or the folder of a Geneformer checkpoint.", metavar="RUN"
        ),
    ],
    file: Annotated[Path, typer.Argument(help="The .h5ad with counts and labels.", metavar="FILE")],
    label: Annotated[str, typer.Option(help="Column of obs to learn.", rich_help_panel=_WHAT)],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder to write.", rich_help_panel="Output")
    ],
    positive: Annotated[
        str | None,
        typer.Option(
            help="Labels of the positive class, separated by commas.", rich_help_panel=_WHAT
        ),
    ] = None,
    negative: Annotated[
        str | None,
        typer.Option(
            help="Labels of the negative class, separated by commas.", rich_help_panel=_WHAT
        ),
    ] = None,
    ignore_unmapped: Annotated[
        bool,
        typer.Option(
            "--ignore-unmapped",
            help="Leave cells out whose label is in neither class.",
            rich_help_panel=_WHAT,
        ),
    ] = False,
    min_cells: Annotated[
        int,
        typer.Option(help="Leave classes with fewer cells out.", min=0, rich_help_panel=_WHAT),
    ] = 0,
    freeze_layers: Annotated[
        int,
        typer.Option(
            help="Keep the embedding and so many of the lowest layers as they are; 0 trains all.",
            min=0,
            rich_help_panel=_TRAINING,
        ),
    ] = 0,
    lora: Annotated[
        bool,
        typer.Option(
            "--lora",
            help="Learn a low-rank change of the layers that are not frozen, not their weights.",
            rich_help_panel=_TRAINING,
        ),
    ] = False,
    lora_rank: Annotated[
        int, typer.Option(help="Rank of that change.", min=1, rich_help_panel=_TRAINING)
    ] = 8,
    epochs: Annotated[
        int, typer.Option(help="Most epochs.", min=1, rich_help_panel=_TRAINING)
    ] = 10,
    patience: Annotated[
        int,
        typer.Option(
            help="Stop after so many epochs without a better validation loss.",
            min=1,
            rich_help_panel=_TRAINING,
        ),
    ] = 3,
    val: Annotated[
        float,
        typer.Option(
            help="Share of the training cells that chooses when to stop.",
            rich_help_panel=_TRAINING,
        ),
    ] = 0.2,
    batch_size: Annotated[
        int, typer.Option(help="Cells per step.", min=1, rich_help_panel=_TRAINING)
    ] = 16,
    learning_rate: Annotated[
        float,
        typer.Option("--learning-rate", "--lr", help="Peak rate.", rich_help_panel=_TRAINING),
    ] = 5e-4,
    class_weight: Annotated[
        str,
        typer.Option(
            help="'balanced' (every class weighs the same in training) or 'none'.",
            rich_help_panel=_TRAINING,
        ),
    ] = "balanced",
    accelerator: Annotated[
        str, typer.Option(help="auto, cpu, cuda or mps.", rich_help_panel=_TRAINING)
    ] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto, bf16 or float32.", rich_help_panel=_TRAINING)
    ] = "auto",
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
    seed: console.Seed = 42,
    classifier: Annotated[
        list[str] | None,
        typer.Option(
            help="Classical classifiers beside it, repeatable: logistic-regression, linear-svm, "
            "rbf-svm, random-forest, xgboost. Default: all five.",
            rich_help_panel=_BESIDE,
        ),
    ] = None,
    scratch: Annotated[
        bool,
        typer.Option(
            "--scratch/--no-scratch",
            help="Train the same network from random weights too.",
            rich_help_panel=_BESIDE,
        ),
    ] = True,
    labels_per_class: Annotated[
        str | None,
        typer.Option(
            help="Also learn from so few labelled cells of each class, the same for every method, "
            "such as 5,10,20,50,100,all.",
            rich_help_panel=_BESIDE,
        ),
    ] = None,
    label_draws: Annotated[
        int,
        typer.Option(
            help="Draws of labelled cells for each of these numbers.",
            min=1,
            rich_help_panel=_BESIDE,
        ),
    ] = 5,
    size_column: Annotated[
        str | None,
        typer.Option(
            help="Column of obs with the counts of the whole library, for the depth baseline.",
            rich_help_panel=_BESIDE,
        ),
    ] = None,
    vocabulary: Annotated[
        Path | None,
        typer.Option(help="Table of a checkpoint's series.", rich_help_panel="Settings"),
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
    """Fine-tune a pretrained run on labels, and say whether that beats simpler methods.

    Every method learns from the same cells and is asked about the same held-out ones: the run
    fine-tuned and frozen, the same network from random weights, five classical classifiers on
    variable genes and on principal components, and the shortcuts. OUT/run holds the fine-tuned
    run for embed, probe and load.

    Example: cellwright finetune runs/neurons neurons.h5ad --label subtype -o finetuned
    """
    from cellwright.evaluation.classifiers import CLASSIFIERS
    from cellwright.training.finetune_settings import FinetuneSettings
    from cellwright.workflows.designs import require_passed
    from cellwright.workflows.finetune import finetune as tune
    from cellwright.workflows.sizes import read_sizes

    console.start(verbose, quiet)
    given: dict[str, Any] = {
        "class_weight": None if class_weight == "none" else class_weight,
        "accelerator": accelerator,
        "precision": precision,
    }
    settings = FinetuneSettings(
        seed=seed,
        freeze_layers=freeze_layers,
        lora_rank=lora_rank if lora else None,
        val=val,
        epochs=epochs,
        patience=patience,
        batch_size=batch_size,
        learning_rate=learning_rate,
        **given,
    )
    with steps_bar(quiet) as progress:
        result = tune(
            run,
            file,
            label=label,
            positive=positive,
            negative=negative,
            ignore_unmapped=ignore_unmapped,
            min_cells=min_cells,
            group=group,
            folds=folds,
            classifiers=tuple(classifier) if classifier else CLASSIFIERS,
            scratch=scratch,
            labels_per_class=()
            if labels_per_class is None
            else read_sizes(labels_per_class, "--labels-per-class"),
            label_draws=label_draws,
            settings=settings,
            vocabulary=vocabulary,
            size_column=size_column,
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


def _text(result: FinetuneResult) -> str:
    design = result.design
    held = "single cells" if design.unit == "cells" else f"whole {design.fold_unit}"
    tested = sum(len(fold.test) for fold in design.folds)
    first = result.scores[0]
    parts: list[Any] = [
        tables.score_table(
            result.scores,
            title=f"{result.labels.column}: {held} held out, {tested} cells scored",
            caption=f"95 % intervals over {first.unit} (n = {first.n})",
            asked=[a.rep for a in result.answers if not a.baseline],
            baselines=result.baselines,
        ),
        "",
        *result.sentences,
    ]
    told = {"failure": "Failed", "warning": "Warning"}
    parts += [f"{told[c.severity]}: {c.sentence}" for c in result.checks if c.severity in told]
    quiet = sum(c.severity == "note" for c in result.checks)
    parts += [f"{quiet} checks found nothing to warn of. Everything is in {result.folder}."]
    return tables.rendered(*parts)
