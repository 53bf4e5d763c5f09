"""Families by the letters of a symbol, and properties of genes from tables."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellwright.data.gene_families import families_from_table, family_of
from cellwright.data.gene_properties import facts_of_table, facts_of_var, gene_properties
from cellwright.data.gene_scores import scores_of_table
from cellwright.data.gene_tables import positions
from cellwright.data.genes import gene_names
from cellwright.errors import DataError

IDS = [f"ENSG0000000000{i}" for i in range(1, 5)]


@pytest.fixture
def genes():
    return gene_names(pd.DataFrame({"gene_name": ["ZNF1", "ZSCAN2", "GATA3", "MYC"]}, index=IDS))


@pytest.mark.parametrize(
    ("symbol", "family"),
    [
        ("ZNF200", "ZNF"),
        ("ZSCAN5A", "ZNF"),
        ("Zfp36", "ZNF"),
        ("GATA1", "GATA"),
        ("Gata4", "GATA"),
        ("HOXA1", "HOX"),
        ("HOXD13", "HOX"),
        ("NKX2-1", "NKX"),
        ("MYC", "MYC"),
        ("MYCN", "MYCN"),
        ("AHRR", "AHRR"),
        ("C1orf21", "C1ORF21"),
        ("LOC100128", "LOC100128"),
        ("KIAA1549", "KIAA1549"),
        ("ENSG00000000001", "ENSG00000000001"),
        ("AC012345.1", "AC012345.1"),
    ],
)
def test_the_rule_of_families(symbol, family):
    assert family_of(symbol) == family


def test_families_of_a_table_and_the_rule_for_the_rest(genes, tmp_path):
    (tmp_path / "f.tsv").write_text("gene\tfamily\nZNF1\tkrab\nMYC\tbhlh\n")
    families, named = families_from_table(genes, tmp_path / "f.tsv")
    assert families.tolist() == ["krab", "ZNF", "GATA", "bhlh"]
    assert named.tolist() == [True, False, False, True]
    (tmp_path / "g.tsv").write_text("gene\tfamily\nActb\tx\n")
    with pytest.raises(DataError, match=r"none of the 4 labelled genes .*ENSG00000000001.*Actb"):
        families_from_table(genes, tmp_path / "g.tsv")


def test_properties_are_what_the_tables_say(genes, tmp_path):
    (tmp_path / "t.tsv").write_text(
        "ensgene\tsymbol\tstart\tend\tbiotype\n"
        f"{IDS[0]}\tx\t101\t1100\tprotein_coding\n"
        f"{IDS[1]}\ty\t1\t100\tpseudogene\n"
        f"{IDS[3]}\tz\t1\t10\tprotein_coding\n"
    )
    facts = facts_of_table(genes, tmp_path / "t.tsv")
    np.testing.assert_array_equal(facts.length_g, [1000, 100, np.nan, 10])
    families = np.array(["ZNF", "ZNF", "GATA", "MYC"])
    found = gene_properties(
        families, facts=facts, median_g=np.array([1.0, 2.0, 4.0, 8.0]), min_family=2
    )
    assert found.columns == (
        "length:log",
        "nonzero median:log",
        "biotype:protein_coding",
        "biotype:pseudogene",
        "family:ZNF",
    )
    np.testing.assert_allclose(found.only("length")[:, 0], np.log([1000, 100, np.nan, 10]))
    np.testing.assert_allclose(found.only("nonzero median")[:, 0], np.log([1, 2, 4, 8]))
    assert found.only("family")[:, 0].tolist() == [1, 1, 0, 0]
    assert list(found.lacks) == ["detection"]


def test_a_var_table_without_lengths_says_so(genes):
    facts = facts_of_var(genes, pd.DataFrame(index=IDS))
    found = gene_properties(np.array(["A", "A", "B", "C"]), facts=facts, min_family=2)
    assert found.columns == ("family:A",)
    assert set(found.lacks) == {"length", "nonzero median", "detection", "biotype"}


def test_tables_of_other_genes_or_without_properties_are_refused(genes, tmp_path):
    path = tmp_path / "t.tsv"
    path.write_text("gene\tlength\nActb\t5\n")
    with pytest.raises(DataError, match="Actb"):
        facts_of_table(genes, path)
    path.write_text("gene\tcolour\nMYC\tred\n")
    with pytest.raises(
        DataError, match=r"neither length .* nor biotype; its columns are gene, colour"
    ):
        facts_of_table(genes, path)
    path.write_text("gene\tlength\nMYC\tlong\n")
    with pytest.raises(DataError, match="holds 'long', expected numbers"):
        facts_of_table(genes, path)
    path.write_text("gene\tlength\nMYC\t-5\n")
    with pytest.raises(DataError, match="the length -5"):
        facts_of_table(genes, path)


def test_a_list_is_a_bit_and_a_table_its_first_numbers(genes, tmp_path):
    path = tmp_path / "s.tsv"
    path.write_text("gene_name\nMYC\nTP53\n")
    assert scores_of_table(genes, path).tolist() == [0, 0, 0, 1]
    path.write_text("gene_name\tprob\nMYC\t0.5\nZNF1\t\n")
    np.testing.assert_array_equal(scores_of_table(genes, path), [np.nan, np.nan, np.nan, 0.5])
    path.write_text("gene_name\nActb\n")
    with pytest.raises(DataError, match="Actb"):
        scores_of_table(genes, path)


def test_genes_are_found_by_id_before_symbol(genes):
    ids = np.array(["MYC", IDS[3], "GATA3"])
    symbols = np.array(["ZNF1", "other", "GATA3"])
    assert positions(genes, ids, symbols).tolist() == [0, -1, 2, 1]
