"""What is not the file is not kept, and what is in the way is said in one sentence."""

from __future__ import annotations

import gzip
import re
import socket
import threading

import pytest

from cellwright.errors import DataError

TABLE = b"cell_label,x\n" + b"cell,1\n" * 50_000
PAGE = b"""<!DOCTYPE html>
<html lang="en"><head><title>503 &amp; back
 soon</title></head><body>Please wait</body></html>"""


def refused(bring, file, match=None):
    with pytest.raises(DataError, match=match) as caught:
        bring(file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["cells.h5ad", "table.csv", "genes.gz", "notes.md"])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_web_page_with_status_200_is_refused(shop, bring, left, name, chunked):
    shop.serve(name, PAGE, chunked=chunked)
    told = refused(bring, {"name": name}, r"127.0.0.1 sent a web page \('503 & back soon'\)")
    assert f"instead of {name}: nothing is kept" in told
    assert shop.url(name) in told
    assert left() == []
    assert len(shop.got()) == 1


@pytest.mark.parametrize(
    ("name", "body", "told"),
    [
        ("t.csv", b"\xef\xbb\xbf \n<html><body>no</body></html>", "a web page instead"),
        ("t.csv", b'<?xml version="1.0"?><Error><Code>AccessDenied', "an answer in XML"),
        ("t.csv", b'{"message": "no such record"}', 'in JSON (\'{"message": "no such record"}'),
        ("t.csv", b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        ("t.csv", b"PK\x03\x04\x00\x00", "something that is no text"),
        ("t.h5ad", b"cell_label,x\n", "does not begin like an HDF5 file but with b'cell_label,x'"),
        ("t.gz", b"cell_label,x\n", "does not begin like a gzip archive"),
    ],
)
def test_other_things_are_refused_by_their_beginning(shop, bring, left, name, body, told):
    shop.serve(name, body)
    refused(bring, {"name": name}, re.escape(told))
    assert left() == []


def test_an_empty_answer_is_refused(shop, bring, left):
    shop.serve("notes.md", b"")
    refused(bring, {"name": "notes.md"}, r"sent nothing \(0 bytes\) for notes.md")
    assert left() == []


def test_a_server_that_says_too_much(shop, bring, cells, left):
    shop.serve("cells.h5ad", cells, says=len(cells) + 500)
    told = refused(bring, {"name": "cells.h5ad"}, "127.0.0.1 said that cells.h5ad has ")
    assert f"{len(cells) + 500:,} bytes, but it has {len(cells):,}: nothing is kept" in told
    assert left() == []


def test_a_server_that_says_too_much_and_has_no_parts(shop, bring, folder):
    shop.serve("table.csv", TABLE, says=len(TABLE) + 500, ranges=False)
    told = refused(bring, {"name": "table.csv"}, "the connection to 127.0.0.1 broke")
    assert f"{len(TABLE):,} of {len(TABLE) + 500:,} bytes are there" in told
    assert "it broke there each time (does the server say a wrong length?)" in told
    assert len(shop.got()) == 3
    assert not (folder / "table.csv").exists()


@pytest.mark.parametrize("name", ["table.csv", "cells.h5ad", "genes.gz"])
def test_a_server_that_says_too_little(shop, bring, cells, left, name):
    body = {"table.csv": TABLE, "cells.h5ad": cells, "genes.gz": gzip.compress(TABLE)}[name]
    shop.serve(name, body, says=len(body) - 50)
    refused(bring, {"name": name}, r"but it has more|is not whole: .*(truncated|gzip archive)")
    assert left() == []


def test_a_server_that_says_too_little_and_has_no_parts(shop, bring, left, cells, caplog):
    """The beginning of a table is a table; only where it ends is suspicious."""
    shop.serve("cells.h5ad", cells, says=len(cells) - 50, ranges=False)
    refused(bring, {"name": "cells.h5ad"}, r"is not whole: .*truncated")
    shop.serve("table.csv", TABLE, says=len(TABLE) - 3, ranges=False)
    bring({"name": "table.csv"})
    assert "table.csv ends within a line: has it been cut off?" in caplog.text


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("known", [len(TABLE) - 7, len(TABLE) + 7])
def test_a_length_other_than_the_known_one(shop, bring, folder, known, chunked):
    shop.serve("table.csv", TABLE, chunked=chunked)
    told = refused(bring, {"name": "table.csv", "bytes": known})
    assert f"{known:,}" in told
    assert not (folder / "table.csv").exists()


@pytest.mark.parametrize("how", ["chunked", "no length"])
def test_a_file_whose_length_nobody_says(shop, bring, folder, cells, how, caplog):
    said = {"chunked": how == "chunked", "tells_length": False}
    shop.serve("cells.h5ad", cells, **said)
    assert bring({"name": "cells.h5ad"}).files[0].verified == "beginning"
    assert (folder / "cells.h5ad").read_bytes() == cells
    assert "does not say how long it is" in caplog.text
    (folder / "cells.h5ad").unlink()
    shop.serve("cells.h5ad", cells[:-5000], **said)
    refused(bring, {"name": "cells.h5ad"}, r"not whole: .*truncated: 1,\d+,\d+ bytes of 1,\d+,")
    assert not (folder / "cells.h5ad").exists()


def test_a_body_packed_on_the_way_is_unpacked_unless_it_is_meant_so(shop, bring, folder):
    packed = gzip.compress(TABLE)
    shop.serve("table.csv", packed, encoding="gzip")
    shop.serve("table.csv.gz", packed, encoding="gzip")
    bring({"name": "table.csv"}, {"name": "table.csv.gz"})
    assert (folder / "table.csv").read_bytes() == TABLE
    assert (folder / "table.csv.gz").read_bytes() == packed


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (403, r"answers 403 \(Forbidden\) for http://.*/t.csv: it may want a login"),
        (404, r"answers 404 \(Not Found\) for .*: the file has moved or is gone"),
        (401, r"answers 401 \(Unauthorized\).*login"),
        (407, r"answers 407 .*the proxy wants a name and a password"),
        (400, r"answers 400 \(Bad Request\)"),
        (202, r"answers 202 \(Accepted\) for .*, expected 200 with the file"),
    ],
)
def test_an_answer_that_will_not_change_is_said_at_once(shop, bring, left, status, told):
    shop.serve("t.csv", TABLE, statuses=[status] * 9)
    refused(bring, {"name": "t.csv"}, told)
    assert len(shop.got()) == 1
    assert left() == []


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_server_is_asked_again(shop, bring, folder, status):
    shop.serve("t.csv", TABLE, statuses=[status, status])
    bring({"name": "t.csv"})
    assert (folder / "t.csv").read_bytes() == TABLE
    (folder / "t.csv").unlink()
    shop.asked.clear()
    shop.serve("t.csv", TABLE, statuses=[status] * 9)
    refused(bring, {"name": "t.csv"}, rf"answers {status} .*nothing is there yet, the same command")
    assert len(shop.got()) == 3


