"""Runs and scores as short HTML: the numbers, and every name escaped."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from cellwright.report.notebook import run_html, scores_html


def test_a_run_beside_its_best_reference(make_run: Callable[..., Path]) -> None:
    folder = make_run(name="a<b>", epochs=5)
    metrics = json.loads((folder / "metrics.json").read_text())
    html = run_html(metrics, pd.read_csv(folder / "history.csv"))
    assert "<b>a&lt;b&gt;</b>" in html
    assert "<b>5.49</b>; best without a network 6.12 (bin frequencies knowing" in html
    assert "43.7 %; each gene&#x27;s" in html or "43.7 %; each gene's" in html
    assert '<img src="data:image/svg+xml;base64,' in html
    assert "<img" not in run_html(metrics)
    assert "pretraining run" in run_html({})


def test_scores_as_a_table(make_probe: Callable[..., Path]) -> None:
    folder = make_probe(n=9)
    scores = json.loads((folder / "metrics.json").read_text())["scores"]
    scores[0]["rep"] = "<x>"
    html = scores_html(scores)
    assert html.count("<table>") == 2
    assert "&lt;x&gt;" in html
    assert "<x>" not in html
    assert "−0.004 [−0.015, +0.006] (hvg: not shown to differ)" in html
    assert "seen without labels" in html
    assert "no scores" in scores_html([])
