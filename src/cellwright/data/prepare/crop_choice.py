"""The cells and genes of a crop, found in one reading of the matrix where that is possible."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.data.disk.aside import AsideFile, shared_folder
from cellwright.data.disk.crew import Crew
from cellwright.data.disk.rewrite import merged_rows
from cellwright.data.disk.rows import Rows
from cellwright.data.disk.shared_rows import shared_rows
from cellwright.data.disk.source import Source
from cellwright.data.disk.stream import stream_rows
from cellwright.data.prepare.crop_settings import CropSettings
from cellwright.data.prepare.gene_moments import NonzeroCounter, Nonzeros, detection_and_std
from cellwright.data.prepare.held_rows import HeldRows
from cellwright.data.prepare.look import look, look_by_gene, shared_look
from cellwright.data.prepare.sampling_plan import sample_cells, sample_genes
from cellwright.data.prepare.unique import plan_unique
from cellwright.data.stored import StoredMatrix
from cellwright.errors import DataError


class CropChoice:
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
