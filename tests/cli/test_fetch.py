"""``cellwright fetch`` as a user types it."""

from __future__ import annotations

import functools
import http.server
import json
import threading

import pytest


@pytest.fixture
def served(tmp_path, monkeypatch):
    """A list of one data set, served from a folder by a server of this machine."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    source = tmp_path / "source"
    source.mkdir()
    (source / "table.csv").write_text("a,b\n1,2\n")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    handler = functools.partial(Handler, directory=source)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    registry = tmp_path / "toys.toml"
    registry.write_text(
        '[toy]\ntitle = "A toy"\nsource = "https://toys.example"\nlicence = "CC0"\n'
        'citation = "Nobody 2026"\nnote = "a toy"\n'
        f'files = [{{ name = "table.csv", url = "http://127.0.0.1:{server.server_port}/table.csv" }}]'
    )
    yield registry
    server.shutdown()
    server.server_close()
    thread.join()


def test_it_fetches_and_says_so(run, served, tmp_path):
    out = tmp_path / "data"
    status, said, log = run("fetch", "toy", "-o", out, "--registry", served)
    assert status == 0
    assert (out / "table.csv").read_text() == "a,b\n1,2\n"
    assert said.splitlines() == [
        f"{out / 'table.csv'}: 8 bytes, fetched, length as said by its source",
        "licence: CC0",
        "cite: Nobody 2026",
        "note: a toy",
    ]
    assert log.splitlines()[0] == "table.csv: 8 bytes"
    status, said, log = run("fetch", "toy", "-o", out, "--registry", served, "--json", "-q")
    facts = json.loads(said)
    assert (status, log) == (0, "")
    assert facts["schema"] == "cellwright.fetch/1"
    assert facts["files"] == [
        {"path": str(out / "table.csv"), "bytes": 8, "how": "there", "verified": "length"}
    ]


@pytest.mark.parametrize("words", [(), ("--list",)])
def test_it_lists(run, words):
    status, said, _ = run("fetch", *words)
    assert status == 0
    assert "norman2019      699 MB, CC BY 4.0" in said
    assert "To be downloaded by hand" in said
    status, said, _ = run("fetch", *words, "--json")
    facts = json.loads(said)
    assert facts["schema"] == "cellwright.fetch/1"
    assert facts["datasets"][2]["files"][0]["bytes"] == 698_680_199
    assert facts["datasets"][-1]["by_hand"]


def test_one_entry_is_listed(run):
    status, said, _ = run("fetch", "pbmc3k", "--list")
    assert status == 0
    assert said.startswith("pbmc3k ")
    assert "norman2019" not in said


@pytest.mark.parametrize(
    ("words", "status", "told"),
    [
        (("norman2018", "-o", "x"), 1, "did you mean 'norman2019'"),
        (("thymus", "-o", "x"), 1, "has to be downloaded by hand"),
        (("pbmc3k",), 2, "give the folder to fetch pbmc3k into"),
        (("pbmc3k", "-o", "x", "--registry", "none.toml"), 1, "none.toml"),
    ],
)
def test_bad_input_is_one_sentence(run, words, status, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, said, error = run("fetch", *words)
    assert (found, said) == (status, "")
    assert told in " ".join(error.split())
    assert list(tmp_path.iterdir()) == []
