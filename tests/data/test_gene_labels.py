"""Tables of gene labels: which classes they hold, and what is refused."""

from __future__ import annotations

import gzip

import pytest

from cellwright.data.gene_labels import read_gene_labels, require_genes_per_class
from cellwright.errors import DataError

MARKS = """ensembl_id,gene_name,insensitive,sensitive
ENSG00000000001.3,AAA1,Yes,
ENSG00000000002,BBB2,,Yes
ENSG00000000003,CCC3,Yes,
ENSG00000000004,DDD4,,
"""
BOTH = """tf,id,H3K4me3,H3K27me3
ENSG00000000001,78,True,True
ENSG00000000002,12,True,False
ENSG00000000003,90,True,True
"""


@pytest.fixture
def table(tmp_path):
    def written(text, name="labels.csv"):
        path = tmp_path / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return written


def test_columns_that_exclude_each_other_are_two_classes(table):
    found = read_gene_labels(table(MARKS))
    assert found.classes == ("insensitive", "sensitive")
    assert found.codes_g.tolist() == [0, 1, 0]
    assert found.names.gene_id.tolist() == [f"ENSG0000000000{i}" for i in (1, 2, 3)]
    assert found.names.gene_symbol.tolist() == ["AAA1", "BBB2", "CCC3"]
    assert "1 of 4 rows" in found.notes[0]


def test_columns_that_overlap_are_joined_and_most_marks_are_positive(table):
    found = read_gene_labels(table(BOTH))
    assert found.classes == ("H3K4me3", "H3K4me3+H3K27me3")
    assert found.codes_g.tolist() == [1, 0, 1]


def test_one_column_of_marks_is_itself_and_its_contrary(table):
    found = read_gene_labels(table("gene\tid\tis_long\nA1\t5\tTrue\nB2\t6\tFalse\n", "t.tsv.gz"))
    assert found.classes == ("not is_long", "is_long")
    assert found.codes_g.tolist() == [1, 0]


def test_a_column_of_names_is_its_names(table):
    text = "gene,kind\nA1,x\nB2,y\nC3,z\nC3,z\n"
    found = read_gene_labels(table(text), positive="x")
    assert found.classes == ("y", "z", "x")
    assert found.sizes == {"y": 1, "z": 1, "x": 1}
    assert "1 rows repeat a gene" in found.notes[0]


def test_the_published_labels_have_their_published_sizes(real_data):
    folder = real_data / "gene_labels"
    dosage = read_gene_labels(folder / "dosage_sens_tf_labels.csv")
    assert dosage.sizes == {"dosage_insensitive": 368, "dosage_sensitive": 122}
    bivalent = read_gene_labels(folder / "is_bivalent.csv")
    assert bivalent.sizes == {"H3K4me3": 77, "H3K4me3+H3K27me3": 96}
    assert read_gene_labels(folder / "is_longrange_tf.csv").sizes == {
        "not is_longrange": 130,
        "is_longrange": 46,
    }


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("gene,kind\nA1,x\nA1,y\n", {}, "says 'x' and 'y' of the gene A1"),
        (MARKS, {"label": ["sensitiv"]}, "no column 'sensitiv': did you mean 'sensitive'"),
        (MARKS, {"positive": "toxic"}, "positive class 'toxic'"),
        (MARKS, {"gene_column": "gene"}, "no column 'gene'"),
        ("gene,a,b\nA1,x,y\nB2,y,x\n", {}, "2 that could be (a, b)"),
        ("what,kind\n1,x\n2,y\n", {}, "no column of genes"),
        ("gene,a,b\nA1,yes,maybe\nB2,no,yes\n", {"label": ["a", "b"]}, "holds 'maybe'"),
        ("gene,kind\n", {}, "no row below its header"),
        ("gene,kind,kind\nA,x,y\n", {}, "holds the labels"),
    ],
)
def test_what_cannot_be_read_is_one_sentence(table, text, options, said):
    with pytest.raises(DataError) as caught:
        read_gene_labels(table(text), **options)
    assert said in str(caught.value)


def test_a_file_that_is_none_or_no_text(tmp_path):
    with pytest.raises(DataError, match="no gene table at"):
        read_gene_labels(tmp_path / "nothing.csv")
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(DataError, match=r"x\.csv is not a table of genes"):
        read_gene_labels(tmp_path / "x.csv")
    # Cut off in its header and damaged behind it are two errors of Python's.
    (tmp_path / "x.csv").write_bytes(gzip.compress(b"gene")[:10] + b"\xff" * 50)
    with pytest.raises(DataError, match=r"x\.csv is not a table of genes"):
        read_gene_labels(tmp_path / "x.csv")


def test_a_class_needs_as_many_genes_as_folds(table):
    found = read_gene_labels(table(MARKS))
    with pytest.raises(
        DataError, match="class 'sensitive' has 1 gene in the table, fewer than the 2"
    ):
        require_genes_per_class(found.codes_g, found.classes, 2, "in the table")
