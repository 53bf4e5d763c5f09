"""What will go wrong with a file, each as one sentence with the offending number and a remedy."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cellwright.data.genes import GeneNames
from cellwright.data.sampling import MatrixFacts
from cellwright.data.tables import n_duplicates


def find_problems(
    judged: MatrixFacts | None,
    matrices: list[MatrixFacts],
    counts_in: str | None,
    obs_names: pd.Index,
    var_names: pd.Index,
    genes: GeneNames,
) -> list[str]:
    """List the problems of a file, the gravest first; empty if there is none."""
    found = _of_the_matrix(judged, counts_in)
    for facts in matrices:
        found += _of_the_values(facts)
    found += _of_the_names(obs_names, "cell", "obs")
    found += _of_the_names(var_names, "gene", "var")
    found += _of_the_genes(genes, var_names)
    return found


def _of_the_matrix(judged: MatrixFacts | None, counts_in: str | None) -> list[str]:
    if judged is None:
        return [
            "There is no matrix: neither X nor a layer; nothing can be computed from this file."
        ]
    verdict, found = judged.verdict, []
    if verdict.n_values == 0:
        found.append(f"No counts anywhere: {verdict.evidence}.")
    elif counts_in is None:
        found.append(
            f"No raw counts were found ({judged.name}: {verdict.kind}); training needs them, in X or "
            "in a layer."
        )
    elif counts_in == "raw/X":
        found.append("The counts stand in raw/X: add --layer raw where counts are needed.")
    elif counts_in not in ("X", "layers/counts"):
        layer = counts_in.removeprefix("layers/")
        found.append(f"The counts stand in {counts_in}: add --layer {layer} where they are needed.")
    if verdict.are_counts and verdict.largest == 1 and verdict.n_values > judged.shape[0]:
        found.append(
            f"Every nonzero value of {judged.name} is 1: this looks like presence or absence, not "
            "like counts."
        )
    if judged.nonzeros is not None and verdict.n_values:
        empty, of = int((judged.nonzeros == 0).sum()), judged.nonzeros.size
        if empty:
            read = "" if of == judged.shape[0] else f" of the {of:,} looked at"
            found.append(
                f"{_many(empty, 'cell')}{read} without a single count; they tell nothing and can be left out."
            )
    if judged.n_explicit_zeros:
        found.append(
            f"{judged.name} stores {judged.n_explicit_zeros:,} zeros (among the values read) as if "
            "they were values; this costs space and does no other harm."
        )
    return found


def _of_the_values(facts: MatrixFacts) -> list[str]:
    verdict, where = facts.verdict, "" if facts.whole else " among the values read"
    found = []
    for n, what in ((verdict.n_nan, "NaN"), (verdict.n_inf, "infinite")):
        if n:
            found.append(
                f"{facts.name} holds {_many(n, what + ' value')}{where}; repair them first."
            )
    if verdict.n_negative and verdict.kind != "scaled":
        found.append(
            f"{facts.name} holds {_many(verdict.n_negative, 'negative value')}{where} (lowest "
            f"{verdict.smallest:g}); counts are never negative."
        )
    return found


def _of_the_names(names: pd.Index, what: str, table: str) -> list[str]:
    n, example = n_duplicates(names)
    found = []
    if n:
        remedy = f"make them unique with AnnData.{table}_names_make_unique()"
        found.append(
            f"{_many(n, what + ' name')} repeat an earlier one (first {example!r}); {remedy}."
        )
    if len(names) > 1 and np.array_equal(names.astype(str), np.arange(len(names)).astype(str)):
        found.append(
            f"The {what}s are only numbered ({names[0]}, {names[1]}, …): they cannot be recognized "
            "in another file."
        )
    return found


def _of_the_genes(genes: GeneNames, var_names: pd.Index) -> list[str]:
    found = []
    if genes.kind == "mixed":
        share = np.mean([name.startswith("ENS") for name in genes.gene_id.tolist()])
        found.append(
            f"Gene ids are mixed: {100 * share:.0f} % are Ensembl ids, the others symbols; genes "
            "will be matched by whichever fits."
        )
    elif genes.kind == "unknown":
        found.append(
            f"Gene ids are neither Ensembl ids nor symbols (e.g. {str(var_names[0])!r}); genes "
            "cannot be matched to other files."
        )
    n = n_duplicates(pd.Index(genes.gene_id))[0] - n_duplicates(var_names)[0]
    if n > 0:
        column = "" if genes.id_from == "index" else f' in var["{genes.id_from}"]'
        found.append(
            f"{_many(n, 'more gene id')}{column} repeat an earlier one once versions are left out."
        )
    return found


def _many(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
