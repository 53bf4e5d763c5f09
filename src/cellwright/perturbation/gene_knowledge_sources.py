"""Sources of gene knowledge: positions, gene sets, regulators and their targets, any numbers.

Each function takes the names by which the measured and the candidate genes are known and gives a
:class:`~cellwright.perturbation.gene_knowledge.GeneKnowledge`. None of them is given a cell or a
label. Wide tables are reduced over all genes of the *table*, so that what is known of a gene does
not depend on which others a panel measures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.utils.extmath import randomized_svd

from cellwright.data.genes import GeneNames
from cellwright.errors import DataError
from cellwright.perturbation.gene_knowledge import GeneKnowledge, knowledge_of
from cellwright.perturbation.gene_positions import CHROMOSOMES, GenePositions

# More columns than this are reduced to so many components.
WIDEST = 64
COMPONENTS = 32
# Megabases of the Fourier features: from gene neighbourhoods to the length of chromosome 1.
WAVELENGTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
FEWEST_OF_SET = 3
# Spreads from the mean that a number may be.
FARTHEST = 5.0
_MEGABASE = 1e6


@dataclass(frozen=True)
class KnownAs:
    """Every name of each measured and each candidate gene: ids and symbols."""

    measured_g: tuple[tuple[str, ...], ...]
    candidate_c: tuple[tuple[str, ...], ...]

    def places(self, index: Mapping[str, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where measured and candidate genes stand in a table, by the first name found; else -1."""
        found = [
            np.array([next((index[n] for n in names if n in index), -1) for names in side], int)
            for side in (self.measured_g, self.candidate_c)
        ]
        return found[0].astype(np.int64), found[1].astype(np.int64)


def known_as(genes: GeneNames, candidates: Sequence[str]) -> KnownAs:
    """Names of measured genes, and of candidates, which have those of their measured gene too."""
    pairs = list(zip(genes.gene_symbol.tolist(), genes.gene_id.tolist(), strict=True))
    other: dict[str, tuple[str, str]] = {}
    for pair in pairs:
        for name in pair:
            other.setdefault(name, pair)
    measured = tuple(tuple(dict.fromkeys(pair)) for pair in pairs)
    candidate = tuple(tuple(dict.fromkeys((c, *other.get(c, ())))) for c in candidates)
    return KnownAs(measured, candidate)


def position_knowledge(
    measured: GenePositions, candidate: GenePositions, *, fourier: bool = False
) -> GeneKnowledge:
    """Chromosome as one of 24 and the relative position, or Fourier features of megabases.

    Between candidates: same chromosome, and 1 / (1 + megabases between their middles) there.

    Parameters
    ----------
    fourier
        Sine and cosine of the position at each of :data:`WAVELENGTHS`, in place of the relative
        position; the source is then called ``fourier``.
    """
    names = [*(f"chromosome {c}" for c in CHROMOSOMES), "relative"]
    sides = [measured.features_gd, candidate.features_gd]
    if fourier:
        names = [f"{wave} {w} Mb" for wave in ("sine", "cosine") for w in WAVELENGTHS]
        sides = [_waves(measured), _waves(candidate)]
    middle_c = (candidate.start_g + candidate.end_g) / 2 / _MEGABASE
    chromosome_c = candidate.chromosome_g
    same_cc = (chromosome_c[:, None] == chromosome_c) & (chromosome_c != "")
    gap_cc = np.where(same_cc, np.abs(middle_c[:, None] - middle_c), np.inf)
    return knowledge_of(
        "fourier" if fourier else "positions",
        names,
        sides[0],
        sides[1],
        measured.chromosome_g != "",
        chromosome_c != "",
        () if fourier else (("same chromosome", same_cc), ("closeness", 1 / (1 + gap_cc))),
    )


