"""The screen in a user's cells: its perturbation column, old symbols, candidates, cells left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import scipy.sparse as sp

from cellwright.data.gene_tables import read_gene_table, text_of
from cellwright.errors import DataError, SettingsError
from cellwright.perturbation.reverse import Screen, read_screen
from cellwright.representations.expression import log_normalized, root_counts
from cellwright.workflows.subject import Subject

Values = Literal["log", "root"]
VALUES: tuple[Values, ...] = ("log", "root")


def values_of(counts_ng: sp.spmatrix, values: str) -> sp.csr_matrix:
    """What queries are means of: ``log`` of normalized counts, or the ``root`` of counts."""
    return log_normalized(counts_ng) if values == "log" else root_counts(counts_ng)


def refuse_values(values: str, pretrained: object) -> None:
    """Raise where there are no such values, or a pretrained run cannot read them."""
    if values not in VALUES:
        raise SettingsError(f"values is {values!r}, expected {' or '.join(VALUES)}")
    if values != "log" and pretrained is not None:
        raise SettingsError(
            "a pretrained run reads log-normalized values; leave out --values root or --pretrained"
        )


def screen_of(
    subject: Subject, perturbation: str | None, leave_out: Sequence[str] = (), **how: Any
) -> Screen:
    """The screen of the cells, without those whose value of the column is to be left out.

    Parameters
    ----------
    how
        As in :func:`~cellwright.perturbation.reverse.read_screen`.

    Raises
    ------
    SettingsError
        If a value to leave out is not there, or the column is not named.
    DataError
        If there is no screen in the cells.
    """
    obs = subject.cells.obs
    if leave_out and perturbation is None:
        raise SettingsError(
            f"{leave_out[0]!r} is to be left out, but of which column? Name it with --perturbation"
        )
    if leave_out and perturbation in obs.columns:
        obs = obs.copy()
        text = obs[perturbation].astype(str)
        absent = [name for name in leave_out if name not in set(text)]
        if absent:
            raise SettingsError(f"no cell is {absent[0]!r} in {perturbation!r}, to be left out")
        obs[perturbation] = text.where(~text.isin(list(leave_out)) & obs[perturbation].notna())
    return read_screen(obs, perturbation, **how)


def read_aliases(given: Mapping[str, str] | Path | str | None) -> dict[str, str]:
    """Old symbols to new ones, from a mapping or the first two columns of a table.

    Raises
    ------
    DataError
        If the table has one column or cannot be read.
    """
    if given is None or isinstance(given, Mapping):
        return dict(given or {})
    table = read_gene_table(given)
    if len(table.columns) < 2:
        raise DataError(f"{given} has one column, expected old symbols and new ones")
    old, new = (text_of(table[c]).tolist() for c in table.columns[:2])
    return {a: b for a, b in zip(old, new, strict=True) if a and b}


def read_candidates(given: Sequence[str] | Path | str | None) -> list[str] | None:
    """Genes that may be the answer, listed or in a file, one a line; None stays None.

    Raises
    ------
    DataError
        If the file cannot be read or is empty.
    """
    if given is None or not isinstance(given, Path | str):
        return None if given is None else list(given)
    try:
        lines = Path(given).read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{given} cannot be read as a list of genes, one a line: {error}") from None
    if not lines:
        raise DataError(f"{given} holds no gene")
    return lines
