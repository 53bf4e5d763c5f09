"""``cellwright tokenize`` as a user types it."""

from __future__ import annotations

import itertools
import json
import pickle

import anndata
import datasets
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellwright.data.rank_corpus import RankCorpus
from cellwright.tokens.rank_vocabulary import RankVocabulary
from cellwright.tokens.ranked import RankedTokenizer


@pytest.fixture
def folder(tmp_path):
    """300 cells × 90 genes, of which the vocabulary has 80; cell 7 is empty."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(0.5, 2.0, 90) * rng.gamma(4.0, 0.3, (300, 1)))
    counts[7] = 0
    cells = anndata.AnnData(sp.csr_matrix(counts.astype(np.float32)))
    cells.var_names = [f"ENSG{i:011d}.{i % 5}" for i in range(90)]
    cells.obs_names = [f"cell{i}" for i in range(300)]
    cells.obs["kind"] = pd.Categorical(np.where(np.arange(300) % 2, "a", "b"))
    cells.write_h5ad(tmp_path / "cells.h5ad")
    vocabulary = RankVocabulary(
        gene_ids=np.array([f"ENSG{i:011d}" for i in range(80)]),
        symbols=np.array([f"GENE{i}" for i in range(80)]),
        medians_g=rng.uniform(10, 300, 80),
        token_ids_g=2 + rng.permutation(80),
        special={"<pad>": 0, "<mask>": 1},
    )
    vocabulary.save(tmp_path / "v.tsv")
    return tmp_path


def tokens_of(path):
    return datasets.load_from_disk(str(path))["input_ids"][:]


def expected_of(cells, vocabulary, **settings):
    tokenizer = RankedTokenizer(vocabulary, **settings).for_genes(cells.var)
    tokens, offsets = tokenizer.ranks(cells.X)
    return [tokens[a:b].tolist() for a, b in itertools.pairwise(offsets)]


def test_tokens_and_columns(run, folder):
    out = folder / "out"
    typed = (
        "tokenize", folder / "cells.h5ad", "--vocabulary", folder / "v.tsv", "--column", "kind",
        "--max-tokens", "30", "-o", out,
    )  # fmt: skip
    status, said, _ = run(*typed)
    assert status == 0
    assert f"wrote {out}: 299 cells" in said
    assert "left out without a gene of the vocabulary: 1 cells" in said
    cells = anndata.read_h5ad(folder / "cells.h5ad")
    expected = expected_of(cells, RankVocabulary.from_tsv(folder / "v.tsv"), max_tokens=30)
    del expected[7]
    assert tokens_of(out) == expected
    corpus = RankCorpus.open(out)
    kept = cells.obs_names != "cell7"
    assert corpus.column("obs_names").tolist() == cells.obs_names[kept].tolist()
    assert corpus.column("kind").tolist() == cells.obs["kind"][kept].tolist()
    status, _, log = run(*typed)
    assert (status, "exists already" in log) == (1, True)
    status, said, log = run(*typed, "--force", "--json", "-q", "--threads", "2")
    facts = json.loads(said)
    assert (status, log) == (0, "")
    assert facts["schema"] == "cellwright.tokenize/1"
    assert facts["n_obs"] == 299
    assert facts["n_empty"] == 1
    assert tokens_of(out) == expected
    inside = cells.X[:, :80].sum() / cells.X.sum()
    assert facts["coverage"] == pytest.approx(inside, abs=1e-12)
    # The folder stands for its tokenizer, settings included.
    status, _, _ = run("tokenize", folder / "cells.h5ad", "--vocabulary", out, "-o", folder / "two")
    assert status == 0
    assert tokens_of(folder / "two") == expected


def test_cells_that_did_not_pass_are_left_out(run, folder):
    cells = anndata.read_h5ad(folder / "cells.h5ad")
    cells.obs["filter_pass"] = (np.arange(300) % 3 > 0).astype(int)
    cells.write_h5ad(folder / "cells.h5ad")
    typed = (
        "tokenize",
        folder / "cells.h5ad",
        "--vocabulary",
        folder / "v.tsv",
        "-o",
        folder / "o",
    )
    status, said, log = run(*typed)
    assert status == 0
    assert "obs['filter_pass'] leaves out 100 cells" in log
    assert "left out by obs['filter_pass']: 100 cells" in said
    names = RankCorpus.open(folder / "o").column("obs_names")
    assert names.tolist() == [f"cell{i}" for i in range(300) if i % 3 and i != 7]
    cells.obs["filter_pass"] = ["2"] + ["1"] * 299
    cells.write_h5ad(folder / "cells.h5ad")
    status, _, log = run(*typed, "--force")
    assert (status, "obs['filter_pass'] is '2' for cell0, expected 0 or 1" in log) == (1, True)
    cells.obs["filter_pass"] = False
    cells.write_h5ad(folder / "cells.h5ad")
    status, _, log = run(*typed, "--force")
    assert (status, "is 0 for all 300 cells" in log) == (1, True)


def test_medians_of_the_train_part(run, folder):
    cells = anndata.read_h5ad(folder / "cells.h5ad")
    cells.obs["split"] = np.where(np.arange(300) < 200, "train", "test")
    cells.write_h5ad(folder / "cells.h5ad")
    status, said, log = run(
        "tokenize", folder / "cells.h5ad", "--vocabulary", "fit", "--cls", "--sort-dtype",
        "float32", "-o", folder / "o",
    )  # fmt: skip
    assert status == 0
    assert "medians are those of the 200 train cells" in log
    assert "sorted as float32" in said
    counts = cells.X[:200].toarray().astype(float)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1) * 1e4
    found = RankVocabulary.from_tsv(folder / "o" / "vocabulary.tsv")
    expected = [np.median(column[column > 0]) for column in share.T if column.any()]
    np.testing.assert_array_equal(found.medians_g, expected)
    assert (found.cls_id, found.eos_id) == (2, 3)
    tokens = expected_of(cells, found, sort_dtype="float32")
    assert tokens_of(folder / "o") == [one for one in tokens if len(one) > 2]


def test_pickled_dictionaries(run, folder):
    vocabulary = RankVocabulary.from_tsv(folder / "v.tsv")
    tokens = dict(vocabulary.special) | dict(
        zip(vocabulary.gene_ids.tolist(), vocabulary.token_ids_g.tolist(), strict=True)
    )
    medians = dict(zip(vocabulary.gene_ids.tolist(), vocabulary.medians_g, strict=True))
    (folder / "t.pkl").write_bytes(pickle.dumps(tokens))
    (folder / "m.pkl").write_bytes(pickle.dumps(medians))
    typed = ("tokenize", folder / "cells.h5ad", "--vocabulary", folder / "t.pkl")
    status, _, _ = run(*typed, "--medians", folder / "m.pkl", "-o", folder / "o")
    assert status == 0
    run("tokenize", folder / "cells.h5ad", "--vocabulary", folder / "v.tsv", "-o", folder / "p")
    assert tokens_of(folder / "o") == tokens_of(folder / "p")
    status, _, log = run(*typed, "-o", folder / "q")
    assert (status, "with --medians" in log) == (1, True)


def test_totals_of_cells_whose_genes_were_cut_away(run, folder):
    cells = anndata.read_h5ad(folder / "cells.h5ad")
    cells.obs["libsize"] = np.asarray(cells.X.sum(1)).ravel()
    cells[:, :40].copy().write_h5ad(folder / "cut.h5ad")
    status, said, _ = run(
        "tokenize", folder / "cut.h5ad", "--vocabulary", folder / "v.tsv", "--total-counts",
        "libsize", "--json", "-o", folder / "o",
    )  # fmt: skip
    assert status == 0
    inside = cells.X[:, :40].sum() / cells.X.sum()
    assert json.loads(said)["coverage"] == pytest.approx(inside, abs=1e-12)


def test_log_data_and_foreign_genes(run, folder):
    cells = anndata.read_h5ad(folder / "cells.h5ad")
    typed = ("tokenize", folder / "bad.h5ad", "--vocabulary", folder / "v.tsv", "-o", folder / "o")
    logged = cells.copy()
    logged.X = logged.X.log1p()
    logged.write_h5ad(folder / "bad.h5ad")
    status, _, log = run(*typed)
    assert (status, "X is log-normalized" in log) == (1, True)
    mouse = cells.copy()
    mouse.var_names = [f"ENSMUSG{i:011d}" for i in range(90)]
    mouse.write_h5ad(folder / "bad.h5ad")
    status, _, log = run(*typed)
    assert (status, "The data look like mouse" in log) == (1, True)
    mostly = cells.copy()
    mostly.var_names = [*cells.var_names[:1], *(f"ENSMUSG{i:011d}" for i in range(1, 90))]
    mostly.write_h5ad(folder / "bad.h5ad")
    status, _, log = run(*typed)
    share = cells.X[:, 0].sum() / cells.X.sum()
    assert status == 1
    assert f"{share:.1%} of the cells' counts are of genes in the vocabulary" in log
    assert "orthologs" in log
    some = cells.copy()
    gone = np.asarray(cells.X.sum(0)).ravel().cumsum() > 0.3 * cells.X.sum()
    some.var_names = np.where(gone, [f"ERCC-{i:05d}" for i in range(90)], cells.var_names)
    some.write_h5ad(folder / "bad.h5ad")
    status, _, log = run(*typed)
    assert (status, "the largest outside it are ERCC-" in log) == (0, True)
    assert not list(folder.glob(".*partial*"))


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--column", "kin"), "did you mean 'kind'"),
        (("--cls",), "--cls goes with --vocabulary fit"),
        (("--medians", "m.pkl"), "go with a pickled token dictionary"),
        (("--max-tokens", "2"), "max_tokens is 2"),
        (("--total-counts", "kind"), "obs['kind'] is category, expected numbers"),
        (("--vocabulary", "none.tsv"), "no rank vocabulary at none.tsv"),
    ],
)
def test_one_sentence(run, folder, more, told):
    status, _, log = run(
        "tokenize", folder / "cells.h5ad", "--vocabulary", folder / "v.tsv", "-o", folder / "o",
        *more,
    )  # fmt: skip
    assert (status, told in log) == (1, True)
    assert not (folder / "o").exists()


def test_what_is_not_ours_is_never_replaced(run, folder):
    typed = ("tokenize", folder / "cells.h5ad", "--vocabulary", folder / "v.tsv", "--force", "-o")
    before = (folder / "cells.h5ad").read_bytes()
    for out in (folder / "cells.h5ad", folder):
        status, _, log = run(*typed, out)
        assert (status, "something else than tokens" in log) == (1, True)
    assert (folder / "cells.h5ad").read_bytes() == before
    (folder / "empty").mkdir()
    status, _, log = run(*typed[:3], folder / "empty", "-o", folder / "o")
    assert (status, "neither tokenizer.npz nor vocabulary.tsv" in log) == (1, True)
    np.savez(folder / "empty" / "tokenizer.npz", tokenizer=np.asarray("binned"))
    status, _, log = run(*typed[:3], folder / "empty", "-o", folder / "o")
    assert (status, "does not rank genes: the saved tokenizer is 'binned'" in log) == (1, True)
