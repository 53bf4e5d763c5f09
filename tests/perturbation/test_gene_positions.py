"""Gene positions: chromosome and share of it, for measured and candidate genes alike."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pyensembl
import pytest

from cellwright.errors import DataError, SettingsError
from cellwright.perturbation.gene_positions import (
    CHROMOSOMES,
    chromosome_lengths,
    gene_positions,
)

ROWS = [
    ("ENSG01000001", "AAA", "1", 100, 300),
    ("ENSG01000002", "BBB", "chrX", 156_040_000, 156_040_895),
    ("ENSG01000003", "MT-X", "MT", 10, 90),
    ("ENSG01000004", "CCC", "CHR_PATCH", 5, 9),
    ("ENSG01000005", "CCC", "2", 1_000, 2_000),
    ("ENSG01000006", "DDD", "1", 11_000, 12_000),
]


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "genes.tsv"
    lines = ["ensgene\tsymbol\tchr\tstart\tend", *("\t".join(map(str, r)) for r in ROWS)]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_middle_as_a_share_of_the_chromosome(table):
    found = gene_positions(["BBB", "ENSG01000001.7", "MT-X", "nowhere", "CCC"], table)
    bits, relative = found.features_gd[:, :24], found.features_gd[:, 24]
    assert [CHROMOSOMES[i] for i in bits.argmax(axis=1)[[0, 1, 4]]] == ["X", "1", "2"]
    assert bits.sum(axis=1).tolist() == [1, 1, 0, 0, 1]
    middle = [156_040_447.5 / 156_040_895, 200 / 248_956_422, 0, 0, 1500 / 242_193_529]
    assert relative == pytest.approx(middle)
    assert found.found_g.tolist() == [True, True, True, False, True]


def test_a_gtf_says_the_same(table, tmp_path):
    path = tmp_path / "genes.gtf.gz"
    lines = ["#!genome-build GRCh38"]
    for gene, symbol, chromosome, start, end in ROWS:
        given = f'gene_id "{gene}"; gene_version "5"; gene_name "{symbol}";'
        for feature in ("gene", "exon"):
            lines.append(f"{chromosome}\tx\t{feature}\t{start}\t{end}\t.\t+\t.\t{given}")
    path.write_bytes(gzip.compress("\n".join(lines).encode()))
    genes = ["AAA", "BBB", "CCC", "MT-X"]
    one, other = gene_positions(genes, table), gene_positions(genes, path)
    np.testing.assert_array_equal(one.features_gd, other.features_gd)


def test_neighbours_within_so_many_base_pairs(table):
    measured = gene_positions(["AAA", "BBB", "CCC", "DDD", "nowhere"], table)
    candidate = gene_positions(["AAA"], table)
    assert measured.near(candidate, 10_000).tolist() == [True, False, False, False, False]
    assert measured.near(candidate, 10_700).tolist() == [True, False, False, True, False]


def test_another_build_is_one_sentence(table):
    assert chromosome_lengths("GRCh37")["1"] == 249_250_621
    with pytest.raises(DataError, match=r"BBB .* chromosome X, which has 155270560 .* GRCh37"):
        gene_positions(["AAA"], table, build="GRCh37")
    with pytest.raises(SettingsError, match=r"'GRCh3'.*did you mean 'GRCh3[78]'"):
        gene_positions(["AAA"], table, build="GRCh3")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("symbol\tstart\tend\nA\t1\t2\n", "no column 'chr'"),
        ("symbol\tchr\tstart\tend\nA\t1\tfirst\t2\n", "'first'"),
        ("symbol\tchr\tstart\tend\nZ1\t1\t1\t2\n", "Z1"),
    ],
)
def test_tables_that_do_not_fit(tmp_path, text, words):
    (tmp_path / "bad.tsv").write_text(text)
    with pytest.raises(DataError, match=words):
        gene_positions(["A"], tmp_path / "bad.tsv")


def test_every_gene_of_the_human_genome_lies_on_its_chromosome(real_data):
    path = real_data / "gene_coords" / "grch38_genes_ensembl_annotables.tsv.gz"
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()[1:]
    genes = [line.split("\t")[0] for line in lines]
    found = gene_positions(genes, path)
    relative = found.relative_g
    assert found.found_g.all() and (relative >= 0).all() and (relative <= 1).all()
    assert (relative[found.chromosome_g != ""] > 0).all()
    assert (found.chromosome_g != "").mean() > 0.9
    with pytest.raises(DataError, match="another build"):
        gene_positions(genes, path, build="GRCh37")


GTF = """1\tensembl\tgene\t100\t300\t.\t+\t.\tgene_id "ENSG01000001"; gene_name "AAA";
X\tensembl\tgene\t500\t700\t.\t-\t.\tgene_id "ENSG01000002"; gene_name "BBB";
"""


@pytest.fixture
def releases(tmp_path, monkeypatch):
    """A cache of pyensembl in which release 110 has a GTF and nothing else is installed."""
    monkeypatch.setenv("PYENSEMBL_CACHE_DIR", str(tmp_path / "cache"))
    local = [p for p in pyensembl.EnsemblRelease(110).required_local_files() if ".gtf" in p]
    path = Path(local[0])
    assert path.is_relative_to(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(GTF.encode()))


def test_a_release_that_pyensembl_has_installed(releases):
    found = gene_positions(["BBB", "ENSG01000001"], "pyensembl:110")
    assert found.chromosome_g.tolist() == ["X", "1"]
    assert found.start_g.tolist() == [500, 100]


@pytest.mark.parametrize(
    ("named", "error", "said"),
    [
        ("pyensembl:109", DataError, "pyensembl install --release 109"),
        ("pyensembl:75", SettingsError, "release 75 is of GRCh37, not GRCh38"),
        ("pyensembl:x", SettingsError, "no release 'x'"),
        ("pyensembl:9999", SettingsError, "no release '9999'"),
    ],
)
def test_a_release_that_cannot_be_used(releases, named, error, said):
    with pytest.raises(error, match=said):
        gene_positions(["AAA"], named)
