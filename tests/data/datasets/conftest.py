"""A server of this machine that can misbehave in the ways servers do."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import anndata as ad
import numpy as np
import pytest
import tomli_w

from cellwright.data.datasets.fetch import fetch
from cellwright.data.datasets.server import Patience


@dataclass
class Served:
    """One file of the server, and what it does wrong; lists hold one entry per request."""

    body: bytes
    etag: str | None = '"v1"'
    modified: str | None = None
    ranges: bool = True
    says: int | None = None  # a Content-Length that is not true
    tells_length: bool = True
    chunked: bool = False
    encoding: str | None = None
    cuts: list[int] = field(default_factory=list)  # bytes after which the connection breaks
    statuses: list[int] = field(default_factory=list)  # answered before the file is
    headers: dict[str, str] = field(default_factory=dict)
    head_status: int = 200
    pause: float = 0.0  # seconds after each block of 64 kB
    silent_at: int | None = None  # bytes after which nothing comes any more
    wrong_part: bool = False  # parts begin elsewhere than asked


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, *, body):
        shop = self.server.shop
        path = self.path.partition("example")[2] if "://" in self.path else self.path
        name = path.lstrip("/").partition("?")[0]
        shop.asked.append((self.command, name, self.headers.get("Range")))
        shop.agents.add(self.headers["User-Agent"])
        served = shop.files.get(name)
        if served is None:
            return self.plain(404)
        if not body and served.head_status != 200:
            return self.plain(served.head_status)
        if body and served.statuses:
            return self.plain(served.statuses.pop(0), served.headers)
        start = self.start_of_part(served)
        if start is not None and start >= len(served.body):
            return self.plain(416, {"Content-Range": f"bytes */{len(served.body)}"})
        part = served.body[start or 0 :]
        self.send_response(200 if start is None else 206)
        for key, value in (("ETag", served.etag), ("Last-Modified", served.modified)):
            if value:
                self.send_header(key, value)
        if served.encoding:
            self.send_header("Content-Encoding", served.encoding)
        if start is not None:
            begins = start + 1 if served.wrong_part else start
            last = len(served.body) - 1
            self.send_header("Content-Range", f"bytes {begins}-{last}/{len(served.body)}")
        if served.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif served.tells_length:
            says = len(part) if served.says is None else served.says - (start or 0)
            self.send_header("Content-Length", str(says))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        if body:
            with contextlib.suppress(ConnectionError):
                self.send_body(served, part)
        return None

    def start_of_part(self, served):
        asked, condition = self.headers.get("Range"), self.headers.get("If-Range")
        if not (asked and served.ranges):
            return None
        if condition and condition not in (served.etag, served.modified):
            return None
        return int(asked.removeprefix("bytes=").rstrip("-"))

    def send_body(self, served, part):
        cut = served.cuts.pop(0) if served.cuts else len(part)
        for at in range(0, min(cut, len(part)), 1 << 16):
            block = part[at : min(at + (1 << 16), cut)]
            if served.silent_at is not None and at >= served.silent_at:
                self.server.shop.closing.wait(10)
                return
            if served.chunked:
                self.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
            else:
                self.wfile.write(block)
            time.sleep(served.pause)
        if served.chunked and cut >= len(part):
            self.wfile.write(b"0\r\n\r\n")

    def plain(self, status, headers=None):
        text = f"<html><title>{status}</title></html>".encode()
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        if self.command != "HEAD":
            self.wfile.write(text)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    shop: Shop


class Shop:
    """``shop.files[name] = Served(...)``; ``shop.asked`` lists the requests."""

    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.asked: list[tuple[str, str, str | None]] = []
        self.agents: set[str] = set()
        self.closing = threading.Event()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.shop = self
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()

    def close(self) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def url(self, name: str) -> str:
        return f"http://{self.address}/{name}"

    def serve(self, name: str, body: bytes, **faults: object) -> Served:
        self.files[name] = Served(body, **faults)
        return self.files[name]

    def got(self) -> list[str | None]:
        """The Range of each GET."""
        return [span for method, _, span in self.asked if method == "GET"]

    def registry(self, path: Path, *files: dict[str, object], name: str = "toy") -> Path:
        """A list with one data set of these files (``name``, and what is known of it)."""
        entries = [{"url": self.url(str(f["name"])), **f} for f in files]
        about = {"title": "A toy", "source": "https://toys.example", "licence": "CC0"}
        path.write_text(tomli_w.dumps({name: {**about, "citation": "nobody", "files": entries}}))
        return path


@pytest.fixture
def shop():
    one = Shop()
    yield one
    one.close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def hasty():
    return Patience(connect=2, read=0.5, tries=3, pause=0.01, longest=0.02)


@pytest.fixture(scope="session")
def cells(tmp_path_factory) -> bytes:
    """An .h5ad of about 1.2 MB."""
    path = tmp_path_factory.mktemp("cells") / "cells.h5ad"
    values = np.random.default_rng(0).random((600, 500), dtype="float32")
    ad.AnnData(values).write_h5ad(path)
    return path.read_bytes()


@pytest.fixture
def bring(shop, hasty, tmp_path):
    """bring({"name": …, "sha256": …}, …) -> Fetched, into ``tmp_path / "data"``."""

    def fetched(*files, **options):
        registry = shop.registry(tmp_path / "toys.toml", *files)
        return fetch("toy", tmp_path / "data", registry=registry, patience=hasty, **options)

    return fetched


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def left(folder):
    """What is in the folder, lock included."""
    return lambda: sorted(path.name for path in folder.iterdir())
