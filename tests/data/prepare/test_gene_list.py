"""Lists of genes as people keep them, matched to names, ids and symbols."""

from __future__ import annotations

import pandas as pd
import pytest

from cellwright.data.prepare.gene_list import match_genes, read_gene_list
from cellwright.errors import DataError

VAR = pd.DataFrame(
    {"gene_symbol": ["TP53", "SST", "PVALB", "SST"]},
    index=[
        "ENSG00000141510.17",
        "ENSG00000157005.4",
        "ENSG00000100362.13",
        "ENSG00000999999.1",
    ],
)


@pytest.mark.parametrize(
    "text",
    [
        "TP53\nSST\n",
        "\ufeff# my genes\nTP53   # the guardian\n\n  SST\t\r\n",
        "TP53,0.2\nSST,0.1\n",
        '"TP53"\tx\n"SST"\ty\n',
        "TP53, SST",
        "TP53;SST\n",
    ],
)
def test_forms_of_a_list(tmp_path, text):
    (tmp_path / "genes.txt").write_text(text, encoding="utf-8")
    assert read_gene_list(tmp_path / "genes.txt") == ["TP53", "SST"]


@pytest.mark.parametrize(
    ("names", "columns"),
    [
        (["ENSG00000141510.17"], [0]),
        (["ENSG00000141510"], [0]),
        (["ENSG00000141510.3"], [0]),
        (["PVALB", "TP53"], [0, 2]),
        (["SST"], [1, 3]),
        (["gene_symbol", "PVALB"], [2]),
    ],
)
def test_by_name_by_id_by_symbol(names, columns):
    found = match_genes(names, VAR)
    assert found.columns.tolist() == columns
    assert found.missing == []


def test_what_is_not_found_is_counted_and_listed():
    listed = ["TP53", "TP53", "SST", *(f"NO{i}" for i in range(7))]
    found = match_genes(listed, VAR)
    assert (found.n_listed, found.n_repeated, found.n_several) == (9, 1, 1)
    assert found.text() == (
        "3 genes by 9 names of the list (1 more lines repeat one); 1 names stand for several genes, "
        "all taken; 7 not found: NO0, NO1, NO2, NO3, NO4, …"
    )


def test_a_gene_called_like_a_header_is_a_gene():
    var = pd.DataFrame(index=["GENE", "ID"])
    assert match_genes(["ID", "GENE"], var).columns.tolist() == [0, 1]


def test_none_found_names_both_sides():
    with pytest.raises(DataError, match="none of the 2 genes") as caught:
        match_genes(["Pvalb", "Sst"], VAR)
    assert "capitals matter: 'Pvalb' is 'PVALB' there" in str(caught.value)
    assert "ENSG00000141510.17" in str(caught.value)


def test_none_found_names_the_nearest():
    with pytest.raises(DataError, match="did you mean 'PVALB' by 'PVALP'"):
        match_genes(["PVALP"], VAR)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"# nothing\n\n", "names no gene"),
        (b"\xff\xfe\x00x", "not UTF-8"),
        (None, "no list of genes"),
    ],
)
def test_no_list(tmp_path, content, told):
    path = tmp_path / "genes.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=told) as caught:
        read_gene_list(path)
    assert "genes.txt" in str(caught.value)
