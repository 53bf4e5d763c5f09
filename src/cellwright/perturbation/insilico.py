"""Which genes are edited in which cells: those asked for, and a null of matched random ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from cellwright.errors import DataError
from cellwright.perturbation.edits import Kind
from cellwright.perturbation.null_genes import GeneProfile, NullGenes

# A gene in the first twentieth of a cell's ranked genes is near the front.
FRONT = 0.05
# To raise a gene that is near the front in fewer cells than this shows the model what no cell is.
RARE_FRONT = 0.01


@dataclass(frozen=True)
class Plan:
    """What to compute: pairs of an edit and a cell.

    sets: the genes of each edit, those asked for first. asked: how many those are. null_am: for
    each of them which edits are its null. edit_p, cell_p: the pairs, ordered by cell. depth_e:
    cells of each edit; its cells are its first in the order in which cells are taken.
    """

    sets: tuple[tuple[int, ...], ...]
    asked: int
    null_am: tuple[NDArray[np.int64], ...]
    edit_p: NDArray[np.int64]
    cell_p: NDArray[np.int64]
    depth_e: NDArray[np.int64]


def profile_of(
    gene_t: NDArray[np.int64], offsets_n: NDArray[np.int64], genes: int
) -> tuple[GeneProfile, sp.csc_matrix]:
    """Where genes stand in cells, and which cells rank them.

    Parameters
    ----------
    gene_t
        Genes of all cells one after another, highest first, cut to the model's input.
    offsets_n
        (n + 1,) where each cell starts.
    genes
        Genes of the vocabulary.

    Returns
    -------
    The profile, and a boolean (cells, genes) matrix.
    """
    lengths_n = np.diff(offsets_n)
    n = lengths_n.size
    cell_t = np.repeat(np.arange(n), lengths_n)
    place_t = np.arange(gene_t.size) - np.repeat(offsets_n[:-1], lengths_n)
    cells_g = np.bincount(gene_t, minlength=genes)
    sums_g = np.bincount(gene_t, weights=np.log1p(place_t), minlength=genes)
    last = float(np.log1p(lengths_n.max(initial=0)))
    place_g = np.where(cells_g > 0, sums_g / np.maximum(cells_g, 1), last)
    front_t = place_t < np.ceil(FRONT * lengths_n[cell_t])
    front_g = np.bincount(gene_t[front_t], minlength=genes)
    held = sp.csc_matrix((np.ones(gene_t.size, dtype=bool), (cell_t, gene_t)), shape=(n, genes))
    return GeneProfile(cells_g, place_g, front_g, n), held


def draw_plan(
    sets: Sequence[tuple[int, ...]],
    held_ng: sp.csc_matrix,
    profile: GeneProfile,
    kind: Kind,
    *,
    cells_per_gene: int,
    null: int,
    min_cells: int,
    seed: int,
    within: bool,
) -> Plan:
    """Draw null genes and cells for the edits asked for.

    Cells are taken in one random order, the same for all edits, so that a gene and its null are
    seen in the same cells as far as they go; a gene is edited in the first ``cells_per_gene``
    cells that rank it (to raise it, in the first of all).

    Parameters
    ----------
    null
        Null edits for each edit asked for.
    min_cells
        Null genes are ranked in at least so many cells.
    within
        Whether the null of each is drawn from those asked for themselves, as when they are all
        genes: then nothing else is computed.

    Raises
    ------
    DataError
        If there are no genes for a null.
    """
    rng = np.random.default_rng(seed)
    order_n = rng.permutation(held_ng.shape[0])
    # To raise a gene that no cell ranks is matched with others that no cell ranks.
    low = 0 if kind == "raise" else max(1, min_cells)
    fewest = min(low, *(int(profile.cells_g[list(genes)].min()) for genes in sets))
    everywhere_c = np.flatnonzero(profile.cells_g >= fewest)
    if within:
        everywhere_c = np.array(sorted(genes[0] for genes in sets), dtype=np.int64)
    else:
        taken = np.unique([gene for genes in sets for gene in genes])
        everywhere_c = np.setdiff1d(everywhere_c, taken)
    source = NullGenes(profile, everywhere_c)
    index: dict[tuple[int, ...], int] = {genes: e for e, genes in enumerate(sets)}
    if len(index) < len(sets):
        raise DataError("the same gene or set was asked for twice; name each once")
    wanted = [cells_per_gene] * len(sets)
    cells_e = [_cells(genes, held_ng, order_n, kind) for genes in sets]
    null_am: list[NDArray[np.int64]] = []
    for genes, cells in zip(sets, list(cells_e), strict=True):
        size = min(cells_per_gene, cells.size)
        mine = []
        for other in source.draw(genes, null, rng) if null else []:
            if other not in index:
                index[other] = len(index)
                wanted.append(0)
                cells_e.append(_cells(other, held_ng, order_n, kind))
            mine.append(index[other])
            wanted[index[other]] = max(wanted[index[other]], size)
        null_am.append(np.array(mine, dtype=np.int64))
    chosen = [cells[:most] for cells, most in zip(cells_e, wanted, strict=True)]
    depth_e = np.array([cells.size for cells in chosen], dtype=np.int64)
    edit_p = np.repeat(np.arange(len(chosen)), depth_e)
    cell_p = np.concatenate(chosen)
    # Sorted stably by the place of the cell in the random order: within an edit, order is kept.
    by_cell = np.argsort(np.argsort(order_n)[cell_p], kind="stable")
    return Plan(
        sets=tuple(index),
        asked=len(sets),
        null_am=tuple(null_am),
        edit_p=edit_p[by_cell],
        cell_p=cell_p[by_cell],
        depth_e=depth_e,
    )


def _cells(
    genes: tuple[int, ...], held_ng: sp.csc_matrix, order_n: NDArray[np.int64], kind: Kind
) -> NDArray[np.int64]:
    """The cells in which an edit can change something, in the order in which cells are taken."""
    if kind == "raise":
        return order_n
    any_n = np.zeros(held_ng.shape[0], dtype=bool)
    for gene in genes:
        any_n[held_ng.indices[held_ng.indptr[gene] : held_ng.indptr[gene + 1]]] = True
    return order_n[any_n[order_n]]
