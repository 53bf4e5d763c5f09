"""Rank vocabularies: the published tables, pickled dictionaries, medians of one's own cells."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellwright.errors import DataError
from cellwright.interfaces import RowBlock
from cellwright.tokens.nonzero_medians import NonzeroMedians
from cellwright.tokens.rank_coverage import judge_coverage
from cellwright.tokens.rank_vocabulary import RankVocabulary

SPECIAL = {"<pad>": 0, "<mask>": 1}


def small(**changed: object) -> RankVocabulary:
    given = {
        "gene_ids": np.array(["ENSG00000000001", "ENSG00000000002", "ENSG00000000003"]),
        "symbols": np.array(["AAA", "BBB", "CCC"]),
        "medians_g": np.array([0.1, 1 / 3, 2.0]),
        "token_ids_g": np.array([4, 2, 3]),
        "special": SPECIAL,
    }
    return RankVocabulary(**(given | changed))  # type: ignore[arg-type]


def test_published_tables(real_data: Path) -> None:
    folder = real_data / "geneformer_vocab"
    older = RankVocabulary.from_tsv(folder / "geneformer_gc30M_vocab.tsv.gz")
    newer = RankVocabulary.from_tsv(folder / "geneformer_gc95M_vocab.tsv.gz")
    assert (len(older), older.n_tokens, older.max_tokens) == (25424, 25426, 2048)
    assert (len(newer), newer.n_tokens, newer.max_tokens) == (20271, 20275, 4096)
    assert (older.pad_id, older.mask_id, older.cls_id, older.eos_id) == (0, 1, None, None)
    assert (newer.cls_id, newer.eos_id) == (2, 3)
    assert older.organism == "human"
    table = pd.read_csv(folder / "geneformer_gc30M_vocab.tsv.gz", sep="\t", keep_default_na=False)
    table = table[table["ensembl_id"].str.startswith("ENSG")]
    np.testing.assert_array_equal(older.gene_ids, table["ensembl_id"])
    np.testing.assert_array_equal(older.token_ids_g, table["token"])
    np.testing.assert_array_equal(older.medians_g, table["median_nonzero"].astype(float))
    named = table["symbols"] != ""
    np.testing.assert_array_equal(older.symbols[named], table["symbols"][named])


def test_saved_and_read_again_to_the_last_bit(tmp_path: Path) -> None:
    for vocabulary in (small(), small(n_cells_g=np.array([3, 10, 9]))):
        vocabulary.save(tmp_path / "v.tsv")
        packed = tmp_path / "v.tsv.gz"
        packed.write_bytes(gzip.compress((tmp_path / "v.tsv").read_bytes()))
        for path in (tmp_path / "v.tsv", packed):
            again = RankVocabulary.from_tsv(path)
            for name in ("gene_ids", "symbols", "medians_g", "token_ids_g"):
                np.testing.assert_array_equal(getattr(again, name), getattr(vocabulary, name))
            assert dict(again.special) == SPECIAL
            assert again.rare == vocabulary.rare
    assert vocabulary.rare == ["AAA", "CCC"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"special": {"<mask>": 1}}, "without <pad> it was given .special tokens there: <mask>."),
        ({"special": {}}, "without <pad> and <mask> it was given"),
        ({"special": SPECIAL | {"<cls>": 9}}, "there: <pad>, <mask>, <cls>"),
        ({"token_ids_g": np.array([2, 2, 3])}, "token id 2 twice"),
        ({"token_ids_g": np.array([1, 2, 3])}, "token id 1 twice"),
        ({"medians_g": np.array([1.0, 0.0, 2.0])}, "ENSG00000000002 is 0.0"),
        ({"medians_g": np.array([1.0, 2.0, np.nan])}, "ENSG00000000003 is nan"),
        ({"medians_g": np.array([1.0, 2.0])}, "3 genes, 2 medians"),
        ({"symbols": np.array(["A"])}, "1 symbols"),
    ],
)
def test_what_is_no_vocabulary(changed: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=said):
        small(**changed)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "an empty file"),
        ("gene\ttoken\n", r"starts with 'gene\\ttoken'"),
        ("ensembl_id\ttoken\tmedian_nonzero\tsymbols\n<pad>\t0\t\t\n", "has no genes"),
        ("ensembl_id\ttoken\tmedian_nonzero\tsymbols\nENSG1\tx\t2.0\tA\n", "line 2 is .ENSG1"),
        ("ensembl_id\ttoken\tmedian_nonzero\tsymbols\nENSG1\t2\n", "line 2 is .ENSG1"),
        ("ensembl_id\ttoken\tmedian_nonzero\tsymbols\nENSG1\t2\t2.0\tA\n", "special tokens"),
    ],
)
def test_what_is_no_table(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "v.tsv"
    path.write_text(text)
    with pytest.raises(DataError, match=said):
        RankVocabulary.from_tsv(path)
    with pytest.raises(DataError, match=r"no rank vocabulary at .*none\.tsv"):
        RankVocabulary.from_tsv(tmp_path / "none.tsv")
    path.write_bytes(b"\x1f\x8b broken")
    with pytest.raises(DataError, match=r"v\.tsv is not a rank vocabulary"):
        RankVocabulary.from_tsv(path)
    # A whole header before a stream of nonsense is another error of Python's than a broken header.
    path.write_bytes(gzip.compress(b"ensembl_id")[:10] + b"\xff" * 50)
    with pytest.raises(DataError, match=r"v\.tsv is not a rank vocabulary"):
        RankVocabulary.from_tsv(path)


def training(cells: int = 400, genes: int = 30) -> sp.csr_matrix:
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(0.5, 1.0, genes) * rng.gamma(4.0, 0.3, (cells, 1)))
    counts[:, 5] = 0
    counts[:, 6] = 0
    counts[:9, 6] = 1
    return sp.csr_matrix(counts)


def blocks_of(counts: sp.csr_matrix, size: int) -> list[RowBlock]:
    rows = np.arange(counts.shape[0])
    return [
        RowBlock(counts[i : i + size], rows[i : i + size].astype(str), rows[i : i + size])
        for i in range(0, counts.shape[0], size)
    ]


def plain_medians(counts: sp.csr_matrix) -> np.ndarray:
    dense = counts.toarray().astype(float)
    share = dense / np.maximum(dense.sum(1, keepdims=True), 1) * 1e4
    return np.array([np.median(c[c > 0]) if c.any() else np.nan for c in share.T])


@pytest.mark.parametrize("size", [17, 400])
def test_medians_of_training_cells_are_exact(size: int) -> None:
    counts = training()
    ids = np.array([f"ENSG{i:011d}" for i in range(30)])
    found = RankVocabulary.from_training(blocks_of(counts, size), ids, np.char.add("S", ids))
    expected = plain_medians(counts)
    seen = ~np.isnan(expected)
    assert not seen[5]
    np.testing.assert_array_equal(found.gene_ids, ids[seen])
    np.testing.assert_array_equal(found.symbols, np.char.add("S", ids)[seen])
    np.testing.assert_array_equal(found.medians_g, expected[seen])
    np.testing.assert_array_equal(found.n_cells_g, np.asarray((counts > 0).sum(0)).ravel()[seen])
    assert "SENSG00000000006" in found.rare
    assert found.token_ids_g.tolist() == list(range(2, 2 + int(seen.sum())))
    with_cls = RankVocabulary.from_training(blocks_of(counts, size), ids, with_cls=True)
    assert (with_cls.eos_id, with_cls.token_ids_g[0]) == (3, 4)


def test_columns_of_one_id_are_one_gene() -> None:
    counts = training()
    ids = np.array([f"G{i % 20}" for i in range(30)])
    found = RankVocabulary.from_training(blocks_of(counts, 50), ids)
    summed = counts[:, :20].toarray()
    summed[:, :10] += counts[:, 20:].toarray()
    expected = plain_medians(sp.csr_matrix(summed))
    seen = np.flatnonzero(~np.isnan(expected))
    assert found.gene_ids.tolist() == [f"G{i}" for i in seen]
    np.testing.assert_array_equal(found.medians_g, expected[seen])


def test_beyond_the_bound_medians_are_within_the_error_stated() -> None:
    counts = training(3000)
    store = NonzeroMedians(30, exact_values=10_000)
    store._gather()
    for block in blocks_of(counts, 500):
        store.add(block.counts_ng)
        store._gather()
    found, cells_g = store.medians()
    expected = plain_medians(counts)
    assert 0 < store.relative_error < 0.004
    seen = cells_g > 0
    assert (seen == ~np.isnan(expected)).all()
    # Of an even number of values the two in the middle are each within the bound.
    np.testing.assert_allclose(found[seen], expected[seen], rtol=1.01 * store.relative_error)


def test_training_cells_that_say_nothing() -> None:
    with pytest.raises(DataError, match="0 cells × 3 genes"):
        RankVocabulary.from_training([], np.array(["a", "b", "c"]))
    with pytest.raises(DataError, match="4 cells × 2 genes"):
        RankVocabulary.from_training(blocks_of(sp.csr_matrix((4, 2)), 4), np.array(["a", "b"]))
    store = NonzeroMedians(3)
    with pytest.raises(DataError, match="a block has 2 genes, those before it had 3"):
        store.add(sp.csr_matrix(np.ones((1, 2))))


def test_foreign_genes_are_named() -> None:
    vocabulary = small()
    mouse = pd.DataFrame(index=[f"ENSMUSG{i:011d}" for i in range(5)])
    with pytest.raises(DataError, match=r"look like mouse .ENSMUSG00000000000.*orthologs"):
        vocabulary.align(mouse)
    ids_alone = small(symbols=vocabulary.gene_ids)
    with pytest.raises(
        DataError, match=r"name genes by symbols .ACTB, .*Ensembl ids alone.*--symbols"
    ):
        ids_alone.align(pd.DataFrame(index=["ACTB", "GAPDH", "CD3E"]))
    with pytest.raises(DataError, match=r"name genes in a way that is not known .101, 102"):
        vocabulary.align(pd.DataFrame(index=["101", "102", "103"]))


def test_coverage_is_judged_by_counts() -> None:
    vocabulary = small()
    names = (vocabulary.gene_ids, vocabulary.symbols)
    var = pd.DataFrame(index=["AAA", "no_feature", "Bbb"])
    inside = np.array([True, False, False])
    assert judge_coverage(0.5, *names, var, inside, np.array([5.0, 4.0, 1.0])) is None
    check = judge_coverage(0.4, *names, var, inside, np.array([4.0, 5.0, 1.0]))
    assert check is not None
    assert check.severity == "warning"
    assert check.sentence == (
        "40.0% of the cells' counts are of genes in the vocabulary; the largest outside it are "
        "no_feature (50.0%), Bbb (10.0%)"
    )
    mouse = pd.DataFrame(index=["Actb", "Gapdh", "AAA"])
    with pytest.raises(DataError, match=r"^5\.0% of .*Actb .60\.0%.*look like mouse"):
        judge_coverage(0.05, *names, mouse, np.array([False, False, True]), np.array([6, 3.5, 0.5]))
