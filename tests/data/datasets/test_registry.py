"""The list of data sets: whole, honest about what is not verified, and strict with other lists."""

from __future__ import annotations

import datetime
from urllib.parse import urlsplit

import pytest

from cellwright.data.datasets.listing import listing
from cellwright.data.datasets.registry import read_registry
from cellwright.errors import SettingsError

GOOD = """
[toy]
title = "A toy"
source = "https://toys.example"
licence = "CC0"
citation = "nobody"
"""
FILES = 'files = [{ name = "a.csv", url = "https://toys.example/a.csv" }]'
KNOWN = read_registry()


def read(tmp_path, text):
    (tmp_path / "toys.toml").write_text(text)
    return read_registry(tmp_path / "toys.toml")


@pytest.mark.parametrize("dataset", KNOWN.values(), ids=list(KNOWN))
def test_each_entry_says_what_a_user_must_know(dataset):
    assert urlsplit(dataset.source).scheme == "https"
    assert dataset.title and dataset.licence and dataset.citation
    # Nobody has asked a server yet: each says so, and where the address is from.
    assert dataset.not_verified_since == datetime.date(2026, 11, 21)
    assert dataset.evidence
    for file in dataset.files:
        assert urlsplit(file.url).scheme == "https"
        assert urlsplit(file.url).path.endswith("/" + file.name)


def test_the_protocols_find_their_data():
    assert {"whb-neurons", "whb-metadata", "norman2019", "pbmc3k", "kang2018"} <= KNOWN.keys()
    assert [f.name for f in KNOWN["whb-metadata"].files] == [
        "cell_metadata.csv",
        "cluster.csv",
        "cluster_annotation_term.csv",
    ]
    by_hand = [name for name, dataset in KNOWN.items() if dataset.by_hand]
    assert by_hand == ["m1-cortex", "thymus", "geneformer"]


def test_the_list_for_people_names_everything():
    text = listing(KNOWN)
    for dataset in KNOWN.values():
        assert f"{dataset.name} " in text
        assert dataset.source in text
        assert dataset.licence in text
    assert "norman2019      699 MB, CC BY 4.0 *2026-11-21" in text
    assert "whb-neurons     about 30 GB" in text
    assert "datlinger2017   size unknown" in text
    assert "* not verified since the day given" in text
    assert "    1. open the page in a browser" in text
    assert max(map(len, text.splitlines())) <= 100


def test_another_list_is_read(tmp_path):
    toy = read(tmp_path, GOOD + FILES)["toy"]
    assert (toy.size, toy.not_verified_since) == ("size unknown", None)
    assert toy.to_dict()["files"][0]["url"] == "https://toys.example/a.csv"
    assert "*" not in listing({"toy": toy})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("toy = 3", "data set 'toy' is 3, expected a table"),
        ("[toy", "is not a TOML file"),
        (GOOD, "needs either a list of files or a list of steps by_hand"),
        (GOOD + FILES + '\nby_hand = ["go"]', "needs either"),
        (GOOD.replace("CC0", "") + FILES, "'toy' has no licence"),
        (GOOD.replace('"CC0"', "7") + FILES, "licence is 7, expected text"),
        (GOOD + FILES + "\nlicense = 'x'", "unknown key 'license', did you mean 'licence'?"),
        (GOOD + FILES + "\nnot_verified_since = 'May'", "is 'May', expected a date"),
        (GOOD + "files = ['a']", "a file is 'a', expected a table"),
        (GOOD + FILES.replace("a.csv", "../a.csv", 1), "name is '../a.csv', expected one without"),
        (GOOD + FILES.replace("a.csv", ".bashrc", 1), "name is '.bashrc'"),
        (GOOD + FILES.replace("https:", "file:"), "expected http:// or https://"),
        (GOOD + FILES.replace(" }", ", bytes = 0 }"), "bytes of a.csv is 0, expected a whole"),
        (GOOD + FILES.replace(" }", ", sha256 = '12' }"), "is '12', expected 64 hexadecimal"),
        (GOOD + FILES.replace(" }", ", md6 = '12' }"), "unknown key 'md6', did you mean 'md5'?"),
        (GOOD + FILES.replace("}]", "}, { name = 'a.csv', url = 'http://x/y' }]"), "two files of"),
    ],
)
def test_a_wrong_list_is_one_sentence(tmp_path, text, told):
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    assert told in str(caught.value)
    assert "toys.toml" in str(caught.value)


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(SettingsError, match=r"no settings file at .*none.toml"):
        read_registry(tmp_path / "none.toml")
