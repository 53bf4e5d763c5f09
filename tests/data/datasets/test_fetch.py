"""Fetching by name: what is whole is not fetched again, and what comes is verified."""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import shutil
import sys

import pytest

from cellwright.data.datasets.fetch import fetch
from cellwright.data.datasets.only_fetcher import only_fetcher
from cellwright.data.datasets.registry import REGISTRY
from cellwright.errors import DataError, RunError, SettingsError

TABLE = b"cell_label,x\n" + b"".join(b"cell%d,%d\n" % (i, i) for i in range(40_000))
LONG = f"{len(TABLE) / 1000:.0f} KB"


def test_several_files_come_with_their_bytes(shop, bring, folder, left, cells):
    shop.serve("cells.h5ad", cells)
    shop.serve("table.csv", TABLE)
    shop.serve("genes.gtf.gz", gzip.compress(TABLE))
    md5 = hashlib.md5(TABLE).hexdigest()
    got = bring(
        {"name": "cells.h5ad", "bytes": len(cells)},
        {"name": "table.csv", "md5": md5},
        {"name": "genes.gtf.gz"},
    )
    assert left() == ["cells.h5ad", "genes.gtf.gz", "table.csv"]
    assert (folder / "cells.h5ad").read_bytes() == cells
    assert (folder / "table.csv").read_bytes() == TABLE
    assert gzip.decompress((folder / "genes.gtf.gz").read_bytes()) == TABLE
    assert [f.verified for f in got.files] == ["length", "md5", "length"]
    assert [f.how for f in got.files] == ["fetched"] * 3
    assert f"table.csv: {LONG}, fetched, md5 as known" in got.text()
    assert "licence: CC0\ncite: nobody" in got.text()
    assert all("cellwright" in agent for agent in shop.agents)


@pytest.mark.parametrize("known", ["sha256", "md5", "bytes", "nothing"])
def test_what_is_whole_is_not_fetched_again(shop, bring, folder, known):
    shop.serve("table.csv", TABLE)
    value = {
        "sha256": hashlib.sha256(TABLE).hexdigest(),
        "md5": hashlib.md5(TABLE).hexdigest(),
        "bytes": len(TABLE),
    }
    file = {"name": "table.csv"} | ({known: value[known]} if known in value else {})
    bring(file)
    before = (folder / "table.csv").stat().st_mtime_ns
    gets = len(shop.got())
    again = bring(file)
    assert [f.how for f in again.files] == ["there"]
    assert len(shop.got()) == gets
    assert (folder / "table.csv").stat().st_mtime_ns == before


def test_what_is_there_and_cannot_be_verified_is_left_and_said(shop, bring, folder, caplog):
    folder.mkdir()
    (folder / "table.csv").write_bytes(TABLE)
    got = bring({"name": "table.csv", "url": "http://127.0.0.1:9/table.csv"})
    assert [f.verified for f in got.files] == ["nothing"]
    assert "127.0.0.1 refuses the connection" in caplog.text
    assert "not verified: its source could not be asked" in got.text()


@pytest.mark.parametrize("known", [{}, {"bytes": len(TABLE)}])
def test_another_file_of_the_name_is_replaced_by_force_alone(shop, bring, folder, known):
    shop.serve("table.csv", TABLE)
    folder.mkdir()
    (folder / "table.csv").write_bytes(b"mine")
    with pytest.raises(DataError, match=rf"it has 4 bytes, expected {len(TABLE):,}; .*--force"):
        bring({"name": "table.csv"} | known)
    assert (folder / "table.csv").read_bytes() == b"mine"
    bring({"name": "table.csv"} | known, force=True)
    assert (folder / "table.csv").read_bytes() == TABLE


def test_another_content_of_the_same_length_is_seen(shop, bring, folder):
    shop.serve("table.csv", TABLE)
    other = TABLE.replace(b"cell7,", b"cell8,")
    folder.mkdir()
    (folder / "table.csv").write_bytes(other)
    expected = hashlib.sha256(TABLE).hexdigest()
    with pytest.raises(DataError, match=f"its sha256 is {hashlib.sha256(other).hexdigest()}, exp"):
        bring({"name": "table.csv", "sha256": expected})


def test_the_size_is_said_before_anything_comes(shop, bring, caplog):
    caplog.set_level(logging.INFO)
    shop.serve("table.csv", TABLE)
    bring({"name": "table.csv"})
    assert caplog.messages[0] == f"table.csv: {LONG}"
    assert caplog.messages[1].startswith(f"{LONG} to fetch, ")
    assert caplog.messages[1].endswith("; licence CC0")


