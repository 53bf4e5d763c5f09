"""Rank tokens against a stable float64 loop over cells, and everything around them."""

from __future__ import annotations

import itertools
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from cellwright.errors import DataError, RunError, SettingsError
from cellwright.interfaces import RowBlock, Tokenizer
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.tokens.ranked import RankedTokenizer, SortDtype


def vocabulary_of(genes: int, *, cls: bool = False, seed: int = 0) -> RankVocabulary:
    """Tokens in an order of their own; medians over four powers of ten."""
    rng = np.random.default_rng(seed)
    special = {"<pad>": 0, "<mask>": 1}
    if cls:
        special |= {"<cls>": 2, "<eos>": 3}
    return RankVocabulary(
        gene_ids=np.array([f"ENSG{i:011d}" for i in range(genes)]),
        symbols=np.array([f"GENE{i}" for i in range(genes)]),
        medians_g=10 ** rng.uniform(-2, 2, genes),
        token_ids_g=len(special) + rng.permutation(genes),
        special=special,
    )


def plain_ranks(
    counts: np.ndarray, vocabulary: RankVocabulary, genes_m: np.ndarray, limit: int, dtype: str
) -> list[list[int]]:
    """Cell by cell with Python's stable sort; columns of one gene summed at the first of them."""
    out = []
    for row in counts.astype(np.float64):
        total = row.sum()
        summed: dict[int, float] = {}
        for column in np.flatnonzero(row):
            gene = int(genes_m[column])
            if gene >= 0:
                first = int(np.flatnonzero(genes_m == gene)[0])
                summed[first] = summed.get(first, 0.0) + float(row[column])
        pairs = []
        for column in sorted(summed):
            gene = int(genes_m[column])
            value = summed[column] / total * 10_000 / vocabulary.medians_g[gene]
            pairs.append((-np.dtype(dtype).type(value), int(vocabulary.token_ids_g[gene])))
        pairs.sort(key=lambda pair: pair[0])
        tokens = [token for _, token in pairs]
        if vocabulary.cls_id is not None:
            tokens = [2, *tokens[: limit - 2], 3]
        out.append(tokens[:limit])
    return out


def as_lists(found: tuple[np.ndarray, np.ndarray]) -> list[list[int]]:
    tokens, offsets = found
    return [tokens[a:b].tolist() for a, b in itertools.pairwise(offsets)]


def some_counts(cells: int, genes: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.poisson(rng.gamma(0.4, 3.0, genes) * rng.gamma(4.0, 0.3, (cells, 1)))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("cls", [False, True])
@pytest.mark.parametrize("limit", [5, 40, 2048])
def test_tokens_equal_a_stable_loop(limit: int, cls: bool, dtype: SortDtype) -> None:
    counts = some_counts(40, 300, 1)
    counts[3] = 0
    vocabulary = vocabulary_of(250, cls=cls)
    genes_m = np.random.default_rng(2).permutation(np.r_[np.arange(250), np.full(50, -1)])
    state = RankedTokenizer(vocabulary, max_tokens=limit, sort_dtype=dtype).state()
    tokenizer = RankedTokenizer.from_state(state | {"genes_m": genes_m})
    expected = plain_ranks(counts, vocabulary, genes_m, limit, dtype)
    for stored in (np.int32, np.float32, np.float64, np.uint16):
        found = tokenizer.ranks(sp.csr_matrix(counts.astype(stored)))
        assert as_lists(found) == expected
    assert as_lists(tokenizer.ranks(counts, threads=2)) == expected
    assert expected[3] == ([2, 3] if cls else [])


def test_ties_keep_the_order_of_the_columns() -> None:
    # Few counts, few medians: most values stand many times in a cell.
    rng = np.random.default_rng(3)
    vocabulary = vocabulary_of(900)
    medians = rng.choice([0.5, 1.0, 2.0, 4.0], 900)
    vocabulary = RankVocabulary(
        vocabulary.gene_ids, vocabulary.symbols, medians, vocabulary.token_ids_g, vocabulary.special
    )
    counts = rng.integers(0, 5, (20, 900))
    counts[0] = 1
    tokenizer = RankedTokenizer(vocabulary)
    values = counts[1] / counts[1].sum() * 1e4 / medians
    assert np.unique(values).size < 20
    expected = plain_ranks(counts, vocabulary, np.arange(900), 2048, "float64")
    assert as_lists(tokenizer.ranks(counts)) == expected


def test_values_apart_in_the_last_bit_are_told_apart_unless_sorted_in_float32() -> None:
    # Ascending in the last bits, so a sort by leading bits alone would keep the column order.
    genes = 700
    medians = np.ones(genes)
    medians[:600] = 1.0 - np.arange(600) * 2.0**-53
    medians[600:] = np.geomspace(1e-9, 1e9, 100)
    base = vocabulary_of(genes)
    vocabulary = RankVocabulary(
        base.gene_ids, base.symbols, medians, base.token_ids_g, base.special
    )
    counts = np.full((2, genes), 3)
    counts[1, 600:] = 0
    exact = plain_ranks(counts, vocabulary, np.arange(genes), 2048, "float64")
    single = plain_ranks(counts, vocabulary, np.arange(genes), 2048, "float32")
    assert exact != single
    assert as_lists(RankedTokenizer(vocabulary).ranks(counts)) == exact
    assert as_lists(RankedTokenizer(vocabulary, sort_dtype="float32").ranks(counts)) == single


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**31),
            st.one_of(st.sampled_from([0.1, 0.3, 7.0]), st.floats(1e-300, 1e300)),
        ),
        min_size=1,
        max_size=200,
    )
)
def test_any_values_are_ordered_exactly(pairs: list[tuple[int, float]]) -> None:
    counts = np.array([[count for count, _ in pairs]], dtype=np.int64)
    base = vocabulary_of(len(pairs))
    medians = np.array([median for _, median in pairs])
    vocabulary = RankVocabulary(
        base.gene_ids, base.symbols, medians, base.token_ids_g, base.special
    )
    expected = plain_ranks(counts, vocabulary, np.arange(len(pairs)), 2048, "float64")
    assert as_lists(RankedTokenizer(vocabulary).ranks(counts)) == expected


