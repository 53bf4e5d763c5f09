"""The report from the command line: what it finds, where it writes, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cellwright.cli.main import app
from cellwright.errors import CellwrightError, RunError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The least that is a run: numbers and two epochs."""
    folder = tmp_path / "study" / "run"
    folder.mkdir(parents=True)
    metrics = {
        "schema": "cellwright.pretrain/1",
        "perplexity": {"model": 5.5, "unigram": 6.7},
        "best_reference": "unigram",
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "history.csv").write_text("epoch,train_loss,val_loss\n1,2.0,2.1\n2,1.9,2.0\n")
    return folder


def called(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["report", *map(str, arguments)])
    if isinstance(result.exception, CellwrightError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_run_gets_its_page_inside(run: Path) -> None:
    text = called(run)
    assert text.startswith(str(run / "report.html"))
    assert "5.50" in (run / "report.html").read_text(encoding="utf-8")


def test_json_says_what_was_reported(run: Path, tmp_path: Path) -> None:
    found = json.loads(called(run.parent, "-o", tmp_path / "r.html", "--title", "A & B", "--json"))
    assert found == {
        "schema": "cellwright.report/1",
        "report": str(tmp_path / "r.html"),
        "bytes": (tmp_path / "r.html").stat().st_size,
        "run": str(run),
        "probes": [],
        "clusters": [],
    }
    assert "<h1>A &amp; B</h1>" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_an_existing_page_is_kept_unless_forced(run: Path) -> None:
    (run / "report.html").write_text("mine")
    with pytest.raises(RunError, match=r"report\.html exists already"):
        called(run)
    assert (run / "report.html").read_text() == "mine"
    called(run, "--force")
    assert (run / "report.html").read_text(encoding="utf-8") != "mine"


def test_what_is_not_there_is_named(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no folder was given"):
        called()
    with pytest.raises(RunError, match="nowhere"):
        called(tmp_path / "nowhere")
    with pytest.raises(RunError, match="nothing to report on"):
        called(tmp_path)
    with pytest.raises(RunError, match=r"'cellwright\.pretrain/1', expected cellwright\.probe/1"):
        called(run, "--probe", run)
    assert not (run / "report.html").exists()
