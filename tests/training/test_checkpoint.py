"""A checkpoint gives back every bit, or says in one sentence what is wrong with it."""

from __future__ import annotations

import json
import os

import pytest
import torch

from cellwright.errors import DataError, RunError
from cellwright.training import checkpoint as module
from cellwright.training.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint

FACTS = {"step": 3, "progress": {"best_loss": 0.1 + 0.2, "seconds": 1e-300}, "history": [{"a": 1}]}


def network(width=4):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.Linear(width, 2))


def stepped(model, optimizer, steps=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(5, 3, generator=generator)).square().mean().backward()
        optimizer.step()


def adamw(model):
    return torch.optim.AdamW(model.parameters(), 1e-2)


@pytest.fixture
def saved(tmp_path):
    """A folder with a checkpoint, and the model and optimizer it was made from."""
    model = network()
    optimizer = adamw(model)
    stepped(model, optimizer)
    best = {name: tensor * 2 for name, tensor in model.state_dict().items()}
    folder = tmp_path / "checkpoint"
    save_checkpoint(folder, model, best, optimizer, FACTS)
    return folder, model, optimizer, best


def test_everything_comes_back_bit_for_bit(saved):
    folder, model, optimizer, best = saved
    state = torch.get_rng_state()
    drawn = torch.rand(3)
    other = network()
    theirs = adamw(other)
    found, facts = load_checkpoint(folder, other, theirs)
    assert facts == FACTS
    assert all(torch.equal(found[name], tensor) for name, tensor in best.items())
    assert found.keys() == best.keys()
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(torch.rand(3), drawn)
    ours_state, theirs_state = optimizer.state_dict(), theirs.state_dict()
    assert ours_state["param_groups"] == theirs_state["param_groups"]
    for number, values in ours_state["state"].items():
        for key, value in values.items():
            assert torch.equal(theirs_state["state"][number][key], value)
    # Going on gives the same weights as never having stopped.
    stepped(model, optimizer, seed=1)
    stepped(other, theirs, seed=1)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_before_the_first_step_there_is_no_state_to_keep(tmp_path):
    model = network()
    save_checkpoint(tmp_path / "c", model, {}, adamw(model), {"step": 0})
    other = network()
    load_checkpoint(tmp_path / "c", other, adamw(other))
    assert torch.equal(other[0].weight, model[0].weight)


def test_only_the_last_tensors_are_kept(saved):
    folder, model, optimizer, best = saved
    save_checkpoint(folder, model, best, optimizer, FACTS | {"step": 9})
    assert sorted(path.name for path in folder.iterdir()) == [
        "state.json",
        "tensors-000000009.safetensors",
    ]


def test_nothing_is_pickled(saved):
    for path in saved[0].iterdir():
        content = path.read_bytes()
        assert not content.startswith((b"\x80", b"PK"))
        assert path.suffix in (".json", ".safetensors")


def test_files_are_readable_by_whom_the_umask_allows(saved):
    umask = os.umask(0)
    os.umask(umask)
    for path in saved[0].iterdir():
        assert path.stat().st_mode & 0o777 == 0o666 & ~umask


class Stop(Exception):
    """Stands for a kill: nothing catches it."""


@pytest.mark.parametrize(
    "moment", ["after the tensors", "before the tensors", "before the tidying"]
)
def test_a_save_cut_short_leaves_a_whole_checkpoint(saved, monkeypatch, moment):
    folder, model, optimizer, best = saved
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    stepped(model, optimizer)

    def stop(*_args, **_kwargs):
        raise Stop

    if moment == "after the tensors":
        monkeypatch.setattr(module.json, "dumps", stop)
    elif moment == "before the tensors":
        monkeypatch.setattr(module, "write_tensors", stop)
    else:
        monkeypatch.setattr(module.Path, "glob", stop)
    with pytest.raises(Stop):
        save_checkpoint(folder, model, best, optimizer, FACTS | {"step": 6})
    monkeypatch.undo()
    other = network()
    _, facts = load_checkpoint(folder, other, adamw(other))
    new = moment == "before the tidying"
    assert facts["step"] == (6 if new else 3)
    expected = model.state_dict() if new else before
    assert all(torch.equal(t, expected[name]) for name, t in other.state_dict().items())
    # The next save clears up what the one cut short left.
    save_checkpoint(folder, model, best, optimizer, FACTS | {"step": 7})
    assert len(list(folder.iterdir())) == 2


def refused(folder, model=None):
    model = network() if model is None else model
    with pytest.raises(RunError) as caught:
        load_checkpoint(folder, model, adamw(model))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_damaged_tensors_are_told_by_their_checksum(saved):
    folder = saved[0]
    path = folder / "tensors-000000003.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    assert "tensors-000000003.safetensors is damaged" in refused(folder)


def test_missing_tensors_are_named(saved):
    folder = saved[0]
    (folder / "tensors-000000003.safetensors").unlink()
    assert "names tensors-000000003.safetensors, which is missing" in refused(folder)


def test_a_missing_checkpoint_is_named(tmp_path):
    assert not has_checkpoint(tmp_path)
    assert f"no checkpoint at {tmp_path}" in refused(tmp_path)


def test_a_foreign_model_is_told_by_the_first_tensor_that_does_not_fit(saved):
    assert has_checkpoint(saved[0])
    message = refused(saved[0], network(width=5))
    assert "belongs to another model" in message and "size mismatch" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not a checkpoint"),
        ("[]", "schema None"),
        ('{"schema": "other/1"}', "schema 'other/1'"),
        (json.dumps({"schema": module.SCHEMA, "tensors": "x"}), "lacks sha256, facts, optimizer"),
    ],
)
def test_a_state_that_is_none_is_named(saved, content, words):
    (saved[0] / "state.json").write_text(content)
    message = refused(saved[0])
    assert "state.json" in message and words in message


def test_a_place_that_cannot_be_written_is_named(saved, tmp_path):
    _, model, optimizer, best = saved
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file"):
        save_checkpoint(tmp_path / "file", model, best, optimizer, FACTS)
