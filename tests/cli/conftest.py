"""Commands run in this process, as if typed."""

from __future__ import annotations

import sys

import pytest

from cellwright.cli.main import main


@pytest.fixture
def run(monkeypatch, capsys):
    """run("split", file, ...) -> (exit status, standard output, standard error)."""

    def typed(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["cellwright", *map(str, words)])
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
        said = capsys.readouterr()
        return status, said.out, said.err

    return typed