def test_a_server_that_falls_silent(shop, bring, folder):
    shop.serve("t.csv", TABLE, silent_at=1 << 17, ranges=False)
    told = refused(bring, {"name": "t.csv"}, "127.0.0.1 fell silent; ")
    assert "131,072 of 350,013 bytes are there" in told
    assert (folder / "t.csv.partial").read_bytes() == TABLE[: 1 << 17]
    shop.files["t.csv"].ranges = True  # now it falls silent again and again, but gets on
    bring({"name": "t.csv"})
    assert (folder / "t.csv").read_bytes() == TABLE


def test_no_network_no_server_no_certificate(shop, bring):
    refused(
        bring,
        {"name": "t.csv", "url": "http://nowhere.invalid/t.csv"},
        r"the server nowhere.invalid cannot be found: is there a network\? "
        r"\(behind a proxy, set HTTPS_PROXY and HTTP_PROXY",
    )
    refused(
        bring, {"name": "t.csv", "url": "http://127.0.0.1:9/t"}, "127.0.0.1 refuses the connection"
    )
    shop.serve("t.csv", TABLE)
    address = shop.url("t.csv").replace("http:", "https:")
    refused(
        bring,
        {"name": "t.csv", "url": address},
        r"no secure connection to 127.0.0.1 .*REQUESTS_CA_BUNDLE",
    )


def test_a_server_that_does_not_answer_at_all(bring):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/t.csv"
        refused(bring, {"name": "t.csv", "url": url}, "127.0.0.1 fell silent; nothing is there yet")


def test_a_server_that_hangs_up_at_once(bring):
    with socket.create_server(("127.0.0.1", 0)) as rude:
        stop = threading.Event()

        def hang_up():
            rude.settimeout(0.05)
            while not stop.is_set():
                try:
                    rude.accept()[0].close()
                except TimeoutError:
                    continue

        thread = threading.Thread(target=hang_up)
        thread.start()
        url = f"http://127.0.0.1:{rude.getsockname()[1]}/t.csv"
        refused(bring, {"name": "t.csv", "url": url}, "the connection to 127.0.0.1 broke; nothing")
        stop.set()
        thread.join()


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_is_used_and_named(shop, bring, folder, monkeypatch, variable):
    shop.serve("t.csv", TABLE)
    file = {"name": "t.csv", "url": "http://far.example/t.csv"}
    monkeypatch.setenv(variable, f"http://me:secret@{shop.address}")
    bring(file)
    assert (folder / "t.csv").read_bytes() == TABLE
    (folder / "t.csv").unlink()
    shop.serve("t.csv", TABLE, statuses=[403])
    told = refused(bring, file, rf"asked through the proxy {shop.address} \({variable}\)")
    assert "secret" not in told
    monkeypatch.setenv(variable, "http://me:secret@127.0.0.1:9")
    told = refused(
        bring,
        file,
        rf"far.example cannot be reached through the proxy 127.0.0.1:9 \({variable}\): .*refused",
    )
    assert "secret" not in told
    monkeypatch.setenv("NO_PROXY", "far.example")
    refused(bring, file, "the server far.example cannot be found")


def test_a_proxy_that_wants_a_password(shop, bring, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def deny():
            for _ in range(2):
                caller, _ = proxy.accept()
                with caller:
                    caller.recv(4096)
                    caller.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")

        thread = threading.Thread(target=deny, daemon=True)
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.getsockname()[1]}")
        refused(
            bring,
            {"name": "t.csv", "url": "https://far.example/t.csv"},
            r"through the proxy 127.0.0.1:\d+ \(HTTPS_PROXY\): .*407.*NAME:PASSWORD@HOST:PORT",
        )
