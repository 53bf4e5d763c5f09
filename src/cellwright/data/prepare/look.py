"""One reading of a matrix: count its nonzeros and put some of its rows aside on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.data.disk.arrays import new_pool
from cellwright.data.disk.crew import Crew
from cellwright.data.disk.kernels import tally_columns
from cellwright.data.disk.rows import Rows, new_positions, outside, read_parts
from cellwright.data.disk.shared_rows import load_rows, save_rows, spans
from cellwright.data.disk.source import open_source
from cellwright.data.disk.stream import stream_rows
from cellwright.data.prepare.gene_moments import NonzeroCounter, Nonzeros
from cellwright.data.stored import StoredMatrix

Hold = Callable[[sp.csr_matrix, bool], None]
"""Takes rows to put aside, and whether a gene stood twice in one of them."""


def look(
    blocks: Iterator[Rows],
    n_rows: int,
    n_genes: int,
    wanted: NDArray[np.int64] | None,
    hold: Hold,
    tell: Callable[[int], None] = lambda _: None,
) -> Nonzeros:
    """Count the nonzeros of all blocks; the rows at the sorted positions ``wanted`` go to ``hold``."""
    counter = NonzeroCounter(n_rows, n_genes)
    for block in blocks:
        counter.add(block)
        stop = block.start + block.counts.shape[0]
        if wanted is not None:
            low, high = np.searchsorted(wanted, [block.start, stop])
            if high > low:
                hold(sp.csr_matrix(block.counts[wanted[low:high] - block.start]), block.merged)
        tell(stop)
    return counter.result()


def look_by_gene(
    matrix: StoredMatrix,
    rows: NDArray[np.int64],
    *,
    memory: int,
    pool: ThreadPoolExecutor,
    tell: Callable[[int], None] = lambda _: None,
) -> Nonzeros | None:
    """Count the nonzeros of a CSC matrix column by column, without turning it into rows.

    None if a column is not in order: then a cell may stand twice in it, and only rows tell.

    Raises
    ------
    DataError
        If the matrix is damaged.
    """
    n, g = matrix.shape
    new_of_n = new_positions(rows, n)
    genes_per_n, cells_per_g = np.zeros(rows.size, np.int64), np.zeros(g, np.int64)
    for part, values, row_at in read_parts(matrix, np.arange(g), memory=memory, pool=pool):
        nonzero = values != 0 if np.count_nonzero(values) < values.size else np.empty(0, bool)
        stop = part.start + part.lengths_n.size
        wrong, rising = tally_columns(
            part.offsets_n,
            part.lengths_n,
            row_at,
            nonzero,
            new_of_n,
            cells_per_g[part.start : stop],
            genes_per_n,
        )
        if wrong != -1:
            raise outside(matrix, wrong)
        if not rising:
            return None
        tell(rows.size * stop // g)
    return Nonzeros(genes_per_n, cells_per_g)


def shared_look(
    crew: Crew,
    path: Path,
    matrix: StoredMatrix,
    rows: NDArray[np.int64],
    wanted: NDArray[np.int64] | None,
    hold: Hold,
    *,
    memory: int,
    folder: Path,
    tell: Callable[[int], None] = lambda _: None,
) -> Nonzeros:
    """As :func:`look`, done by the workers of ``crew``; ``folder`` must be seen by all of them."""
    genes_per_n, cells_per_g = np.zeros(rows.size, np.int64), np.zeros(matrix.shape[1], np.int64)

    def tasks() -> Iterator[tuple[Any, ...]]:
        for low, high in spans(matrix, rows, memory):
            inside = np.empty(0, np.int64)
            if wanted is not None:
                inside = wanted[slice(*np.searchsorted(wanted, [low, high]))] - low
            yield (
                str(path.absolute()),
                matrix.name,
                rows[low:high],
                inside,
                memory,
                f"{folder}/{low}",
            )

    start = 0
    for counted, per_gene, file, merged in crew.map(look_at, tasks()):
        genes_per_n[start : start + counted.size] = counted
        cells_per_g += per_gene
        start += counted.size
        if file is not None:
            hold(load_rows(file), merged)
            Path(file).unlink()
        tell(start)
    return Nonzeros(genes_per_n, cells_per_g)


def look_at(
    path: str,
    name: str,
    rows: NDArray[np.int64],
    wanted: NDArray[np.int64],
    memory: int,
    file: str,
) -> tuple[NDArray[np.int64], NDArray[np.int64], str | None, bool]:
    """The work of one task: look at rows and write the wanted ones to ``file``, if there are any."""
    held: list[tuple[sp.csr_matrix, bool]] = []
    with open_source(path) as source, new_pool() as pool:
        matrix = source.matrix(name)
        blocks = stream_rows(matrix, rows, memory=memory, pool=pool, folder=Path(file).parent)
        found = look(
            blocks,
            rows.size,
            matrix.shape[1],
            wanted,
            lambda part, twice: held.append((part, twice)),
        )
    if held:
        save_rows(file, sp.csr_matrix(sp.vstack([part for part, _ in held], format="csr")))
    return (
        found.genes_per_n,
        found.cells_per_g,
        file if held else None,
        any(twice for _, twice in held),
    )
