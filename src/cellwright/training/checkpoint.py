"""Exact checkpoints without pickle: tensors as safetensors, everything else as JSON.

``checkpoint/state.json`` names its tensor file and that file's checksum. The tensor file is
written first under a new name and flushed to disk, then the JSON replaces the old one in a single
rename, then older tensor files go: a kill at any moment leaves one whole checkpoint.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from cellwright.data.atomic import atomic_file
from cellwright.errors import DataError, RunError
from cellwright.training.tensors import read_tensors, write_tensors

SCHEMA = "cellwright.checkpoint/1"


def save_checkpoint(
    folder: Path,
    model: nn.Module,
    best: dict[str, Tensor],
    optimizer: Optimizer,
    facts: dict[str, Any],
) -> None:
    """Write model, best weights, optimizer and random state; ``facts`` must be fit for JSON.

    Floats survive JSON exactly (repr round-trips).
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror or error}") from None
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in best.items()}
    tree: dict[str, Any] = {}
    for number, state in optimizer.state_dict()["state"].items():
        for key, value in state.items():
            name = f"optimizer.{number}.{key}"
            if isinstance(value, Tensor):
                tensors[name] = value
            else:
                tree[name] = value
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    name = f"tensors-{facts['step']:09d}.safetensors"
    write_tensors(folder / name, tensors)
    state_json = {
        "schema": SCHEMA,
        "tensors": name,
        "sha256": _sha256(folder / name),
        "optimizer": tree,
        "facts": facts,
    }
    with atomic_file(folder / "state.json") as temporary:
        temporary.write_text(json.dumps(state_json), encoding="utf-8")
    for old in folder.glob("tensors-*.safetensors"):
        if old.name != name:
            old.unlink(missing_ok=True)


def load_checkpoint(
    folder: Path, model: nn.Module, optimizer: Optimizer
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Put model, optimizer and random state back; return the best weights and the facts.

    Raises
    ------
    RunError
        If the checkpoint is missing, damaged, or of another model.
    """
    facts, tensors, tree = _read(folder)
    try:
        model.load_state_dict(_part(tensors, "model."))
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise RunError(f"the checkpoint {folder} belongs to another model: {first}") from None
    state = optimizer.state_dict()
    restored: dict[int, dict[str, Any]] = {}
    for name, value in [*tensors.items(), *tree.items()]:
        if name.startswith("optimizer."):
            _, number, key = name.split(".", 2)
            restored.setdefault(int(number), {})[key] = value
    state["state"] = restored
    optimizer.load_state_dict(state)
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    return _part(tensors, "best."), facts


def has_checkpoint(folder: Path) -> bool:
    """Whether there is something to continue from."""
    return (folder / "state.json").is_file()


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]:
    path = folder / "state.json"
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"no checkpoint at {folder}: nothing to continue from") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is not a checkpoint: {error}") from None
    schema = state.get("schema") if isinstance(state, dict) else None
    if schema != SCHEMA:
        raise RunError(f"{path} is not a checkpoint: schema {schema!r}, expected {SCHEMA!r}")
    missing = [k for k in ("tensors", "sha256", "facts", "optimizer") if k not in state]
    if missing:
        raise RunError(f"{path} is not a whole checkpoint: it lacks {', '.join(missing)}")
    tensors_path = folder / state["tensors"]
    if not tensors_path.is_file():
        raise RunError(f"the checkpoint {path} names {tensors_path.name}, which is missing")
    if _sha256(tensors_path) != state["sha256"]:
        raise RunError(f"{tensors_path} is damaged: its checksum is not the one in {path}")
    return state["facts"], read_tensors(tensors_path), state["optimizer"]


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
