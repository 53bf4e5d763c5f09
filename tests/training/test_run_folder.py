"""Who may write a run folder, what is read back from it, and what is said when it cannot be."""

from __future__ import annotations

import json
import math
import multiprocessing
import re
import signal
import sys
import warnings

import numpy as np
import pytest
import torch

from cellwright.errors import CellwrightError, DataError, RunError
from cellwright.training.checkpoint import save_checkpoint
from cellwright.training.epoch_curves import EpochCurves
from cellwright.training.run_folder import FINISHED, RunFolder
from cellwright.training.tensors import read_tensors, write_tensors


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def begun(folder, *names):
    folder.path.mkdir(exist_ok=True)
    for name in ("config.toml", *names):
        (folder.path / name).write_text("x = 1\n")
    return folder


def write(folder, **flags):
    with folder.writing(**({"force": False, "resume": False} | flags)):
        return sorted(path.name for path in folder.path.iterdir())


def test_a_new_run_takes_a_new_or_an_empty_folder(folder):
    assert write(folder) == [".lock"]
    folder.path.mkdir()
    assert write(folder) == [".lock"]


def test_a_finished_run_is_refused_and_replaced_by_force(folder):
    begun(folder, *FINISHED)
    with pytest.raises(RunError, match=r"run already holds a finished run.*--force to replace"):
        write(folder)
    assert folder.is_finished()
    (folder.path / "checkpoint").mkdir()
    (folder.path / "checkpoint" / "state.json").write_text("{}")
    assert write(folder, force=True) == [".lock"]


def test_an_unfinished_run_says_how_to_go_on(folder):
    begun(folder, "vocabulary.tsv")
    with pytest.raises(RunError, match=r"did not end.*--force.*--resume to continue it"):
        write(folder)
    assert write(folder, resume=True) == [".lock", "config.toml", "vocabulary.tsv"]
    assert write(folder, force=True) == [".lock"]


def test_resume_wins_over_force(folder):
    begun(folder, "vocabulary.tsv")
    assert "vocabulary.tsv" in write(folder, force=True, resume=True)


def test_a_folder_of_something_else_is_not_replaced_even_by_force(folder):
    folder.path.mkdir()
    (folder.path / "thesis.docx").write_text("years of work")
    for force in (False, True):
        with pytest.raises(RunError, match=r"not a run \(no config\.toml\), which --force does"):
            write(folder, force=force)
    assert [path.name for path in folder.path.iterdir()] == ["thesis.docx"]


def test_a_file_in_its_place_is_named(folder):
    folder.path.write_text("")
    for flags in ({}, {"force": True}, {"resume": True}):
        with pytest.raises(RunError, match="run is a file"):
            write(folder, **flags)


def test_resume_needs_a_run(folder):
    with pytest.raises(RunError, match=r"holds no run to continue \(no config\.toml\)"):
        write(folder, resume=True)
    assert not folder.path.exists()


@pytest.mark.parametrize("resume", [False, True])
def test_what_a_killed_writer_left_half_written_goes(folder, resume):
    if resume:
        begun(folder)
    (folder.path / "checkpoint").mkdir(parents=True)
    left = [
        folder.path / ".config.toml.123.partial.toml",
        folder.path / "checkpoint" / ".tensors-1.safetensors.123.partial.safetensors",
        folder.path / ".figures.abc.partial",
    ]
    for path in left[:2]:
        path.write_text("half")
    left[2].mkdir()
    if not resume:
        (left[1]).unlink()
        (folder.path / "checkpoint").rmdir()
    write(folder, resume=resume)
    assert not any(path.exists() for path in left)


def test_a_second_writer_is_refused_before_anything_is_removed(folder):
    begun(folder, *FINISHED)
    with folder.writing(force=False, resume=True):
        with pytest.raises(RunError, match="is being written by process"):
            write(folder, force=True)
        assert folder.is_finished()


def test_killed_while_replacing_it_can_still_be_replaced(folder, monkeypatch):
    """``config.toml`` goes last, ``metrics.json`` first."""
    begun(folder, *FINISHED)
    gone = []
    unlink = type(folder.path).unlink

    def stop(path, **kwargs):
        if path.name != ".lock":
            gone.append(path.name)
            if len(gone) == 3:
                raise KeyboardInterrupt
        unlink(path, **kwargs)

    monkeypatch.setattr(type(folder.path), "unlink", stop)
    with pytest.raises(KeyboardInterrupt):
        write(folder, force=True)
    monkeypatch.undo()
    assert gone[0] == "metrics.json" and "config.toml" not in gone
    assert not folder.is_finished()
    assert write(folder, force=True) == [".lock"]


def test_everything_written_is_read_back(folder):
    folder.path.mkdir()
    settings = {"epochs": 3, "learning_rate": 1e-3, "size": "tiny", "log1p": True}
    folder.write_config(settings)
    assert folder.read_config() == settings
    state = {"edges": np.linspace(0, 1, 7), "name": np.asarray("binned")}
    folder.write_tokenizer("binned", state)
    kind, found = folder.read_tokenizer()
    assert kind == "binned" and found.keys() == state.keys()
    np.testing.assert_array_equal(found["edges"], state["edges"])
    weights = {"a": torch.arange(6.0).view(2, 3).T, "b": torch.tensor(3, dtype=torch.int64)}
    folder.write_weights("model.safetensors", weights)
    for name, tensor in folder.read_weights().items():
        assert torch.equal(tensor, weights[name])
    rows = [{"epoch": 1, "train_loss": 0.1 + 0.2, "zero_accuracy": math.nan}]
    folder.write_history(rows)
    history = folder.read_history()
    assert history["train_loss"][0] == 0.1 + 0.2 and math.isnan(history["zero_accuracy"][0])
    folder.write_json("metrics.json", {"a": [1, None]})
    assert folder.read_json("metrics.json") == {"a": [1, None]}