def set_knowledge(source: str, sets: Mapping[str, Sequence[str]], names: KnownAs) -> GeneKnowledge:
    """Membership of gene sets: a bit for each, or components of them where they are many.

    Sets of fewer than three genes, and of more than half of the genes, are left out. A component
    weighs a set by one over the root of its size. Between candidates: shared sets over all sets
    of the two (Jaccard).

    Raises
    ------
    DataError
        If none of the candidates is in a set.
    """
    genes = list(dict.fromkeys(g for members in sets.values() for g in members))
    index = {g: i for i, g in enumerate(genes)}
    size = {name: len(set(members)) for name, members in sets.items()}
    most = max(FEWEST_OF_SET, len(genes) // 2)
    kept = [n for n in sets if FEWEST_OF_SET <= size[n] <= most]
    row_of, candidate_of = _found(names, index, source, "set")
    rows = np.array([index[g] for n in kept for g in sets[n]], dtype=np.int64)
    columns = np.repeat(np.arange(len(kept)), [len(sets[n]) for n in kept])
    member = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(genes), len(kept)))
    member.data[:] = 1.0
    held = np.asarray(member[candidate_of].todense()) * (candidate_of >= 0)[:, None]
    shared_cc = held @ held.T
    total_c = held.sum(axis=1)
    either_cc = total_c[:, None] + total_c - shared_cc
    jaccard_cc = np.divide(shared_cc, either_cc, out=np.zeros_like(shared_cc), where=either_cc > 0)
    if len(kept) <= WIDEST:
        table, titles = np.asarray(member.todense()), kept
    else:
        weight = 1 / np.sqrt(np.array([size[n] for n in kept], dtype=np.float64))
        table = _components(member @ sp.diags(weight))
        titles = [f"component {i + 1}" for i in range(table.shape[1])]
    return knowledge_of(
        source,
        titles,
        table[row_of],
        table[candidate_of],
        row_of >= 0,
        candidate_of >= 0,
        [("shared sets", jaccard_cc)],
    )


def edge_knowledge(
    source: str, edges: Sequence[tuple[str, str, float]], names: KnownAs
) -> GeneKnowledge:
    """Regulators and their targets: number of either, and where a gene lies in their graph.

    Components are those of the graph without directions, each edge weighed down by how many edges
    its two genes have. Between candidates: the effect of the row's gene on the column's (1, -1, or
    0 where there is none), and whether they stand in one edge.

    Parameters
    ----------
    edges
        Regulator, target, and the sign of the effect (1 where it is not known).

    Raises
    ------
    DataError
        If no candidate has an edge.
    """
    genes = list(dict.fromkeys(g for a, b, _ in edges for g in (a, b)))
    index = {g: i for i, g in enumerate(genes)}
    row_of, candidate_of = _found(names, index, source, "edge")
    a = np.array([index[e[0]] for e in edges], dtype=np.int64)
    b = np.array([index[e[1]] for e in edges], dtype=np.int64)
    n = len(genes)
    directed = sp.csr_matrix((np.ones(len(a)), (a, b)), shape=(n, n))
    directed.data[:] = 1.0
    signed = sp.csr_matrix((np.array([e[2] for e in edges]), (a, b)), shape=(n, n)).sign()
    graph = ((directed + directed.T) > 0).astype(np.float64)
    degree = np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1.0)
    scale = sp.diags(1 / np.sqrt(degree))
    table = np.column_stack(
        [
            np.log1p(np.asarray(directed.sum(axis=1)).ravel()),
            np.log1p(np.asarray(directed.sum(axis=0)).ravel()),
            _components(scale @ graph @ scale),
        ]
    )
    titles = [
        "log targets",
        "log regulators",
        *(f"component {i + 1}" for i in range(table.shape[1] - 2)),
    ]
    on_cc = (candidate_of >= 0)[:, None] & (candidate_of >= 0)
    effect_cc = signed[candidate_of][:, candidate_of].toarray() * on_cc
    edge_cc = graph[candidate_of][:, candidate_of].toarray() * on_cc
    return knowledge_of(
        source,
        titles,
        table[row_of],
        table[candidate_of],
        row_of >= 0,
        candidate_of >= 0,
        [("effect", effect_cc), ("edge", edge_cc)],
    )


