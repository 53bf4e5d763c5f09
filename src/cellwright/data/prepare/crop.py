"""A small, stratified piece of an atlas: cells of all depths, genes that are found and vary."""

from __future__ import annotations

import csv
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np

from cellwright.data.atomic import atomic_file, refuse_existing
from cellwright.data.disk.arrays import new_pool
from cellwright.data.disk.crew import crew
from cellwright.data.disk.rewrite import DEFAULT_MEMORY, TableEdit, rewrite
from cellwright.data.disk.sink import Compression
from cellwright.data.disk.source import Source, open_source
from cellwright.data.disk.target import check_target
from cellwright.data.prepare.crop_choice import CropChoice
from cellwright.data.prepare.crop_settings import CropResult, CropSettings
from cellwright.data.prepare.sidecar import read_sidecar
from cellwright.data.prepare.unique import CellRule, GeneRule
from cellwright.errors import DataError, SettingsError

COLUMNS = (
    "stage",
    "n_obs",
    "n_vars",
    "nonzero_fraction",
    "median_nonzero_per_cell",
    "median_nonzero_per_gene",
)


def crop(
    file: Path | str,
    out: Path | str,
    *,
    cells: int = 200,
    genes: int | Literal["all"] | None = 500,
    seed: int = 1,
    strata: int = 4,
    min_gene_detect_frac: float = 0.05,
    alpha_detect: float = 1.0,
    beta_std: float = 0.5,
    drop_allzero_genes: bool = False,
    drop_allzero_cells: bool = False,
    gene_dedupe: GeneRule = "make_unique",
    cell_dedupe: CellRule = "make_unique",
    layer: str | None = None,
    report_csv: Path | str | None = None,
    keep_raw: bool = False,
    compression: Compression = "gzip",
    memory: int = DEFAULT_MEMORY,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
    workers: int | None = None,
    dask: str | None = None,
) -> CropResult:
    """Write ``out``, a sample of the cells of ``file`` with a sample of its genes.

    In this order: unique names, cells and genes of zeros dropped, summary, cells, genes. Cells
    are drawn equally from quantile strata of nonzero genes per cell. Genes are drawn without
    replacement with weight detect^alpha · std^beta, both over the sampled cells. The same seed
    gives the same crop whatever ``memory`` is.

    Parameters
    ----------
    cells
        How many; all when there are fewer.
    genes
        How many; ``"all"`` keeps every gene.
    min_gene_detect_frac
        Genes found in a smaller share of the sampled cells are not drawn, unless there are too
        few others.
    layer
        What is looked at; default ``layers["counts"]`` if there is one, else X. Every layer is
        cut along.
    report_csv
        Where to write the two rows of the summary, before and after.
    memory
        Bytes that matrices in work may take together.
    progress
        Called with cells done and cells to do: first of those looked at, then of those written.

    Returns
    -------
    CropResult
        The file has ``uns["crop_params"]``, ``uns["sparsity_summary"]`` and
        ``uns["crop_indices"]`` (positions in ``file``); columns of a sidecar are in obs.

    Raises
    ------
    DataError, RunError, SettingsError
        As :func:`~cellwright.data.disk.rewrite.rewrite`; for settings that cannot work; if no
        cell or gene is left.
    """
    settings = CropSettings(
        cells=cells,
        genes=_number_of_genes(genes),
        seed=seed,
        strata=strata,
        min_gene_detect_frac=min_gene_detect_frac,
        alpha_detect=alpha_detect,
        beta_std=beta_std,
        drop_allzero_genes=drop_allzero_genes,
        drop_allzero_cells=drop_allzero_cells,
        gene_dedupe=gene_dedupe,
        cell_dedupe=cell_dedupe,
    )
    settings.check()
    target = check_target(out, file, force=force)
    if report_csv is not None:
        _check_report(Path(report_csv), (Path(file), target), force=force)
    folder = target.absolute().parent
    with ExitStack() as files:
        with open_source(file) as source, new_pool() as pool, crew(workers, dask) as helpers:
            basis = _basis(source, layer)
            added = read_sidecar(source)
            chosen = CropChoice(
                source, basis, settings, memory, pool, folder, files, progress, helpers
            )
        params = {**asdict(settings), "genes": settings.genes or "all"}
        params["gene_dedupe_mode"] = params.pop("gene_dedupe")
        params["cell_dedupe_mode"] = params.pop("cell_dedupe")
        written = rewrite(
            file,
            target,
            rows=chosen.rows,
            columns=chosen.columns,
            merge=chosen.merge,
            obs=TableEdit(names=chosen.unique.obs_names, add=added),
            var=TableEdit(names=chosen.unique.var_names),
            uns={
                "crop_params": {**params, "input_basis": basis, "input_file": Path(file).name},
                "sparsity_summary": {
                    stage: {**found, "shape": np.array(found["shape"])}
                    for stage, found in (("before", chosen.before), ("after", chosen.after))
                },
                "crop_indices": {
                    "selected_cell_indices_from_input": chosen.rows,
                    "selected_gene_indices_from_input": chosen.columns,
                },
            },
            stage=("crop", {**params, "basis": basis, "unique": chosen.unique.facts()}),
            keep_raw=keep_raw,
            compression=compression,
            memory=memory,
            force=force,
            blocks=chosen.blocks(),
            progress=progress,
            workers=workers,
            dask=dask,
        )
        if report_csv is not None:
            _write_report(Path(report_csv), chosen.before, chosen.after)
    return CropResult(
        settings, basis, chosen.unique, chosen.dropped, chosen.before, chosen.after, written
    )


def _number_of_genes(genes: int | str | None) -> int | None:
    if genes in ("all", None):
        return None
    if isinstance(genes, str):
        raise SettingsError(f"genes is {genes!r}, expected a number or 'all'")
    return int(genes)


def _check_report(path: Path, taken: tuple[Path, ...], *, force: bool) -> None:
    """Raise DataError or RunError if the report cannot be written, before any work is done."""
    refuse_existing(path, force=force)
    if path.absolute() in [other.absolute() for other in taken] or (
        path.exists() and any(other.exists() and path.samefile(other) for other in taken)
    ):
        raise DataError(
            f"cannot write {path}: the report has the name of the file that is read or written; "
            "give it another with --report-csv"
        )
    if path.is_dir() or not path.absolute().parent.is_dir():
        what = "it is a folder" if path.is_dir() else f"the folder {path.parent} does not exist"
        raise DataError(f"cannot write {path}: {what}")


def _basis(source: Source, layer: str | None) -> str:
    if layer is None:
        return "layers/counts" if "layers/counts" in source.matrices() else source.named("X")
    basis = source.named(layer)
    if basis == "raw/X":
        raise DataError("raw cannot be the basis of a crop, it has genes of its own; use a layer")
    return basis


def _write_report(path: Path, before: dict[str, Any], after: dict[str, Any]) -> None:
    with atomic_file(path) as temporary, temporary.open("w", newline="") as handle:
        table = csv.writer(handle, lineterminator="\n")
        table.writerow(COLUMNS)
        for stage, found in (("before", before), ("after", after)):
            table.writerow([stage, *found["shape"], *(found[key] for key in COLUMNS[3:])])