def test_nan_is_not_written_as_json(folder):
    folder.path.mkdir()
    with pytest.raises(ValueError, match="JSON"):
        folder.write_json("metrics.json", {"a": math.nan})
    assert not list(folder.path.iterdir())


def test_the_log_grows_by_a_line_with_the_time(folder):
    folder.path.mkdir()
    folder.log("first")
    folder.log("second")
    lines = (folder.path / "run.log").read_text().splitlines()
    assert [re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} ", "", x) for x in lines] == [
        "first",
        "second",
    ]


READERS = {
    "tokenizer.npz": lambda folder: folder.read_tokenizer(),
    "model.safetensors": lambda folder: folder.read_weights(),
    "metrics.json": lambda folder: folder.read_json("metrics.json"),
    "history.csv": lambda folder: folder.read_history(),
}


@pytest.mark.parametrize("name", sorted(READERS))
def test_a_missing_file_is_named_with_what_to_do(folder, name):
    begun(folder)
    with pytest.raises(RunError, match=rf"has no {re.escape(name)}.*--resume continues it"):
        READERS[name](folder)


@pytest.mark.parametrize("content", [b"", b"not it", b"PK\x03\x04broken", b"\x80\x04K\x01."])
@pytest.mark.parametrize("name", sorted(READERS))
def test_a_foreign_file_is_named(folder, name, content):
    begun(folder)
    (folder.path / name).write_bytes(content)
    with pytest.raises(RunError, match=re.escape(name)) as caught:
        READERS[name](folder)
    assert len(str(caught.value)) < 400


def test_a_cut_tokenizer_is_named(folder):
    folder.path.mkdir()
    folder.write_tokenizer("binned", {"edges": np.random.default_rng(0).random(5000)})
    path = folder.path / "tokenizer.npz"
    whole = path.read_bytes()
    for content in (whole[:-40], whole[:2000], whole[:1000] + bytes(500) + whole[1500:]):
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"tokenizer\.npz is not a tokenizer"):
            folder.read_tokenizer()


def test_object_arrays_are_not_read(folder):
    folder.path.mkdir()
    np.savez(folder.path / "tokenizer.npz", kind=np.asarray("binned"), evil=np.array([{}], object))
    with pytest.raises(RunError, match=r"tokenizer\.npz"):
        folder.read_tokenizer()


def test_what_is_no_run_folder_is_named(folder, tmp_path):
    with pytest.raises(RunError, match="no run folder at"):
        folder.read_config()
    folder.path.mkdir()
    with pytest.raises(RunError, match=r"run is not a run folder: it has no config\.toml"):
        folder.read_config()
    (folder.path / "config.toml").write_text("[[[")
    with pytest.raises(CellwrightError, match=r"config\.toml is not a TOML file"):
        folder.read_config()


def fill(path):
    """Try every kind of file under a limit on file sizes; tell what was said of each."""
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    folder = RunFolder(path)
    model = torch.nn.Linear(200, 100)
    optimizer = torch.optim.AdamW(model.parameters())
    rng = np.random.default_rng(0)

    def events():
        with EpochCurves(path / "tensorboard") as curves:
            for epoch in range(2000):
                curves.add({"epoch": epoch, "loss": 1.0})

    writes = {
        "weights": lambda: folder.write_weights("model.safetensors", {"a": torch.zeros(20_000)}),
        "tokenizer": lambda: folder.write_tokenizer("x", {"e": rng.random(9000)}),
        "history": lambda: folder.write_history([{"epoch": i} for i in range(20_000)]),
        "metrics": lambda: folder.write_json("metrics.json", list(range(20_000))),
        "config": lambda: folder.write_config({"a": "x" * 50_000}),
        "log": lambda: folder.log("x" * 50_000),
        "checkpoint": lambda: save_checkpoint(folder.checkpoint, model, {}, optimizer, {"step": 1}),
        "events": events,
    }
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
    said = []
    for name, write in writes.items():
        try:
            write()
        except DataError as error:
            said.append(f"{name}: {error}")
    (path / "said").write_text("\n".join(said))


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="a process is forked here, safely on Linux alone"
)
def test_a_full_disk_is_one_sentence_and_leaves_nothing_half_written(folder):
    """A limit on file sizes stands in for it: the same errors from the same calls."""
    folder.path.mkdir()
    child = multiprocessing.get_context("fork").Process(target=fill, args=(folder.path,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
        child.start()
    child.join(60)
    assert child.exitcode == 0
    said = (folder.path / "said").read_text().splitlines()
    assert [line.split(":")[0] for line in said] == [
        *("weights", "tokenizer", "history", "metrics"),
        *("config", "log", "checkpoint", "events"),
    ]
    for line in said:
        assert re.match(r"\w+: cannot write .*: File too large$", line)
    left = {path.name for path in folder.path.rglob("*") if path.is_file()}
    assert {name for name in left if "tfevents" not in name} == {"run.log", "said"}


def test_tensors_of_a_foreign_file_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    path.write_text(json.dumps({"a": 1}))
    with pytest.raises(RunError, match=r"x\.safetensors does not hold the tensors"):
        read_tensors(path)
    with pytest.raises(DataError, match="nowhere"):
        write_tensors(tmp_path / "nowhere" / "x.safetensors", {"a": torch.zeros(2)})
