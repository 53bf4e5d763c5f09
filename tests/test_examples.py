"""The example runs from end to end, on fewer cells and epochs than it shows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "neurons.py"


def test_the_main_job_in_one_script(tmp_path) -> None:
    source = EXAMPLE.read_text(encoding="utf-8")
    smaller = source.replace("1500, 300", "300, 60").replace("epochs=20", "epochs=1")
    assert smaller.count("300, 60") == 1 and smaller.count("epochs=1,") == 1
    done = subprocess.run(
        [sys.executable, "-c", smaller, str(tmp_path / "run")],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    for words in (
        "perplexity of masked bins",
        "obsm['X_run']",
        "hvg",
        "depth+batch",
        "ari_matched",
    ):
        assert words in done.stdout, words
    assert [entry.name for entry in tmp_path.iterdir()] == ["run"]
