"""Folders are read as far as they go; what is not what was asked for is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cellwright.errors import DataError, RunError
from cellwright.report.collect import (
    read_cluster,
    read_inspection,
    read_probe,
    read_run,
)

Make = Callable[..., Path]


def test_a_whole_run_lacks_nothing(make_run: Make) -> None:
    run = read_run(make_run())
    assert run.missing == ()
    assert run.name == "neurons"
    assert len(run.tables["history"]) == 30
    assert set(run.extra) == {"examples", "provenance", "settings"}


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("history.csv", "history.csv is not there: no training curves are drawn."),
        ("examples.json", "examples.json is not there"),
        ("provenance.json", "provenance.json is not there"),
        ("metrics.json", "metrics.json is not there: the run has not finished."),
    ],
)
def test_a_missing_part_of_a_run_is_a_sentence(make_run: Make, file: str, said: str) -> None:
    folder = make_run()
    (folder / file).unlink()
    assert any(sentence.startswith(said) for sentence in read_run(folder).missing)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("history.csv", ""),
        ("history.csv", "speed\n1\n"),
        ("history.csv", "epoch\n"),
        ("examples.json", "{"),
        ("examples.json", "[1]"),
        ("provenance.json", "\x00"),
        ("config.toml", "a = = 1"),
    ],
)
def test_a_damaged_part_of_a_run_is_a_sentence(make_run: Make, file: str, content: str) -> None:
    folder = make_run()
    (folder / file).write_text(content)
    missing = read_run(folder).missing
    assert len(missing) == 1
    assert Path(file).stem in missing[0] or "settings" in missing[0]


def test_folders_of_another_kind_are_refused_by_their_schema(
    make_run: Make, make_probe: Make, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match=r"the schema in its metrics\.json is 'cellwright\.probe/1'"):
        read_run(make_probe())
    with pytest.raises(RunError, match=r"'cellwright\.pretrain/1', expected cellwright\.cluster/1"):
        read_cluster(make_run())
    with pytest.raises(RunError, match=r"neither metrics\.json nor history\.csv"):
        read_run(tmp_path)
    with pytest.raises(RunError, match="nowhere: expected a probe folder, it is not there"):
        read_probe(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="it is a file"):
        read_probe(tmp_path / "file")


@pytest.mark.parametrize("content", ["", '{"schema": "cellwright.probe/1"', "[1]", '"x"'])
def test_unreadable_numbers_are_refused_by_name(make_probe: Make, content: str) -> None:
    folder = make_probe(n=10)
    (folder / "metrics.json").write_text(content)
    with pytest.raises(RunError, match="probe"):
        read_probe(folder)


def test_labels_that_look_like_numbers_or_nothing_stay_names(make_probe: Make) -> None:
    folder = make_probe(classes=("NA", "1e5", "007", "nan"), n=40)
    table = read_probe(folder).tables["coordinates"]
    assert set(table["label"]) == {"NA", "1e5", "007", "nan"}


def test_a_table_without_its_columns_is_a_sentence(make_probe: Make) -> None:
    folder = make_probe(n=10)
    pd.DataFrame({"cell": ["a"], "x": [1]}).to_csv(folder / "coordinates.tsv", sep="\t")
    (folder / "predictions.tsv").unlink()
    probe = read_probe(folder)
    assert probe.missing == (
        "coordinates.tsv has no column rep, method, y; it is left out.",
        "predictions.tsv is not there.",
    )
    assert not probe.tables


@pytest.mark.parametrize(("content", "said"), [("{", "is not JSON"), ("[]", "holds a list")])
def test_an_inspection_that_is_none(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "i.json"
    path.write_text(content)
    with pytest.raises(DataError, match=said):
        read_inspection(path)
    with pytest.raises(DataError, match=r"none\.json"):
        read_inspection(tmp_path / "none.json")
