"""``cellwright crop``: a small stratified piece of an atlas."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellwright.cli import console, prepare_options
from cellwright.cli.cells_bar import cells_bar
from cellwright.cli.unique import CellRule, GeneRule
from cellwright.errors import SettingsError


def crop(
    file: Annotated[Path, typer.Argument(help="The .h5ad or .zarr.", metavar="FILE")],
    out: prepare_options.Out,
    cells: Annotated[
        int, typer.Option(help="Cells to keep; all when there are fewer.", rich_help_panel="Cells")
    ] = 200,
    strata: Annotated[
        int,
        typer.Option(
            help="Quantile strata of nonzero genes per cell, equally many cells from each.",
            rich_help_panel="Cells",
        ),
    ] = 4,
    drop_allzero_cells: Annotated[
        bool,
        typer.Option(
            "--drop-allzero-cells", help="First drop empty cells.", rich_help_panel="Cells"
        ),
    ] = False,
    cell_dedupe: Annotated[
        CellRule, typer.Option(help="Cells of one name, as in unique.", rich_help_panel="Cells")
    ] = CellRule.make_unique,
    genes: Annotated[
        str, typer.Option(help="Genes to keep, or 'all'.", rich_help_panel="Genes")
    ] = "500",
    min_gene_detect_frac: Annotated[
        float,
        typer.Option(
            help="Least share of the sampled cells a gene is found in.", rich_help_panel="Genes"
        ),
    ] = 0.05,
    alpha_detect: Annotated[
        float,
        typer.Option(help="Genes are drawn with weight detected^alpha …", rich_help_panel="Genes"),
    ] = 1.0,
    beta_std: Annotated[
        float,
        typer.Option(help="… times standard deviation^beta.", rich_help_panel="Genes"),
    ] = 0.5,
    drop_allzero_genes: Annotated[
        bool,
        typer.Option(
            "--drop-allzero-genes", help="First drop empty genes.", rich_help_panel="Genes"
        ),
    ] = False,
    gene_dedupe: Annotated[
        GeneRule, typer.Option(help="Genes of one name, as in unique.", rich_help_panel="Genes")
    ] = GeneRule.make_unique,
    layer: Annotated[
        str | None,
        typer.Option(
            help="What is looked at; default layers/counts if there is one, else X.",
            rich_help_panel="Settings",
        ),
    ] = None,
    seed: console.Seed = 1,
    report_csv: Annotated[
        Path | None,
        typer.Option(
            help="Also write the summary before and after as a table.", rich_help_panel="Output"
        ),
    ] = None,
    raw: prepare_options.KeepRaw = prepare_options.Raw.drop,
    compression: prepare_options.Compress = prepare_options.Compression.gzip,
    memory: prepare_options.Memory = "512MB",
    workers: prepare_options.Workers = None,
    dask: prepare_options.Dask = None,
    force: prepare_options.Force = False,
    as_json: console.Json = False,
    verbose: console.Verbose = 0,
    quiet: console.Quiet = False,
) -> None:
    """Keep some cells of every depth and some genes that are found and vary; layers are cut along.

    Example: cellwright crop neurons.h5ad -o crop.h5ad --cells 400 --genes 200
    """
    from cellwright.data.prepare.crop import crop as make

    console.start(verbose, quiet)
    if genes != "all" and not genes.isdecimal():
        raise SettingsError(f"--genes is {genes!r}, expected a number or 'all'")
    with cells_bar("cells", quiet) as tell:
        result = make(
            file,
            out,
            cells=cells,
            genes="all" if genes == "all" else int(genes),
            seed=seed,
            strata=strata,
            min_gene_detect_frac=min_gene_detect_frac,
            alpha_detect=alpha_detect,
            beta_std=beta_std,
            drop_allzero_genes=drop_allzero_genes,
            drop_allzero_cells=drop_allzero_cells,
            gene_dedupe=gene_dedupe.value,
            cell_dedupe=cell_dedupe.value,
            layer=layer,
            report_csv=report_csv,
            keep_raw=raw.value == "keep",
            compression=compression.value,
            memory=prepare_options.bytes_of(memory),
            force=force,
            progress=tell,
            workers=workers,
            dask=dask,
        )
    console.emit(result.to_dict(), as_json, result.text())
