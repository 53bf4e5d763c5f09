"""What ``finetune`` refuses before it reads anything, and the bar that names the step at work."""

from __future__ import annotations

import io
import sys

import pytest
from typer.testing import CliRunner

from cellwright.cli.main import app
from cellwright.cli.steps_bar import steps_bar


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--labels-per-class", "5,x"], "--labels-per-class holds 'x'"),
        (["--learning-rate", "0"], "learning_rate is 0.0, expected above 0"),
        (["--precision", "fp8"], "fp8"),
        ([], "no run folder at"),
    ],
)
def test_what_cannot_work_is_said_first(options, said, tmp_path):
    words = ["finetune", str(tmp_path / "run"), str(tmp_path / "cells.h5ad"), "--label", "kind"]
    result = CliRunner().invoke(app, [*words, *options, "-o", str(tmp_path / "out")])
    assert result.exit_code == 1 and said in str(result.exception)
    assert list(tmp_path.iterdir()) == []


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_names_the_step_and_is_quiet_elsewhere(monkeypatch):
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    with steps_bar() as tell:
        tell(1, 4, "fold 1 of 2")
    assert "fold 1 of 2" in screen.getvalue() and "1/4" in screen.getvalue()
    with steps_bar(quiet=True) as tell:
        assert tell is None
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    with steps_bar() as tell:
        assert tell is None
