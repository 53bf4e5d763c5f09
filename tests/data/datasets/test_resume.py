"""A fetch that broke off goes on where it was, and never mixes two versions of a file."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cellwright.errors import DataError

OLD = b"cell_label,x\n" + b"old,1\n" * 60_000
NEW = b"cell_label,x\n" + b"new,2\n" * 60_000
CUT = 200_000
MONDAY, TUESDAY = "Mon, 16 Nov 2026 10:00:00 GMT", "Tue, 17 Nov 2026 10:00:00 GMT"


def broken_off(bring, served, file):
    """Let a fetch of ``file`` end after CUT bytes."""
    served.cuts = [CUT, 0, 0]
    with pytest.raises(DataError, match=r"200,000 of 360,013 bytes are there .*same command cont"):
        bring(file)


def test_a_dropped_connection_is_taken_up_at_once(shop, bring, folder, cells, left):
    shop.serve("cells.h5ad", cells, cuts=[300_000, 0, 400_000])
    got = bring({"name": "cells.h5ad"})
    assert (folder / "cells.h5ad").read_bytes() == cells
    assert shop.got()[:4] == [None, "bytes=300000-", "bytes=300000-", "bytes=700000-"]
    assert [f.how for f in got.files] == ["fetched"]
    assert left() == ["cells.h5ad"]


def test_a_later_call_goes_on(shop, bring, folder, left):
    served = shop.serve("table.csv", OLD)
    broken_off(bring, served, {"name": "table.csv"})
    assert left() == ["table.csv.partial", "table.csv.partial.json"]
    assert (folder / "table.csv.partial").read_bytes() == OLD[:CUT]
    note = json.loads((folder / "table.csv.partial.json").read_text())
    assert (note["length"], note["etag"]) == (len(OLD), '"v1"')
    got = bring({"name": "table.csv"})
    assert "bytes=200000-" in shop.got()[-2:]
    assert [f.how for f in got.files] == ["continued"]
    assert (folder / "table.csv").read_bytes() == OLD
    assert left() == ["table.csv"]


@pytest.mark.parametrize(
    ("version", "changed"),
    [
        ({"etag": '"v1"'}, {"etag": '"v2"'}),
        ({"etag": 'W/"v1"'}, {"etag": 'W/"v2"'}),
        ({"etag": 'W/"v1"', "modified": MONDAY}, {"etag": 'W/"v2"', "modified": TUESDAY}),
        ({"etag": None, "modified": MONDAY}, {"modified": TUESDAY}),
    ],
)
def test_a_file_that_has_changed_is_begun_anew(shop, bring, folder, caplog, version, changed):
    served = shop.serve("table.csv", OLD, **version)
    broken_off(bring, served, {"name": "table.csv"})
    served.body = NEW
    for key, value in changed.items():
        setattr(served, key, value)
    got = bring({"name": "table.csv"})
    assert (folder / "table.csv").read_bytes() == NEW
    assert "beginning anew" in caplog.text
    assert "has another version now" in caplog.text or "has changed on 127.0.0.1" in caplog.text
    assert [f.how for f in got.files] == ["fetched"]


@pytest.mark.parametrize("etag", ['W/"v1"', '"v1"'])
def test_the_same_version_goes_on_by_its_etag(shop, bring, folder, etag):
    served = shop.serve("table.csv", OLD, etag=etag)
    broken_off(bring, served, {"name": "table.csv"})
    assert bring({"name": "table.csv"}).files[0].how == "continued"
    assert (folder / "table.csv").read_bytes() == OLD


def test_a_server_without_parts_is_begun_anew(shop, bring, folder, caplog):
    served = shop.serve("table.csv", OLD, ranges=False)
    broken_off(bring, served, {"name": "table.csv"})
    got = bring({"name": "table.csv"})
    assert "127.0.0.1 does not send parts of it, beginning anew" in caplog.text
    assert (folder / "table.csv").read_bytes() == OLD
    assert [f.how for f in got.files] == ["fetched"]


def test_a_part_that_begins_elsewhere_is_not_taken(shop, bring, folder):
    served = shop.serve("table.csv", OLD, wrong_part=True)
    broken_off_at = {"name": "table.csv"}
    served.cuts = [CUT]
    bring(broken_off_at)
    assert (folder / "table.csv").read_bytes() == OLD


def test_without_a_version_it_goes_on_only_towards_a_known_checksum(shop, bring, folder, caplog):
    served = shop.serve("table.csv", OLD, etag=None, cuts=[CUT])
    assert bring({"name": "table.csv"}).files[0].verified == "length"
    assert "it is not known what it is part of: beginning anew" in caplog.text
    assert shop.got()[:2] == [None, None]
    (folder / "table.csv").unlink()
    shop.asked.clear()
    served.cuts = [CUT]
    bring({"name": "table.csv", "sha256": hashlib.sha256(OLD).hexdigest()})
    assert shop.got() == [None, "bytes=200000-"]


def test_two_versions_mixed_unseen_are_caught_by_the_checksum(shop, bring, left):
    served = shop.serve("table.csv", OLD, etag=None)
    known = {"name": "table.csv", "sha256": hashlib.sha256(NEW).hexdigest()}
    broken_off(bring, served, known)
    served.body = NEW
    with pytest.raises(DataError, match=r"with sha256 [0-9a-f]{64}, expected .*nothing is kept"):
        bring(known)
    assert left() == []
    assert bring(known).files[0].verified == "sha256"


@pytest.mark.parametrize("note", [None, "{", '{"url": 3, "what": 4}', '{"url": "http://else"}'])
def test_a_part_of_unknown_origin_is_begun_anew(shop, bring, folder, caplog, note):
    shop.serve("table.csv", OLD)
    folder.mkdir()
    (folder / "table.csv.partial").write_bytes(NEW[:CUT])
    if note is not None:
        (folder / "table.csv.partial.json").write_text(note)
    bring({"name": "table.csv"})
    assert (folder / "table.csv").read_bytes() == OLD
    assert "not known what it is part of" in caplog.text


def test_all_bytes_there_but_not_yet_the_name(shop, bring, folder):
    """Killed between the last byte and the new name."""
    served = shop.serve("table.csv", OLD)
    broken_off(bring, served, {"name": "table.csv"})
    (folder / "table.csv.partial").write_bytes(OLD)
    shop.asked.clear()
    bring({"name": "table.csv"})
    assert shop.got() == [f"bytes={len(OLD)}-"]  # is there more than was said?
    (folder / "table.csv").unlink()
    broken_off(bring, served, {"name": "table.csv"})
    (folder / "table.csv.partial").write_bytes(OLD + b"more")
    bring({"name": "table.csv"})
    assert (folder / "table.csv").read_bytes() == OLD


def test_a_shorter_file_on_the_server_is_begun_anew(shop, bring, folder):
    served = shop.serve("table.csv", OLD)
    broken_off(bring, served, {"name": "table.csv"})
    served.body = OLD[:1000]
    bring({"name": "table.csv"})
    assert (folder / "table.csv").read_bytes() == OLD[:1000]


def test_a_web_page_in_between_does_not_cost_what_is_there(shop, bring, folder):
    served = shop.serve("table.csv", OLD)
    broken_off(bring, served, {"name": "table.csv"})
    shop.serve("table.csv", b"<!DOCTYPE html><title>Maintenance</title>", ranges=False, etag=None)
    with pytest.raises(DataError, match=r"sent a web page \('Maintenance'\) instead of table.csv"):
        bring({"name": "table.csv"})
    assert (folder / "table.csv.partial").read_bytes() == OLD[:CUT]
    shop.files["table.csv"] = served
    assert bring({"name": "table.csv"}).files[0].how == "continued"


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    cuts=st.lists(st.integers(0, len(OLD)), max_size=7),
    statuses=st.lists(st.sampled_from([429, 500, 503]), max_size=3),
    faults=st.fixed_dictionaries(
        {
            "ranges": st.booleans(),
            "etag": st.sampled_from(['"v1"', 'W/"v1"', None]),
            "modified": st.sampled_from([MONDAY, None]),
            "wrong_part": st.booleans(),
        }
    ),
    checksum=st.booleans(),
)
def test_however_it_breaks_the_bytes_are_the_servers(
    shop, bring, folder, left, cuts, statuses, faults, checksum
):
    served = shop.serve("table.csv", OLD, cuts=list(cuts), statuses=list(statuses), **faults)
    file = {"name": "table.csv"} | ({"sha256": hashlib.sha256(OLD).hexdigest()} if checksum else {})
    for _ in range(12):
        try:
            bring(file)
            break
        except DataError as error:
            assert "the same command" in str(error)
            assert not (folder / "table.csv").exists()
    assert not served.cuts or served.cuts[0] is not None
    assert (folder / "table.csv").read_bytes() == OLD
    assert left() == ["table.csv"]
    (folder / "table.csv").unlink()