def number_knowledge(
    source: str,
    titles: Sequence[str],
    genes: Sequence[Sequence[str]],
    value_gd: NDArray[np.floating],
    names: KnownAs,
) -> GeneKnowledge:
    """Numbers of genes, such as annotations or the gene vectors of a run, each column standardised and
    held within five standard deviations.

    More than :data:`WIDEST` columns are reduced to :data:`COMPONENTS` components. A missing number
    is the mean of its column.

    Parameters
    ----------
    genes, value_gd
        The names of each gene of the table, and its numbers; the first of a repeated name has it.

    Raises
    ------
    DataError
        If no column varies, or no measured or candidate gene is in the table.
    """
    value = np.asarray(value_gd, dtype=np.float64)
    counted = np.isfinite(value)
    if not counted.any():
        raise DataError(f"the gene knowledge {source!r} holds no number")
    mean = np.where(counted, value, 0).sum(axis=0) / np.maximum(counted.sum(axis=0), 1)
    centred = np.where(counted, value - mean, 0)
    spread = np.sqrt((centred**2).sum(axis=0) / np.maximum(counted.sum(axis=0), 1))
    varies = spread > 1e-12 * np.maximum(np.abs(mean), 1e-300)
    if not varies.any():
        raise DataError(
            f"no column of the gene knowledge {source!r} varies between genes "
            f"({', '.join(titles[:3])})"
        )
    table = np.clip(centred[:, varies] / spread[varies], -FARTHEST, FARTHEST)
    titles = [t for t, v in zip(titles, varies, strict=True) if v]
    if table.shape[1] > WIDEST:
        table = _components(table)
        titles = [f"component {i + 1}" for i in range(table.shape[1])]
    index: dict[str, int] = {}
    for i, called in enumerate(genes):
        for name in called:
            index.setdefault(name, i)
    row_of, candidate_of = names.places(index)
    if (row_of < 0).all() and (candidate_of < 0).all():
        raise DataError(
            f"none of the {len(names.measured_g)} measured and {len(names.candidate_c)} candidate "
            f"genes ({names.candidate_c[0][0]} …) is known to {source!r} ({genes[0][0]} …)"
        )
    return knowledge_of(
        source, titles, table[row_of], table[candidate_of], row_of >= 0, candidate_of >= 0
    )


def _found(
    names: KnownAs, index: Mapping[str, int], source: str, what: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    measured, candidate = names.places(index)
    if (candidate < 0).all():
        shown = ", ".join(n[0] for n in names.candidate_c[:3])
        raise DataError(
            f"none of the {len(candidate)} candidates ({shown} …) is in a {what} of {source!r} "
            f"({', '.join(list(index)[:3])} …); give a file with the same names of genes"
        )
    return measured, candidate


def _components(table: Any) -> NDArray[np.float64]:
    """Left singular vectors by singular values, (genes, components), of unit mean square each."""
    number = min(COMPONENTS, min(table.shape) - 1)
    left, value, _ = randomized_svd(table, n_components=max(number, 1), random_state=0)
    keep = value > 1e-9 * value[0]
    # Genes of one direction and others alike: how large a component is says little of its use.
    # A few genes at the end of a component must not drown the others.
    return np.clip(left[:, keep] * np.sqrt(table.shape[0]), -FARTHEST, FARTHEST)


def _waves(found: GenePositions) -> NDArray[np.float64]:
    middle_g = np.nan_to_num((found.start_g + found.end_g) / 2 / _MEGABASE)
    angle = 2 * np.pi * middle_g[:, None] / np.array(WAVELENGTHS, dtype=np.float64)
    return np.column_stack([np.sin(angle), np.cos(angle)])
