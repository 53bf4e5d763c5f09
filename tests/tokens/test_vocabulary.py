"""Genes in order, found again in other data by id, symbol or alias."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellwright.errors import DataError, RunError
from cellwright.tokens.vocabulary import Vocabulary

IDS = ["ENSG00000128683", "ENSG00000104888", "ENSG00000157005", "ENSG00000100362"]
SYMBOLS = ["GAD1", "SLC17A7", "SST", "PVALB"]


def var_of(ids: list[str], symbols: list[str] | None = None) -> pd.DataFrame:
    return pd.DataFrame({} if symbols is None else {"gene_symbol": symbols}, index=ids)


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary(np.array(IDS), np.array(SYMBOLS), (("GAD", "GAD67"), (), (), ("PVB",)))


def test_from_var_keeps_order_and_drops_versions() -> None:
    found = Vocabulary.from_var(var_of([f"{i}.7" for i in IDS], SYMBOLS))
    assert found.gene_ids.tolist() == IDS
    assert found.symbols.tolist() == SYMBOLS


def test_from_var_keeps_the_first_place_of_a_repeated_gene() -> None:
    found = Vocabulary.from_var(var_of([IDS[2], IDS[0], IDS[2] + ".3", IDS[1]]))
    assert found.gene_ids.tolist() == [IDS[2], IDS[0], IDS[1]]


def test_from_var_reads_aliases() -> None:
    var = var_of(IDS, SYMBOLS).assign(alias_symbol=["GAD|GAD67", "", np.nan, "PVB"])
    assert Vocabulary.from_var(var).aliases == (("GAD", "GAD67"), (), (), ("PVB",))


def test_save_and_load_give_the_same_genes(vocabulary: Vocabulary, tmp_path) -> None:
    vocabulary.save(tmp_path / "vocabulary.tsv")
    again = Vocabulary.load(tmp_path / "vocabulary.tsv")
    assert again.gene_ids.tolist() == IDS
    assert again.symbols.tolist() == SYMBOLS
    assert again.aliases == vocabulary.aliases
    assert [p.name for p in tmp_path.iterdir()] == ["vocabulary.tsv"]


@pytest.mark.parametrize(
    ("names", "why"),
    [
        (IDS, "ids"),
        ([f"{i}.12" for i in IDS], "ids with version"),
        (SYMBOLS, "symbols"),
        (["GAD67", "SLC17A7", "SST", "PVB"], "aliases"),
    ],
)
def test_align_finds_genes_by_any_name(vocabulary: Vocabulary, names: list[str], why: str) -> None:
    order = [3, 1, 0, 2]
    found = vocabulary.align(var_of([names[i] for i in order]))
    assert found.columns_g.tolist() == [2, 1, 3, 0], why
    assert found.coverage == 1.0
    assert found.missing == []


def test_align_by_symbol_where_the_vocabulary_has_symbols_only() -> None:
    ours = Vocabulary.from_var(var_of(SYMBOLS))
    found = ours.align(var_of(IDS[::-1], SYMBOLS[::-1]))
    assert found.columns_g.tolist() == [3, 2, 1, 0]


def test_align_reports_what_is_missing(vocabulary: Vocabulary) -> None:
    found = vocabulary.align(var_of(["ENSG00000000003", IDS[2]]))
    assert found.columns_g.tolist() == [-1, -1, 1, -1]
    assert found.coverage == 0.25
    assert found.missing == ["GAD1", "SLC17A7", "PVALB"]


def test_an_id_is_never_mixed_with_another_id_of_the_same_symbol(vocabulary: Vocabulary) -> None:
    # A column whose id is another gene's but whose symbol is SST must not be added to SST.
    found = vocabulary.align(var_of([IDS[2], "ENSG00000999999"], ["SST", "SST"]))
    assert found.genes_m.tolist() == [2, -1]


def test_a_retired_id_is_found_by_its_symbol(vocabulary: Vocabulary) -> None:
    found = vocabulary.align(var_of([IDS[0], "ENSG00000999999"], ["GAD1", "SST"]))
    assert found.genes_m.tolist() == [0, 2]


def test_take_matches_a_plain_loop_and_adds_duplicates(vocabulary: Vocabulary) -> None:
    rng = np.random.default_rng(0)
    names = [IDS[3], "ENSG00000000003", IDS[0], IDS[3] + ".2", IDS[1], IDS[3]]
    counts = rng.poisson(1.0, (7, len(names)))
    found = vocabulary.align(var_of(names))
    assert found.n_summed == 2
    taken = vocabulary.take(sp.csr_matrix(counts), found)
    expected = np.zeros((7, 4))
    for column, name in enumerate(names):
        for gene, gene_id in enumerate(IDS):
            if name.split(".")[0] == gene_id:
                expected[:, gene] += counts[:, column]
    assert sp.isspmatrix_csr(taken)
    assert taken.dtype == counts.dtype
    assert taken.has_sorted_indices
    np.testing.assert_array_equal(taken.toarray(), expected)
    np.testing.assert_array_equal(vocabulary.take(counts, found).toarray(), expected)
    np.testing.assert_array_equal(vocabulary.take(sp.csc_matrix(counts), found).toarray(), expected)


def test_take_refuses_counts_of_other_data(vocabulary: Vocabulary) -> None:
    found = vocabulary.align(var_of(IDS))
    with pytest.raises(DataError, match=r"5 genes.*made for 4"):
        vocabulary.take(np.ones((2, 5)), found)


def test_no_overlap_names_both_sides_and_the_organisms(vocabulary: Vocabulary) -> None:
    mouse = var_of(["Gad1", "Slc17a7", "Sst", "Pvalb"])
    with pytest.raises(DataError) as caught:
        vocabulary.align(mouse)
    text = str(caught.value)
    for part in ("none of the 4 genes", IDS[0], "GAD1", "Gad1", "look like mouse", "like human"):
        assert part in text
    with pytest.raises(DataError, match="mouse"):
        vocabulary.align(var_of(["ENSMUSG00000070880", "ENSMUSG00000070570"]))
    with pytest.raises(DataError, match="0 variables"):
        vocabulary.align(pd.DataFrame(index=[]))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "an empty file"),
        ("a\tb\n1\t2\n", "a\\tb"),
        ("gene_id\tgene_symbol\taliases\nENSG1\n", "line 2 has 1 columns"),
        ("gene_id\tgene_symbol\taliases\n", "at least one gene"),
        ("gene_id\tgene_symbol\taliases\nA\tA\t\nA\tB\t\n", "'A' occurs 2 times"),
    ],
)
def test_load_refuses_foreign_and_damaged_files(tmp_path, content: str, said: str) -> None:
    path = tmp_path / "vocabulary.tsv"
    path.write_text(content)
    with pytest.raises(RunError, match=re.escape(said)) as caught:
        Vocabulary.load(path)
    assert str(path) in str(caught.value)


def test_load_names_a_missing_file(tmp_path) -> None:
    with pytest.raises(RunError, match=r"no vocabulary at .*gone\.tsv"):
        Vocabulary.load(tmp_path / "gone.tsv")


def test_load_refuses_bytes_that_are_no_text(tmp_path) -> None:
    (tmp_path / "v.tsv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(RunError, match=r"v\.tsv is not a vocabulary"):
        Vocabulary.load(tmp_path / "v.tsv")


def test_bad_vocabularies_are_refused() -> None:
    with pytest.raises(DataError, match="0 variables"):
        Vocabulary.from_var(pd.DataFrame(index=[]))
    with pytest.raises(DataError, match="'A' occurs 2 times"):
        Vocabulary(np.array(["A", "A"]), np.array(["x", "y"]))
    with pytest.raises(DataError, match="2 gene ids, 1 symbols"):
        Vocabulary(np.array(["A", "B"]), np.array(["x"]))
