"""Which genes to edit, from what a user names: one, a set, several of either, or all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cellwright.errors import DataError, SettingsError
from cellwright.perturbation.edits import KINDS, Kind, check_kind, find_genes, near
from cellwright.perturbation.null_genes import GeneProfile
from cellwright.tokens.rank_vocabulary import RankVocabulary

ALL = "all"
Named = str | Sequence[str] | None


def read_kind(named: Mapping[str, Named], factor: float | None) -> tuple[Kind, list[str]]:
    """The one kind of edit that was asked for, and its genes as they were named.

    Raises
    ------
    SettingsError
        If none or more than one was, or the factor does not go with it.
    """
    given = {
        kind: [names] if isinstance(names, str) else list(names)
        for kind, names in named.items()
        if names
    }
    if len(given) != 1:
        what = " and ".join(f"--{kind} {','.join(names)}" for kind, names in given.items())
        said = f"{what} were given together" if given else "no edit was given"
        options = ", ".join(f"--{kind}" for kind in KINDS)
        raise SettingsError(f"{said}, expected one of {options} with the genes to edit")
    ((kind, names),) = given.items()
    check_kind(kind, factor)
    return kind, names  # type: ignore[return-value]


def read_sets(
    names: Sequence[str],
    vocabulary: RankVocabulary,
    profile: GeneProfile,
    kind: Kind,
    *,
    min_cells: int,
) -> tuple[list[tuple[int, ...]], bool]:
    """The genes of each edit by their place in the vocabulary, and whether they are all genes.

    Each name is a gene, several with commas between them (edited together), or ``all``: every gene
    that at least ``min_cells`` of the cells rank, each by itself.

    Raises
    ------
    SettingsError
        If ``all`` stands beside others, or a name is empty.
    DataError
        If a gene is not in the vocabulary, or, unless it is raised, no cell ranks it.
    """
    if ALL in [name.strip() for name in names]:
        if len(names) > 1:
            others = ", ".join(name for name in names if name.strip() != ALL)
            raise SettingsError(f"'{ALL}' was given together with {others}; give one or the other")
        found = np.flatnonzero(profile.cells_g >= max(1, min_cells))
        if found.size < 2:
            raise DataError(
                f"{found.size} genes are ranked in {min_cells} of these {profile.n} cells or more, "
                "expected at least 2; lower --min-cells or give more cells"
            )
        return [(int(gene),) for gene in found], True
    sets = []
    for name in names:
        members = [part.strip() for part in name.split(",")]
        if not all(members):
            raise SettingsError(f"the genes are {name!r}, expected names with commas between them")
        genes = find_genes(members, vocabulary.gene_ids, vocabulary.symbols)
        if len(set(genes)) < len(genes):
            raise SettingsError(f"the set {name!r} holds a gene twice; name it once")
        sets.append(genes)
        if kind == "raise":
            continue
        for member, gene in zip(members, genes, strict=True):
            if not profile.cells_g[gene]:
                there = np.flatnonzero(profile.cells_g)
                hint = near(member, vocabulary.gene_ids[there], vocabulary.symbols[there])
                raise DataError(
                    f"the gene {member!r} is ranked in none of the {profile.n} cells, so there is "
                    f"nothing to {kind}; among those that are, {hint}"
                )
    if len(set(sets)) < len(sets):
        twice = next(name for name, s in zip(names, sets, strict=True) if sets.count(s) > 1)
        raise SettingsError(f"{twice!r} was asked for twice; name each gene or set once")
    return sets, False


def edit_name(genes: Sequence[int], vocabulary: RankVocabulary) -> str:
    """Symbols of an edit's genes with + between them."""
    return "+".join(vocabulary.symbols[list(genes)].tolist())
