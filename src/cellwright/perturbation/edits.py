"""What can be done to the genes of a cell on paper: delete them, raise them, scale them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from cellwright.config import nearest
from cellwright.data.genes import strip_versions
from cellwright.errors import DataError, SettingsError

Kind = Literal["delete", "raise", "scale"]
KINDS: tuple[str, ...] = get_args(Kind)


@dataclass(frozen=True)
class Edit:
    """One change to the genes of a cell.

    kind: ``delete`` takes the genes out, ``raise`` puts them in front of all others in the order
    given, ``scale`` multiplies their values by ``factor``. genes: ids of the model, one or a set
    that is edited together.

    Raises
    ------
    SettingsError
        For an unknown kind, no gene, a gene twice, or a factor that is missing, out of place or
        not above 0.
    """

    kind: Kind
    genes: tuple[str, ...]
    factor: float | None = None

    def __post_init__(self) -> None:
        check_kind(self.kind, self.factor)
        if not self.genes:
            raise SettingsError(f"there is no gene to {self.kind}; name one or more")
        twice = [gene for gene in self.genes if self.genes.count(gene) > 1]
        if twice:
            raise SettingsError(f"the gene {twice[0]} stands twice in one set; name it once")


def check_kind(kind: str, factor: float | None) -> None:
    """Raise SettingsError unless ``kind`` is one of the three and ``factor`` goes with it."""
    if kind not in KINDS:
        raise SettingsError(f"the edit is {kind!r}, expected one of {', '.join(KINDS)}")
    if kind != "scale":
        if factor is not None:
            raise SettingsError(
                f"a factor of {factor:g} was given, but to {kind} needs none; it goes with scale"
            )
        return
    if factor is None:
        raise SettingsError("to scale a gene needs a factor, and none was given; say --factor")
    if not (math.isfinite(factor) and factor > 0):
        raise SettingsError(
            f"the factor is {factor:g}, expected a number above 0; to take a gene out, delete it"
        )


def edit_order(
    tokens_t: NDArray[np.int32],
    values_t: NDArray[np.float64],
    columns_t: NDArray[np.int32],
    edited: Sequence[int],
    kind: Kind,
    factor: float | None = None,
) -> NDArray[np.int32]:
    """The ranked genes of one cell after an edit.

    Parameters
    ----------
    tokens_t
        All genes of the cell that have a token, highest first: those that would be cut off by the
        model's input size too, because they move up when others leave.
    values_t, columns_t
        Their values, descending, and their columns, by which equal values are ordered.
    edited
        Tokens to edit; to ``delete`` or ``scale`` one that the cell lacks changes nothing.

    Returns
    -------
    The new order; the genes that are not edited keep theirs.
    """
    held_t = np.isin(tokens_t, np.asarray(edited, dtype=tokens_t.dtype))
    others_t = tokens_t[~held_t]
    if kind == "delete":
        return others_t
    if kind == "raise":
        return np.concatenate([np.asarray(edited, dtype=tokens_t.dtype), others_t])
    if factor is None or not held_t.any():
        return tokens_t
    value, column = values_t[held_t] * factor, columns_t[held_t]
    order = np.lexsort((column, -value))
    value, column = value[order], column[order]
    rest_value, rest_column = values_t[~held_t], columns_t[~held_t]
    # How many of the others come before: values descend, and of equal ones the first column leads.
    before = (rest_value > value[:, None]) | (
        (rest_value == value[:, None]) & (rest_column < column[:, None])
    )
    return np.insert(others_t, before.sum(axis=1), tokens_t[held_t][order])


def find_genes(
    names: Sequence[str], gene_ids: NDArray[np.str_], symbols: NDArray[np.str_]
) -> tuple[int, ...]:
    """Where genes stand in a vocabulary, by id (a version is ignored) or symbol.

    Raises
    ------
    DataError
        For a name that is not there (the nearest is named) or a symbol of several ids.
    """
    return tuple(_find(name, gene_ids, symbols) for name in names)


def _find(name: str, gene_ids: NDArray[np.str_], symbols: NDArray[np.str_]) -> int:
    bare = str(strip_versions(np.array([name]))[0])
    at = np.flatnonzero(gene_ids == bare)
    if not at.size:
        at = np.flatnonzero(symbols == name)
    if at.size == 1:
        return int(at[0])
    if at.size:
        raise DataError(
            f"the symbol {name!r} belongs to {at.size} genes of the vocabulary "
            f"({', '.join(gene_ids[at].tolist())}); give one of these ids"
        )
    raise DataError(f"there is no gene {name!r} in the vocabulary; {near(name, gene_ids, symbols)}")


def near(name: str, gene_ids: NDArray[np.str_], symbols: NDArray[np.str_]) -> str:
    """A hint that names the closest of some genes, or the first few."""
    folded = {str(s).casefold(): str(s) for s in (*gene_ids.tolist(), *symbols.tolist())}
    close = folded.get(name.casefold()) or nearest(name, symbols.tolist())
    close = close or nearest(name, gene_ids.tolist())
    if close:
        return f"did you mean {close!r}?"
    return f"genes there: {', '.join(symbols[:5].tolist())} …"
