"""Genes are known by the names their table gives them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellwright.data.genes import gene_names, strip_versions

ENSEMBL = ["ENSG00000141510", "ENSG00000104290", "ENSG00000075624"]
SYMBOLS = ["TP53", "FZD3", "ACTB"]


def test_ensembl_ids_as_names_with_symbols_beside():
    var = pd.DataFrame({"gene_symbol": pd.Categorical(SYMBOLS)}, index=ENSEMBL)
    found = gene_names(var)
    assert found.gene_id.tolist() == ENSEMBL
    assert found.gene_symbol.tolist() == SYMBOLS
    assert (found.kind, found.organism) == ("ensembl", "human")
    assert (found.id_from, found.symbol_from) == ("index", "gene_symbol")


@pytest.mark.parametrize("column", ["gene_ids", "ensembl_id", "Gene ID", "gene_id", "feature_id"])
def test_symbols_as_names_with_ids_beside(column):
    found = gene_names(pd.DataFrame({column: ENSEMBL, "n_cells": [1, 2, 3]}, index=SYMBOLS))
    assert found.gene_id.tolist() == ENSEMBL
    assert found.gene_symbol.tolist() == SYMBOLS
    assert (found.kind, found.id_from, found.symbol_from) == ("ensembl", column, "index")


def test_a_gene_id_column_without_ids_is_not_believed():
    found = gene_names(pd.DataFrame({"gene_id": ["1", "2", "3"]}, index=SYMBOLS))
    assert found.gene_id.tolist() == SYMBOLS
    assert (found.kind, found.id_from) == ("symbol", "index")


@pytest.mark.parametrize(
    "column", ["feature_name", "gene_name", "symbol", "Symbol", "gene_symbols", "gene_short_name"]
)
def test_symbol_columns(column):
    found = gene_names(pd.DataFrame({column: SYMBOLS}, index=ENSEMBL))
    assert found.gene_symbol.tolist() == SYMBOLS


def test_versions_are_left_out():
    given = ["ENSG00000141510.17", "ENSMUSG00000059552.9", "ENSG00000182378.15_PAR_Y", "TP53.1"]
    expected = ["ENSG00000141510", "ENSMUSG00000059552", "ENSG00000182378_PAR_Y", "TP53.1"]
    assert strip_versions(np.array(given)).tolist() == expected
    found = gene_names(pd.DataFrame(index=[f"{i}.3" for i in ENSEMBL]))
    assert found.gene_id.tolist() == ENSEMBL
    assert found.gene_symbol.tolist() == ENSEMBL


@pytest.mark.parametrize(
    ("names", "kind", "organism"),
    [
        (SYMBOLS, "symbol", "human"),
        (["Trp53", "Fzd3", "Actb", "Gm1992", "0610007P14Rik"], "symbol", "mouse"),
        (["C1orf21", "ACTB", "HLA-A", "GAD1", "SST"], "symbol", "human"),
        (["ENSMUSG00000059552", "ENSMUSG00000029580"], "ensembl", "mouse"),
        (["ENSRNOG00000010756", "ENSRNOG00000034254"], "ensembl", "rat"),
        ([ENSEMBL[0], "ENSMUSG00000029580"], "ensembl", "human and mouse"),
        ([*ENSEMBL, *SYMBOLS], "mixed", "human"),
        (["0", "1", "2"], "unknown", None),
        (["1007_s_at", "1053_at"], "unknown", None),
        (["a", "b"], "symbol", None),
    ],
)
def test_kind_and_organism(names, kind, organism):
    found = gene_names(pd.DataFrame(index=names))
    assert (found.kind, found.organism) == (kind, organism)


def test_gaps_are_filled_with_what_is_known():
    var = pd.DataFrame({"gene_symbol": ["TP53", None, np.nan]}, index=ENSEMBL)
    assert gene_names(var).gene_symbol.tolist() == ["TP53", *ENSEMBL[1:]]
    var = pd.DataFrame({"gene_id": [ENSEMBL[0], None, ENSEMBL[2]]}, index=SYMBOLS)
    found = gene_names(var)
    assert found.gene_id.tolist() == [ENSEMBL[0], "FZD3", ENSEMBL[2]]
    assert found.kind == "mixed"


def test_the_table_stays_as_it_is():
    var = pd.DataFrame({"gene_symbol": SYMBOLS}, index=ENSEMBL)
    before = var.copy()
    gene_names(var)
    pd.testing.assert_frame_equal(var, before)


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("whb_neurons", "ensembl"),
        ("pbmc3k", "symbol"),
        ("darmanis2015", "symbol"),
        ("datlinger2017", "mixed"),
    ],
)
def test_real_tables(real_data, folder, kind):
    from cellwright.data.reading import read_cells

    (path,) = (real_data / folder).glob("*.h5ad")
    found = gene_names(read_cells(path, backed=True).var)
    assert (found.kind, found.organism) == (kind, "human")
    assert found.gene_id.shape == found.gene_symbol.shape
