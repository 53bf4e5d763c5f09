"""Edits of one cell's order against lists of plain Python, and what cannot be edited."""

from __future__ import annotations

import numpy as np
import pytest

from cellwright.errors import DataError, SettingsError
from cellwright.perturbation.edits import Edit, edit_order, find_genes


def plainly(cell, edited, kind, factor):
    """cell: (token, value, column) in any order."""
    changed = [
        (token, value * factor if kind == "scale" and token in edited else value, column)
        for token, value, column in cell
    ]
    changed.sort(key=lambda gene: (-gene[1], gene[2]))
    order = [token for token, _, _ in changed]
    if kind == "scale":
        return order
    rest = [token for token in order if token not in edited]
    return rest if kind == "delete" else [*edited, *rest]


@pytest.mark.parametrize("kind", ["delete", "raise", "scale"])
@pytest.mark.parametrize("seed", range(8))
def test_an_edited_order_is_that_of_a_plain_sort(kind, seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    columns = rng.permutation(100)[:n]
    # Few different values: many ties, also between an edited gene and others.
    values = rng.choice([0.5, 1.0, 2.0, 4.0, 8.0], n)
    tokens = rng.permutation(200)[:n] + 2
    order = np.lexsort((columns, -values))
    tokens, values, columns = tokens[order], values[order], columns[order]
    # Some that the cell holds and one that it lacks.
    edited = [*rng.choice(tokens, min(3, n), replace=False).tolist(), 999]
    factor = {"scale": float(rng.choice([0.25, 0.5, 2.0, 3.0]))}.get(kind)
    found = edit_order(
        tokens.astype(np.int32), values, columns.astype(np.int32), edited, kind, factor
    )
    cell = list(zip(tokens.tolist(), values.tolist(), columns.tolist(), strict=True))
    assert found.tolist() == plainly(cell, edited, kind, factor)


def test_genes_are_found_by_id_with_version_and_by_symbol():
    ids = np.array(["ENSG00000000001", "ENSG00000000002", "ENSG00000000003"])
    symbols = np.array(["SPI1", "TWIN", "TWIN"])
    assert find_genes(["SPI1", "ENSG00000000002.7"], ids, symbols) == (0, 1)
    with pytest.raises(DataError, match=r"'TWIN' belongs to 2.*ENSG00000000002, ENSG00000000003"):
        find_genes(["TWIN"], ids, symbols)
    with pytest.raises(DataError, match=r"'SPI2'.*did you mean 'SPI1'"):
        find_genes(["SPI2"], ids, symbols)
    with pytest.raises(DataError, match=r"'spi1'.*did you mean 'SPI1'"):
        find_genes(["spi1"], ids, symbols)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"kind": "erase", "genes": ("A",)}, "'erase'"),
        ({"kind": "delete", "genes": ()}, "no gene to delete"),
        ({"kind": "delete", "genes": ("A", "B", "A")}, "A stands twice"),
        ({"kind": "scale", "genes": ("A",)}, "--factor"),
        ({"kind": "scale", "genes": ("A",), "factor": 0.0}, "factor is 0"),
        ({"kind": "scale", "genes": ("A",), "factor": -1.5}, "factor is -1.5"),
        ({"kind": "scale", "genes": ("A",), "factor": float("nan")}, "factor is nan"),
        ({"kind": "raise", "genes": ("A",), "factor": 2.0}, "factor of 2"),
    ],
)
def test_an_edit_that_cannot_be_says_what_was_given(how, words):
    with pytest.raises(SettingsError, match=words):
        Edit(**how)
