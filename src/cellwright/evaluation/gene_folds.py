"""Which genes train and which are held out: repeated stratified folds, and whole families.

Genes are drawn by name, so their order does not matter. A repeat is another draw of all folds;
every gene is held out once per repeat.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cellwright.data.gene_labels import require_genes_per_class
from cellwright.errors import DataError, SettingsError
from cellwright.evaluation.comparison import FEWEST_UNITS
from cellwright.evaluation.folds import Design, Fold, grouped_folds
from cellwright.evaluation.intervals import units_worth

GENES, FAMILIES = "repeated", "grouped"


def repeated_folds(
    codes_g: NDArray[np.int64],
    gene_ids_g: NDArray[np.str_],
    *,
    folds: int = 5,
    repeats: int = 3,
    seed: int = 0,
    classes: Sequence[str],
) -> Design:
    """Single genes held out, every class dealt out evenly over the folds.

    Returns
    -------
    A design of ``folds × repeats`` folds, those of a repeat one after another; its unit is genes.

    Raises
    ------
    DataError
        If a class has fewer genes than folds.
    SettingsError
        If ``folds`` is below 2 or ``repeats`` below 1.
    """
    _require_counts(folds, repeats)
    require_genes_per_class(codes_g, classes, folds, "among the genes compared")
    made = []
    for repeat in range(repeats):
        rng = np.random.default_rng([seed, repeat])
        fold_g = np.full(len(codes_g), -1)
        start = 0
        for code in np.unique(codes_g[codes_g >= 0]):
            rows = np.flatnonzero(codes_g == code)
            rows = rng.permutation(rows[np.argsort(gene_ids_g[rows], kind="stable")])
            # The next class goes on where this one stopped, so that folds are of one size.
            fold_g[rows] = (start + np.arange(len(rows))) % folds
            start += len(rows)
        made += [
            Fold(np.flatnonzero((fold_g >= 0) & (fold_g != f)), np.flatnonzero(fold_g == f))
            for f in range(folds)
        ]
    return Design(GENES, "genes", "genes", tuple(made))


def family_folds(
    codes_g: NDArray[np.int64],
    families_g: NDArray[np.str_],
    gene_ids_g: NDArray[np.str_],
    *,
    folds: int = 5,
    repeats: int = 3,
    seed: int = 0,
    classes: Sequence[str],
) -> Design:
    """Whole families held out, so that a family's name, length or level gives nothing away.

    Intervals are over families, unless one or few hold so many of the genes that all together are
    worth fewer than six: then over genes, and the note says so.

    Raises
    ------
    DataError
        With fewer than two families, or if holding families out leaves one class to learn from.
    SettingsError
        If ``folds`` is below 2 or ``repeats`` below 1.
    """
    _require_counts(folds, repeats)
    order = np.argsort(gene_ids_g, kind="stable")
    made: list[Fold] = []
    note = ""
    for repeat in range(repeats):
        try:
            drawn = grouped_folds(
                codes_g[order],
                families_g[order],
                group_name="family",
                folds=folds,
                seed=int(np.random.default_rng([seed, repeat]).integers(2**31)),
                classes=classes,
            )
        except DataError as error:
            raise DataError(f"family-grouped folds are not possible: {error}") from None
        made += [Fold(np.sort(order[f.train]), np.sort(order[f.test])) for f in drawn.folds]
        note = drawn.note
    unit = "families"
    names_u, sizes_u = np.unique(families_g[codes_g >= 0], return_counts=True)
    worth = units_worth(sizes_u)
    if worth < FEWEST_UNITS:
        unit = "genes"
        largest = int(sizes_u.argmax())
        said = (
            f"{sizes_u[largest]} of {sizes_u.sum()} genes in the family {names_u[largest]}: its "
            f"{len(names_u)} families are worth {worth:.1f} of one size, too few for intervals over "
            "families, and those over genes say nothing about new families"
        )
        note = f"{note}; {said}" if note else said
    return Design(FAMILIES, "families", unit, tuple(made), note)


def _require_counts(folds: int, repeats: int) -> None:
    if folds < 2:
        raise SettingsError(f"folds is {folds}; cross-validation needs at least 2")
    if repeats < 1:
        raise SettingsError(f"repeats is {repeats}; at least one round of folds is needed")
