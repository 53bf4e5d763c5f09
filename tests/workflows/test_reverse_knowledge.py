"""Gene knowledge by name, from files and runs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

from cellwright.data.genes import gene_names
from cellwright.errors import DataError, SettingsError
from cellwright.representations.loading import load
from cellwright.workflows.ldvae import ldvae
from cellwright.workflows.reverse_knowledge import read_edges, read_knowledge

VAR = pd.DataFrame(
    {"length": [1.0, 2.0, 4.0], "mean": [3.0, 1.0, 2.0], "kind": ["a", "b", "c"]},
    index=["AAA1", "BBB2", "CCC3"],
)
GENES = gene_names(VAR)


@pytest.fixture
def files(tmp_path):
    (tmp_path / "genes.tsv").write_text(
        "symbol\tchr\tstart\tend\nAAA1\t1\t10\t20\nBBB2\t2\t10\t20\nZZZ9\tX\t5\t6\n"
    )
    (tmp_path / "tf.tsv").write_text(
        "TF\tTarget\tRegulation\nAAA1\tBBB2\tRepression\nZZZ9\tAAA1\tUnknown\n"
    )
    (tmp_path / "sets.gmt").write_text("one\t\tAAA1\tBBB2\tZZZ9\ntwo\t\tQ1\tQ2\tQ3\tQ4\n")
    (tmp_path / "numbers.csv").write_text("gene,score,word\nAAA1,1,x\nZZZ9,3,y\nQ1,NA,z\n")
    return tmp_path


def test_each_source_and_what_it_knows(files):
    wanted = [
        "positions", "fourier", f"tf:{files / 'tf.tsv'}", f"gmt:{files / 'sets.gmt'}",
        f"table:{files / 'numbers.csv'}", "var:mean,length",
    ]  # fmt: skip
    found, notes = read_knowledge(
        wanted, GENES, ["AAA1", "ZZZ9"], VAR, gene_table=files / "genes.tsv"
    )
    assert found.sources == ("positions", "fourier", "tf", "gmt", "table", "var")
    assert "knows 2 of 3 measured genes and 2 of 2 candidates" in notes[0]
    assert "table: 2 columns; it knows 1 of 3 measured genes and 2 of 2" in notes[4]
    assert "var: 3 columns; it knows 3 of 3 measured genes and 1 of 2" in notes[5]
    again, _ = read_knowledge(wanted, GENES, ["AAA1", "ZZZ9"], VAR, gene_table=files / "genes.tsv")
    np.testing.assert_array_equal(found.candidate_cd, again.candidate_cd)


def test_vectors_of_a_run_are_found_by_id_and_by_symbol(tmp_path):
    rng = np.random.default_rng(0)
    cells = AnnData(sp.csr_matrix(rng.poisson(3, (120, 30)).astype(np.float32)))
    cells.obs_names = [f"c{i}" for i in range(120)]
    cells.var_names = [f"ENSG{i:011d}" for i in range(30)]
    cells.var["gene_symbol"] = [f"SYM{i}" for i in range(30)]
    ldvae(cells, tmp_path / "run", latent=3, epochs=1, batch_size=32, split_by="none")
    found, notes = read_knowledge(
        [f"vectors:{tmp_path / 'run'}"],
        gene_names(pd.DataFrame(index=["SYM2", "SYM3", "OTHER9"])),
        ["ENSG00000000002", "SYM7"],
        VAR,
    )
    assert "4 columns; it knows 2 of 3 measured genes and 2 of 2 candidates" in notes[0]
    # One gene by its symbol, measured, and by its id, candidate.
    np.testing.assert_array_equal(found.measured_gd[0], found.candidate_cd[0])
    ids, vectors = load(tmp_path / "run").gene_vectors()
    whole = (vectors - vectors.mean(axis=0)) / vectors.std(axis=0)
    np.testing.assert_allclose(
        found.candidate_cd[1, :3], np.clip(whole[ids.index("ENSG00000000007")], -5, 5), rtol=1e-4
    )


def test_two_of_a_kind_are_told_apart(files):
    (files / "more.tsv").write_text("a\tb\nAAA1\tCCC3\nCCC3\tZZZ9\n")
    wanted = [f"tf:{files / 'tf.tsv'}", f"tf:{files / 'more.tsv'}"]
    found, _ = read_knowledge(wanted, GENES, ["AAA1"], VAR)
    assert found.sources == ("tf:tf", "tf:more")


def test_signs_of_regulation(files):
    assert read_edges(files / "tf.tsv") == [("AAA1", "BBB2", -1.0), ("ZZZ9", "AAA1", 1.0)]


@pytest.mark.parametrize(
    ("wanted", "error", "words"),
    [
        ("position", SettingsError, r"'position': did you mean 'positions'"),
        ("positions", SettingsError, "positions:FILE"),
        ("tf", SettingsError, "tf:FILE"),
        ("vectors", SettingsError, "vectors:RUN"),
        ("var:lenght", DataError, "'lenght': did you mean 'length'"),
        ("var:kind", DataError, "'kind'"),
        ("tf:nowhere.tsv", DataError, "nowhere.tsv"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(wanted, error, words):
    with pytest.raises(error, match=words):
        read_knowledge([wanted], GENES, ["AAA1"], VAR)


def test_files_that_know_none_of_the_genes(files):
    with pytest.raises(DataError, match=r"none of the 1 candidates \(NOPE"):
        read_knowledge([f"tf:{files / 'tf.tsv'}"], GENES, ["NOPE"], VAR)
    with pytest.raises(DataError, match="no column of numbers"):
        (files / "words.csv").write_text("gene,word\nAAA1,x\n")
        read_knowledge([f"table:{files / 'words.csv'}"], GENES, ["AAA1"], VAR)
    (files / "holes.tsv").write_text("tf\ttarget\nAAA1\t\n")
    with pytest.raises(DataError, match=r"row 1 .*'AAA1', ''"):
        read_edges(files / "holes.tsv")