@pytest.mark.parametrize("series", ["30M", "95M"])
@pytest.mark.parametrize("name", ["pbmc3k_500", "darmanis2015"])
def test_real_cells_with_a_published_vocabulary(real_data: Path, name: str, series: str) -> None:
    vocabulary = RankVocabulary.from_tsv(
        real_data / "geneformer_vocab" / f"geneformer_gc{series}_vocab.tsv.gz"
    )
    cells = ad.read_h5ad(next((real_data / name).glob("*.h5ad")))[::25]
    alignment = vocabulary.align(cells.var)
    tokenizer = RankedTokenizer(vocabulary).for_genes(cells.var)
    assert tokenizer.limit == {"30M": 2048, "95M": 4096}[series]
    expected = plain_ranks(
        cells.X.toarray(), vocabulary, alignment.genes_m, tokenizer.limit, "float64"
    )
    assert as_lists(tokenizer.ranks(sp.csr_matrix(cells.X))) == expected


def test_columns_of_one_gene_are_summed_and_versions_do_not_matter() -> None:
    vocabulary = vocabulary_of(6)
    var = pd.DataFrame(index=[
        "ENSG00000000004.3", "ENSG00000000001", "ERCC-1", "ENSG00000000004.7", "ENSG00000000000.1",
    ])  # fmt: skip
    counts = np.array([[1, 5, 100, 9, 0], [0, 1, 0, 2, 3]])
    tokenizer = RankedTokenizer(vocabulary).for_genes(var)
    assert tokenizer.genes_m_.tolist() == [4, 1, -1, 4, 0]
    expected = plain_ranks(counts, vocabulary, tokenizer.genes_m_, 2048, "float64")
    assert as_lists(tokenizer.ranks(counts)) == expected
    np.testing.assert_array_equal(tokenizer.counts_inside(counts), [15, 6])


def test_symbols_are_found_too() -> None:
    var = pd.DataFrame(index=["GENE2", "GENE0", "other"])
    tokenizer = RankedTokenizer(vocabulary_of(4)).for_genes(var)
    assert tokenizer.genes_m_.tolist() == [2, 0, -1]


def test_totals_of_cells_whose_genes_were_cut_away() -> None:
    vocabulary = vocabulary_of(30)
    counts = some_counts(8, 50, 4)
    genes_m = np.r_[np.arange(30), np.full(20, -1)]
    whole = RankedTokenizer.from_state(RankedTokenizer(vocabulary).state() | {"genes_m": genes_m})
    cut = RankedTokenizer(vocabulary)
    found = cut.ranks(counts[:, :30], totals_n=counts.sum(1))
    assert as_lists(found) == as_lists(whole.ranks(counts))
    with pytest.raises(DataError, match="the total of a cell is 1, but its counts add up to"):
        cut.ranks(counts[:, :30], totals_n=np.ones(8))
    with pytest.raises(DataError, match="3 totals were given for 8 cells"):
        cut.ranks(counts[:, :30], totals_n=np.ones(3))