def test_what_has_no_room_is_not_begun(shop, bring, left, folder):
    served = shop.serve("big.csv", TABLE)
    served.says = 10**17
    with pytest.raises(DataError, match=r"toy needs 1e\+05 TB more, .* has .* free: make room"):
        bring({"name": "big.csv"})
    assert shop.got() == []
    assert left() == []
    served.head_status = 405  # then its length is known only once it is asked for
    with pytest.raises(DataError, match=r"big.csv needs 1e\+05 TB more"):
        bring({"name": "big.csv"})
    assert not (folder / "big.csv").exists()


def test_progress_is_told(shop, bring, cells):
    shop.serve("cells.h5ad", cells)
    told = []
    bring({"name": "cells.h5ad"}, progress=lambda *words: told.append(words))
    done = [there for _, there, _ in told]
    assert done == sorted(done)
    assert told[-1] == ("cells.h5ad", len(cells), len(cells))


def test_a_server_that_refuses_to_tell_the_size_is_asked_for_the_file(shop, bring, folder):
    shop.serve("table.csv", TABLE, head_status=403)
    bring({"name": "table.csv"})
    assert (folder / "table.csv").read_bytes() == TABLE


def test_redirects_are_followed(shop, bring, folder):
    shop.serve("table.csv", TABLE)
    moved = {"Location": shop.url("table.csv")}
    shop.serve("old.csv", b"", statuses=[302], headers=moved, head_status=405)
    bring({"name": "table.csv", "url": shop.url("old.csv?download=1")})
    assert (folder / "table.csv").read_bytes() == TABLE
    shop.serve("circle.csv", b"", statuses=[302] * 99, headers={"Location": shop.url("circle.csv")})
    with pytest.raises(DataError, match=r"in a circle of redirects: Exceeded 30"):
        bring({"name": "circle.csv"})


def test_a_second_fetch_into_the_folder_is_refused(shop, bring, folder, left):
    shop.serve("table.csv", TABLE)
    folder.mkdir()
    with only_fetcher(folder, "toy"):
        with pytest.raises(
            RunError, match=rf"toy is being fetched into .*data by process {os.getpid()}; wait"
        ):
            bring({"name": "table.csv"})
        with only_fetcher(folder, "another"):
            pass
    bring({"name": "table.csv"})
    assert left() == ["table.csv"]


def test_the_lock_of_a_dead_process_is_free(shop, bring, folder, left):
    shop.serve("table.csv", TABLE)
    folder.mkdir()
    (folder / ".toy.fetching").write_text("999999")
    bring({"name": "table.csv"})
    assert left() == ["table.csv"]


def test_an_unknown_name_names_the_nearest(tmp_path):
    with pytest.raises(SettingsError, match=r"no data set 'Norman-2019': did you mean 'norman2019"):
        fetch("Norman-2019", tmp_path)
    with pytest.raises(SettingsError, match=r"'zzz': known: whb-neurons, "):
        fetch("zzz", tmp_path)


def test_by_hand_says_the_page_and_the_steps(tmp_path):
    with pytest.raises(
        DataError, match=r"geneformer has to be .* by hand from https://hugg.*\(1\)"
    ):
        fetch("geneformer", tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="root may write where nobody may"
)
def test_a_read_only_folder_is_one_sentence(shop, bring, folder):
    folder.mkdir(mode=0o500)
    with pytest.raises(DataError, match=r"cannot write .*data: Permission denied"):
        bring({"name": "table.csv"})


def test_a_file_in_the_place_of_the_folder_and_a_folder_in_that_of_the_file(bring, folder):
    folder.write_text("")
    with pytest.raises(DataError, match=r"cannot make the folder .*data: File exists"):
        bring({"name": "table.csv"})
    folder.unlink()
    (folder / "table.csv").mkdir(parents=True)
    with pytest.raises(DataError, match=r"table.csv is a folder"):
        bring({"name": "table.csv"})


def test_the_list_of_the_package_lies_beside_its_code(tmp_path):
    shutil.copy(REGISTRY, tmp_path / "copy.toml")
    with pytest.raises(DataError, match="by hand"):
        fetch("thymus", tmp_path, registry=tmp_path / "copy.toml")
