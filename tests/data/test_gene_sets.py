"""A set of genes from a text file, a GMT file, or the command line."""

import gzip

import pytest

from cellwright.data.gene_sets import read_gene_set, read_gmt
from cellwright.errors import DataError, SettingsError

GMT = "APOPTOSIS\tna\tBAX\tBCL2\tBAX\n\nALS pathway\thttp://x\tSOD1,1.0\tFUS,0.5\t\n"


@pytest.fixture
def gmt(tmp_path):
    path = tmp_path / "sets.gmt"
    path.write_text(GMT)
    return path


def test_the_three_ways_to_name_a_set(gmt, tmp_path):
    packed = tmp_path / "sets.gmt.gz"
    packed.write_bytes(gzip.compress(GMT.encode()))
    listed = tmp_path / "als.txt"
    listed.write_text("# genes\nSOD1\nFUS\nSOD1\n")
    for path in (gmt, packed):
        found = read_gene_set(f"{path}:ALS pathway", "--down")
        assert (found.name, found.genes) == ("ALS pathway", ("SOD1", "FUS"))
    assert read_gene_set(str(listed)).genes == ("SOD1", "FUS")
    assert read_gene_set(str(listed)).name == "als"
    given = read_gene_set("SOD1, FUS,SOD1", "--down")
    assert (given.name, given.genes) == ("down", ("SOD1", "FUS"))
    assert read_gene_set("SOD1", "--up").genes == ("SOD1",)
    assert read_gmt(gmt)["APOPTOSIS"] == ("BAX", "BCL2")
    one = tmp_path / "one.gmt"
    one.write_text("A\tna\tX\n")
    assert read_gene_set(str(one)).name == "A"


def test_what_cannot_be_read_is_named(gmt, tmp_path):
    with pytest.raises(DataError, match=r"holds no set 'als': did you mean 'ALS pathway'\?"):
        read_gene_set(f"{gmt}:als")
    with pytest.raises(DataError, match="no set 'zzzzzzz': it holds APOPTOSIS"):
        read_gene_set(f"{gmt}:zzzzzzz")
    with pytest.raises(SettingsError, match="holds 2 sets; say which"):
        read_gene_set(str(gmt))
    with pytest.raises(DataError, match=r"there is no GMT file at .*none\.gmt"):
        read_gene_set(str(tmp_path / "none.gmt:A"))
    with pytest.raises(DataError, match="there is no list of genes at"):
        read_gene_set(str(tmp_path / "none.txt"))
    with pytest.raises(SettingsError, match="--up ' , ' names no gene"):
        read_gene_set(" , ", "--up")
    bad = tmp_path / "bad.gmt"
    bad.write_text("A\tna\tX\nno tabs here\n")
    with pytest.raises(DataError, match=r"line 2 of .* is no gene set.*'no tabs here'"):
        read_gmt(bad)
    cut = tmp_path / "cut.gmt.gz"
    cut.write_bytes(gzip.compress(GMT.encode())[:30])
    with pytest.raises(DataError, match="cannot be read as a GMT file"):
        read_gmt(cut)
    bad.write_text("\n")
    with pytest.raises(DataError, match="holds no gene set"):
        read_gmt(bad)