@pytest.mark.parametrize("cls", [False, True])
def test_a_batch_is_the_ragged_tokens_padded(cls: bool) -> None:
    vocabulary = vocabulary_of(50, cls=cls)
    counts = some_counts(12, 50, 5)
    counts[4] = 0
    tokenizer = RankedTokenizer(vocabulary, max_tokens=20)
    batch = tokenizer.encode(counts)
    for n, tokens in enumerate(as_lists(tokenizer.ranks(counts))):
        length = len(tokens)
        assert batch.gene_ids_nt[n, :length].tolist() == tokens
        assert batch.value_ids_nt[n, :length].tolist() == list(range(length))
        assert (batch.gene_ids_nt[n, length:] == vocabulary.pad_id).all()
        assert (batch.value_ids_nt[n, length:] == 0).all()
        assert batch.pad_nt[n].tolist() == [False] * length + [True] * (
            len(batch.pad_nt[n]) - length
        )
    assert batch.gene_ids_nt.dtype == batch.value_ids_nt.dtype == np.int64


def test_it_is_a_tokenizer_whose_state_brings_it_back() -> None:
    counts = some_counts(60, 80, 6)
    counts[:, 11] = 0
    rows = np.arange(60)
    blocks = [
        RowBlock(sp.csr_matrix(counts[i : i + 25]), rows[i : i + 25].astype(str), rows[i : i + 25])
        for i in (0, 25, 50)
    ]
    tokenizer: Tokenizer = RankedTokenizer(max_tokens=32, sort_dtype="float32").fit(blocks)
    assert isinstance(tokenizer, Tokenizer)
    state = tokenizer.state()
    assert all(array.dtype.kind != "O" for array in state.values())
    again = RankedTokenizer.from_state(state)
    assert again.rule == tokenizer.rule
    np.testing.assert_array_equal(
        again.encode(counts).gene_ids_nt, tokenizer.encode(counts).gene_ids_nt
    )
    # A gene that no training cell has, has no median and no token.
    assert again.genes_m_[11] == -1
    assert len(again.vocabulary_) == (counts.sum(0) > 0).sum()
    fraction = counts / np.maximum(counts.sum(1, keepdims=True), 1) * 1e4
    expected = [np.median(column[column > 0]) for column in fraction.T if column.any()]
    np.testing.assert_allclose(again.vocabulary_.medians_g, expected, rtol=1e-14)
    # The order of the cells does not matter.
    turned = again.encode(counts[::-1]).gene_ids_nt[::-1]
    np.testing.assert_array_equal(turned, again.encode(counts).gene_ids_nt)


def test_a_given_vocabulary_leaves_nothing_to_fit() -> None:
    tokenizer = RankedTokenizer(vocabulary_of(4))
    assert tokenizer.fit([]) is tokenizer
    assert tokenizer.vocabulary_.n_cells_g is None


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"max_tokens": 2}, "max_tokens is 2"),
        ({"sort_dtype": "float16"}, "sort_dtype is 'float16'"),
        ({"target_sum": 0.0}, "target_sum is 0.0"),
    ],
)
def test_settings_that_cannot_work(settings: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        RankedTokenizer(vocabulary_of(3), **settings)  # type: ignore[arg-type]


def test_bad_counts() -> None:
    tokenizer = RankedTokenizer(vocabulary_of(3))
    with pytest.raises(DataError, match=r"a count is -2\.0"):
        tokenizer.ranks(np.array([[1.0, -2.0, 3.0]]))
    with pytest.raises(DataError, match="a count is nan"):
        tokenizer.ranks(np.array([[1.0, np.nan, 3.0]]))
    with pytest.raises(DataError, match="a count is inf"):
        tokenizer.ranks(np.array([[1.0, np.inf, 3.0]]))
    with pytest.raises(DataError, match="the counts have 2 genes, but the tokenizer"):
        tokenizer.ranks(np.ones((1, 2)))
    with pytest.raises(DataError, match="training cells, none were given"):
        RankedTokenizer().fit([])
    with pytest.raises(RunError, match="'binned', expected 'ranked'"):
        RankedTokenizer.from_state({"tokenizer": np.asarray("binned")})
    state = tokenizer.state()
    del state["medians_g"]
    with pytest.raises(RunError, match="lacks 'medians_g'"):
        RankedTokenizer.from_state(state)
