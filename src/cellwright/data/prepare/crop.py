"""A small, stratified piece of an atlas: cells of all depths, genes that are found and vary."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.data.atomic import atomic_file, refuse_existing
from cellwright.data.disk.arrays import new_pool
from cellwright.data.disk.aside import AsideFile, shared_folder
from cellwright.data.disk.crew import Crew, crew
from cellwright.data.disk.rewrite import DEFAULT_MEMORY, Rewritten, TableEdit, merged_rows, rewrite
from cellwright.data.disk.rows import Rows
from cellwright.data.disk.shared_rows import shared_rows
from cellwright.data.disk.sink import Compression
from cellwright.data.disk.source import Source, open_source
from cellwright.data.disk.stream import stream_rows
from cellwright.data.disk.target import check_target
from cellwright.data.prepare.gene_moments import NonzeroCounter, Nonzeros, detection_and_std
from cellwright.data.prepare.held_rows import HeldRows
from cellwright.data.prepare.look import look, look_by_gene, shared_look
from cellwright.data.prepare.sampling_plan import sample_cells, sample_genes
from cellwright.data.prepare.sidecar import read_sidecar
from cellwright.data.prepare.unique import CellRule, GeneRule, UniquePlan, plan_unique
from cellwright.data.stored import StoredMatrix
from cellwright.errors import DataError, SettingsError

COLUMNS = (
    "stage",
    "n_obs",
    "n_vars",
    "nonzero_fraction",
    "median_nonzero_per_cell",
    "median_nonzero_per_gene",
)


@dataclass(frozen=True)
class CropSettings:
    """How cells and genes are chosen; ``genes`` None keeps every gene."""

    cells: int = 200
    genes: int | None = 500
    seed: int = 1
    strata: int = 4
    min_gene_detect_frac: float = 0.05
    alpha_detect: float = 1.0
    beta_std: float = 0.5
    drop_allzero_genes: bool = False
    drop_allzero_cells: bool = False
    gene_dedupe: GeneRule = "make_unique"
    cell_dedupe: CellRule = "make_unique"

    def check(self) -> None:
        """Raise SettingsError for a value that cannot work."""
        for name, least in (("cells", 1), ("genes", 1), ("strata", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise SettingsError(f"{name} is {value}, expected at least {least}")
        if not 0 <= self.min_gene_detect_frac <= 1:
            raise SettingsError(
                f"min_gene_detect_frac is {self.min_gene_detect_frac}, expected a share in [0, 1]"
            )
        for name in ("alpha_detect", "beta_std"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise SettingsError(f"{name} is {value}, expected a finite number, 0 or above")


@dataclass(frozen=True)
class CropResult:
    """What was kept: summaries before and after, and what was written."""

    settings: CropSettings
    basis: str
    unique: UniquePlan
    dropped: dict[str, int]
    before: dict[str, Any]
    after: dict[str, Any]
    written: Rewritten

    def to_dict(self) -> dict[str, Any]:
        """The keys of ``--json``."""
        return {
            "schema": "cellwright.crop/1",
            "n_obs": self.written.n_obs,
            "n_vars": self.written.n_vars,
            "settings": asdict(self.settings),
            "basis": self.basis,
            "unique": self.unique.facts(),
            "dropped": self.dropped,
            "before": self.before,
            "after": self.after,
            "bytes": self.written.n_bytes,
            "notes": self.written.notes,
            "out": str(self.written.path),
        }

    def text(self) -> str:
        """The same for people."""
        lines = [self.unique.sentence()]
        if any(self.dropped.values()):
            lines.append(
                f"dropped {self.dropped['cells']:,} cells and {self.dropped['genes']:,} genes "
                "without a single count"
            )
        for stage, found in (("before", self.before), ("after", self.after)):
            n, g = found["shape"]
            lines.append(
                f"{stage:<6}  {n:,} cells × {g:,} genes, {found['nonzero_fraction']:.1%} nonzero; "
                f"medians {found['median_nonzero_per_cell']:,.0f} genes per cell, "
                f"{found['median_nonzero_per_gene']:,.0f} cells per gene"
            )
        return "\n".join([*lines, self.written.sentence(), *self.written.notes])


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
            chosen = _Choice(
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


class _Choice:
    """The cells and genes of a crop, found in one reading of the matrix where that is possible.

    ``rows``, ``columns``: positions in the file. ``merge``: as ``rewrite`` takes it.
    """

    def __init__(
        self,
        source: Source,
        basis: str,
        settings: CropSettings,
        memory: int,
        pool: ThreadPoolExecutor,
        folder: Path,
        files: ExitStack,
        progress: Callable[[int, int], None] | None,
        helpers: Crew | None,
    ) -> None:
        self._progress, self._helpers, self._path = progress, helpers, source.path
        self._matrix = source.matrix(basis)
        self._memory, self._pool, self._folder, self._files = memory, pool, folder, files
        self._settings, self._basis = settings, basis
        self.unique = plan_unique(source, settings.gene_dedupe, settings.cell_dedupe)
        n, g = self._matrix.shape
        rows = np.arange(n) if self.unique.rows is None else self.unique.rows
        self._genes = np.arange(g) if self.unique.columns is None else self.unique.columns
        self._held: HeldRows | None = None
        found, guess = self._look(rows)
        kept = np.arange(rows.size)
        if settings.drop_allzero_cells:
            kept = np.flatnonzero(found.genes_per_n > 0)
        there = np.arange(self._genes.size)
        if settings.drop_allzero_genes:
            there = np.flatnonzero(found.cells_per_g > 0)
        self.dropped = {"cells": rows.size - kept.size, "genes": self._genes.size - there.size}
        for size, what in ((kept.size, "cell"), (there.size, "gene")):
            if size == 0:
                raise DataError(f"{source.path}: every {what} is zero in {basis}; nothing to crop")
        found = Nonzeros(found.genes_per_n[kept], found.cells_per_g[there])
        self.before = found.summary()
        sampled = kept[
            sample_cells(
                found.genes_per_n, settings.cells, strata=settings.strata, seed=settings.seed
            )
        ]
        self.rows = rows[sampled]
        if self._held is not None and not np.array_equal(sampled, guess):
            # Stored zeros made the offsets overstate some cells: the rows put aside are others.
            self._held = None
        if self._held is None and self._fits(int(found.genes_per_n[np.isin(kept, sampled)].sum())):
            held = self._new_held()
            for block in self._rows(self.rows):
                held.append(block.counts, block.merged)
            self._held = held
        chosen = there
        if settings.genes is not None and settings.genes < there.size:
            detected, std = detection_and_std(
                (block.counts for block in self._sampled(None)), self.rows.size, self._genes.size
            )
            chosen = there[
                sample_genes(
                    detected[there],
                    std[there],
                    settings.genes,
                    min_detected=settings.min_gene_detect_frac,
                    alpha=settings.alpha_detect,
                    beta=settings.beta_std,
                    seed=settings.seed,
                )
            ]
        self._chosen = chosen
        self.columns = self._genes[chosen]
        self.merge: NDArray[np.int64] | None = None
        if self.unique.merge is not None:
            new_of = np.full(self._genes.size, -1, np.int64)
            new_of[chosen] = np.arange(chosen.size)
            self.merge = new_of[self.unique.merge]
        after = NonzeroCounter(self.rows.size, chosen.size)
        for block in self._sampled(chosen):
            after.add(block)
        self.after = after.result().summary()

    def blocks(self) -> dict[str, Callable[[StoredMatrix], Iterator[Rows]]]:
        """The sampled rows where they were put aside, instead of reading them again."""
        held, chosen = self._held, self._chosen
        if held is None:
            return {}
        return {self._basis: lambda _matrix: held.rows(chosen)}

    def _look(self, rows: NDArray[np.int64]) -> tuple[Nonzeros, NDArray[np.int64] | None]:
        """Count nonzeros; on the way put the rows aside that will be sampled, if that is known."""
        guess = self._foreseen(rows)
        held = self._new_held()

        def tell(done: int) -> None:
            if self._progress:
                self._progress(done, rows.size)

        if (helpers := self._shared()) is not None:
            with shared_folder(self._folder) as shared:
                found = shared_look(
                    helpers,
                    self._path,
                    self._matrix,
                    rows,
                    guess,
                    held.append,
                    memory=self._memory,
                    folder=shared,
                    tell=tell,
                )
        elif self._matrix.format == "csc" and self.unique.merge is None:
            counted = look_by_gene(
                self._matrix, rows, memory=self._memory, pool=self._pool, tell=tell
            )
            if counted is not None:
                return counted, None
            found = look(self._rows(rows), rows.size, self._genes.size, None, held.append, tell)
        else:
            found = look(self._rows(rows), rows.size, self._genes.size, guess, held.append, tell)
        self._held = None if guess is None else held
        return found, guess

    def _new_held(self) -> HeldRows:
        self._files.close()  # what was put aside before is of no use
        return HeldRows(self._genes.size, self._files.enter_context(AsideFile(self._folder)))

    def _shared(self) -> Crew | None:
        """The workers, where they can share this matrix."""
        by_gene = self._matrix.format == "csc" or self.unique.merge is not None
        return None if by_gene else self._helpers

    def _foreseen(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """The cells that will be sampled, if offsets say how many genes each has and disk allows.

        Wrong only where zeros are stored; that is found out.
        """
        matrix, settings = self._matrix, self._settings
        if matrix.format != "csr" or self.unique.merge is not None:
            return None
        stored = np.diff(matrix.indptr)[rows]
        kept = np.flatnonzero(stored > 0) if settings.drop_allzero_cells else np.arange(rows.size)
        sampled = kept[
            sample_cells(stored[kept], settings.cells, strata=settings.strata, seed=settings.seed)
        ]
        return sampled if self._fits(int(stored[sampled].sum())) else None

    def _fits(self, n_entries: int) -> bool:
        """Whether so many entries can be put aside and leave most of the disk free."""
        return 4 * n_entries * 12 < shutil.disk_usage(self._folder).free

    def _sampled(self, chosen: NDArray[np.int64] | None) -> Iterator[Rows]:
        """The sampled rows, all genes or the chosen ones of them."""
        if self._held is not None:
            yield from self._held.rows(chosen)
            return
        for block in self._rows(self.rows):
            counts = block.counts if chosen is None else block.counts[:, chosen]
            yield Rows(sp.csr_matrix(counts), block.start, block.merged)

    def _rows(self, rows: NDArray[np.int64]) -> Iterator[Rows]:
        how: dict[str, Any] = {"memory": self._memory, "folder": self._folder}
        if (helpers := self._shared()) is not None:
            return shared_rows(helpers, self._path, self._matrix, rows, None, **how)
        stream = stream_rows(self._matrix, rows, pool=self._pool, **how)
        if self.unique.merge is None:
            return stream
        return merged_rows(stream, self.unique.merge, self._genes.size)


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
