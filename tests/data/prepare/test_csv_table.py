"""CSV tables as they come: delimiters, encodings, quotes, packing, and what is wrong with them."""

from __future__ import annotations

import dataclasses
import gzip

import numpy as np
import pandas as pd
import pytest

from cellwright.data.prepare.csv_table import open_csv
from cellwright.errors import DataError


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def whole(path, *columns):
    table = open_csv(path)
    return pd.concat(table.chunks(columns or table.columns), ignore_index=True)


@pytest.mark.parametrize("mark", [",", "\t", ";", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_delimiter_and_encoding_are_found_out(tmp_path, mark, encoding):
    rows = ['cell_label{}"a, b; c"{}région', "c1{}1{}Île", 'c2{}"x\ny"{}', 'c3{}"say ""hi"""{}b']
    path = write(tmp_path / "t.csv", "\n".join(row.format(mark, mark) for row in rows), encoding)
    found = whole(path)
    assert open_csv(path).delimiter == mark
    assert list(found.columns) == ["cell_label", "a, b; c", "région"]
    assert found.to_numpy().tolist() == [
        ["c1", "1", "Île"],
        ["c2", "x\ny", ""],
        ["c3", 'say "hi"', "b"],
    ]


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv"])
def test_a_packed_table_is_told_by_its_bytes(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(gzip.compress(b"id,n\na,1\n"))
    assert whole(path).to_numpy().tolist() == [["a", "1"]]


def test_a_name_of_gz_on_a_plain_table(tmp_path):
    assert len(whole(write(tmp_path / "t.csv.gz", "id,n\na,1\n"))) == 1


def test_text_stays_text_and_only_the_columns_asked_for_are_read(tmp_path):
    path = write(tmp_path / "t.csv", "id,n,z\n007,2523,1\nNA,1e5,\n", "utf-8")
    found = whole(path, "n", "id")
    assert list(found.columns) == ["n", "id"]
    assert found["id"].tolist() == ["007", "NA"]
    assert found["n"].tolist() == ["2523", "1e5"]


def test_pieces_add_up_to_the_table(tmp_path):
    frame = pd.DataFrame({"a": np.arange(50).astype(str), "b": [f"x\n{i}" for i in range(50)]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    table = dataclasses.replace(open_csv(tmp_path / "t.csv"), at_once=14)
    pieces = list(table.chunks(["a", "b"]))
    assert [len(piece) for piece in pieces] == [7] * 7 + [1]
    pd.testing.assert_frame_equal(pd.concat(pieces), frame)


@pytest.mark.parametrize(
    ("text", "columns", "rows"),
    [
        (
            '"n" "m"\n'.replace(" ", "\t") + '"r1"\t1\t2\n',
            ["row_names", "n", "m"],
            [["r1", "1", "2"]],
        ),
        ("a,b\n1,2,\n", ["a", "b", "Unnamed: 2"], [["1", "2", ""]]),
        (",a,a\n0,1,2\n", ["Unnamed: 0", "a", "a.1"], [["0", "1", "2"]]),
        (" a , b\n1, 2\n", ["a", "b"], [["1", "2"]]),
        ("a,b,c\n1,2\n", ["a", "b", "c"], [["1", "2", ""]]),
        ("a\n1\n2\n", ["a"], [["1"], ["2"]]),
        ("a,b\n", ["a", "b"], []),
    ],
    ids=["R", "trailing", "unnamed", "spaces", "short", "single", "header only"],
)
def test_odd_headers(tmp_path, text, columns, rows):
    path = write(tmp_path / "t.csv", text)
    assert open_csv(path).columns == columns
    found = list(open_csv(path).chunks(columns))
    assert [row for piece in found for row in piece.to_numpy().tolist()] == rows


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "t.csv is empty"),
        (b"\n\n", "t.csv is empty"),
        (b"PK\x03\x04xx", "Excel workbook or zip"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (b"<html>no</html>", "a web page"),
        (b"a,b\n\0\0\0", "bytes that are no text"),
        (b"a,b\nM\xfcller,1\n", "the byte 0xfc"),
        (b"a,b\n1,2\n3,4,5\n", "row 2 after the header has more fields .*'5' is one too many"),
        (b"a,b\n1,2\n3,4,5,6\n", "row 2 after the header"),
        (b'a,b\n1,2\n"3,4\n', "EOF inside string"),
        (gzip.compress(b"a,b\n" + bytes(range(48, 90)) * 900)[:-12], "truncated"),
    ],
)
def test_what_is_no_table(tmp_path, content, told):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=told) as caught:
        whole(path)
    assert "t.csv" in str(caught.value)


def test_no_file_a_folder_and_a_missing_column(tmp_path):
    with pytest.raises(DataError, match=r"there is no table .*nothing\.csv"):
        open_csv(tmp_path / "nothing.csv")
    with pytest.raises(DataError, match="is a folder"):
        open_csv(tmp_path)
    table = open_csv(write(tmp_path / "t.csv", "cell_label,n\na,1\n"))
    with pytest.raises(DataError, match=r"no column 'cell_lable': did you mean 'cell_label'"):
        table.require("cell_lable")
